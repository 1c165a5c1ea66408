"""Every route of the service: a router for each resource, under each prefix it is served at."""

from api.requests import Router
from api.routes import (
    chats,
    compact,
    cost,
    debug,
    files,
    fork,
    groups,
    health,
    login,
    messages,
    metrics,
    model_override,
    models,
    notifications,
    organizations,
    patch_chat,
    prompts_config,
    providers,
    queue,
    retention,
    stream,
    switches,
    thresholds,
    titles,
    tokens,
    tool_results,
    transfer,
    turns,
    usage_limits,
    users,
)

EXPERIMENTAL = "/api/experimental"
CHATS = ("/api/v2/chats", "/api/experimental/chats")

# The first match wins: fixed paths under a prefix come before those with parameters.
_CHAT_ROUTERS: tuple[Router, ...] = (
    models.router,
    cost.router,
    usage_limits.router,
    switches.router,
    retention.router,
    thresholds.router,
    prompts_config.router,
    model_override.router,
    stream.router,
    files.router,
    chats.router,
    patch_chat.router,
    fork.router,
    transfer.router,
    messages.router,
    queue.router,
    turns.router,
    compact.router,
    titles.router,
    tool_results.router,
    debug.router,
)

ROUTES: tuple[tuple[str, Router], ...] = (
    ("", health.router),
    ("", metrics.router),
    ("/api/v2/users", login.router),
    ("/api/v2/users", users.router),
    ("/api/v2/users", tokens.router),
    ("/api/v2/organizations", organizations.router),
    ("/api/v2/organizations", groups.in_organization),
    ("/api/v2/groups", groups.router),
    ("/api/v2/ai/providers", providers.router),
    ("/api/v2/notifications", notifications.router),
    *((prefix, router) for prefix in CHATS for router in _CHAT_ROUTERS),
)
