"""What a chat is: values, rules, tables and the store. Imports nothing else of ours.

settings errors principal parts events steps   values
rules/    pure functions and tables
tables/   SQLModel rows
store/    the only SQL
"""
