"""The client commands: what a person does to a running service, over its public HTTP API alone.

connection   where the service is and which token opens it, without being told when it runs right here
api          one HTTP client: the error envelope as a sentence, sends that are repeated but never doubled
stream       the live stream, resumed at its cursor as often as the connection breaks
transcript   events folded into blocks that can be shown (pure)
screen       blocks on a terminal or in a pipe, append-only, each character once
conversation one turn, or a person typing
chat chats providers models   the commands
"""
