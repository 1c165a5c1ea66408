"""The client commands: what a person does to a running service, through `turnstone.client` alone.

connection   where the service is and which token opens it, without being told when it runs right here; errors in words
transcript   events folded into blocks that can be shown (pure)
screen       blocks on a terminal or in a pipe, append-only, each character once
conversation one turn, or a person typing
chat chats providers models webhooks budgets   the commands
"""
