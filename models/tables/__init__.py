"""SQLModel rows, one file an aggregate: people, catalog, chats, messages, requests. `rows` holds what they share."""
