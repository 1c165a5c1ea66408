"""Pure functions and tables: values in, values out; no clock, no I/O, no randomness.

states moves     what a chat may do from where        plan history     what it needs next
repair prompt    transcript → provider messages       profiles         what each provider accepts
instructions     what a model is told first           attachments      what it is shown of files
failures backoff judging a provider's failure         titles pages labels cursors
"""
