"""The Python client: `from turnstone.client import Turnstone`. It imports httpx, and nothing of the server.

clients      Turnstone (blocks) and AsyncTurnstone (is awaited)
chats        client.chats: every route of a chat, its stream, waiting, tools
catalog      client.models, .providers, .users, .organizations
webhooks     client.webhooks, and verify for those who are told
settings     client.settings    usage    client.limits, .costs, .insights    budgets  client.budgets
turns        what takes several requests: waiting for a chat, answering its client's tools
transcript   a chat's events folded into messages, preview, queue and status
following    live streams: resumed at their cursor, whole groups only
asking       one request: its key, its repetitions, what it is refused with
steps        what those programs ask of the world   drivers   the two ways to do it   methods   one method for both
types events parts errors   what the service says; objects   how JSON becomes that
"""

from turnstone.client.clients import AsyncTurnstone, Turnstone
from turnstone.client.parts import file, file_reference, text
from turnstone.client.transcript import Transcript

__all__ = ["AsyncTurnstone", "Transcript", "Turnstone", "file", "file_reference", "text"]
