"""Every route of the service: a router for each resource, under each prefix it is served at."""

from fastapi import APIRouter

from api.routes import (
    chats,
    health,
    login,
    messages,
    models,
    organizations,
    providers,
    queue,
    stream,
    tokens,
    turns,
    users,
)

EXPERIMENTAL = "/api/experimental"
CHATS = ("/api/v2/chats", "/api/experimental/chats")

# The first match wins: fixed paths under a prefix come before those with parameters.
_CHAT_ROUTERS: tuple[APIRouter, ...] = (
    models.router,
    stream.router,
    chats.router,
    messages.router,
    queue.router,
    turns.router,
)

ROUTES: tuple[tuple[str, APIRouter], ...] = (
    ("", health.router),
    ("/api/v2/users", login.router),
    ("/api/v2/users", users.router),
    ("/api/v2/users", tokens.router),
    ("/api/v2/organizations", organizations.router),
    ("/api/v2/ai/providers", providers.router),
    *((prefix, router) for prefix in CHATS for router in _CHAT_ROUTERS),
)
