"""Which block of the prompt appears when: real rows, the real assembly, and a scripted model that tells what it saw."""
