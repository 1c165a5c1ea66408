"""Live streams: what watchers of a chat, and of a sidebar, are told while they listen.

delta      what is new in a reading, for somebody who has seen so much   feed   one chat, for all who watch it here
watcher    what waits for one client, bounded                            hub    one LISTEN connection, all feeds
teller     from a watcher to its client, and keep-alive                     together   many questions, few statements
sidebar    the events of a person's chats                                websocket, sse   the two transports
"""
