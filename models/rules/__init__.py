"""Pure functions and tables: values in, values out; no clock, no I/O, no randomness.

states moves     what a chat may do from where        plan history     what it needs next
repair prompt    transcript → provider messages       profiles         what each provider accepts
failures backoff judging a provider's failure         titles pages labels cursors
"""
