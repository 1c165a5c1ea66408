"""The only SQL. Functions take a session first and never commit.

database   engine, `begin`/`read`, `fetch`, LISTEN        notices    what is NOTIFYed inside a transaction
moves      every change of execution state                chats messages queue stream   what a chat holds
catalog people usage files                                migrate bootstrap             set-up
"""
