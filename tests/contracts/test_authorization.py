"""Who may do what: every caller, on every route, against this table (admin.md 3.3, 3.4, 4; wire-api.md 1.2).

To add a route, add its line to RULES: the rule that it keeps, and what a caller who may is answered. The requests are
such that nothing changes: what is allowed fails behind the door, on a body that is no JSON or on an unknown id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import orjson

from models.store import agents, groups, organizations, people, roles, templates, workspaces
from models.store.database import Row, fetch
from models.store.secrets import Cipher
from models.store.session import Session
from tests.api.conftest import Api, api, settings
from tests.contracts.test_routes import ask, filled, routes
from tests.places import ended

__all__ = ["api", "settings"]

# deployment:   A whole account, r reads chats, R reads the settings, W writes them, U administers users,
#               T reads the audit log, or an organization's part of it
# organization: c creates chats there, v sees it, l lists members, p picks whom to share with, g manages who belongs to
#               it and its groups, m administers it, t reads templates, T writes them, w creates workspaces of one's own
# chat:         r reads, u changes, d drives (sends, edits, promotes, answers, has titles made), s shares, f forks
# workspace:    r reads, u changes
# out:          a token that is nobody's, or none
#
#                                | all   | organization   | a chat that is…                        | a workspace
# caller                         |       | own      other | own   by user by group same org other org | own same other
CALLERS = """
  site owner                     | ArRWUT | cvlpgmtTw vlpgmtTw| rudsf rusf    rusf     rusf     rus     | ru  ru   ru
  owner outside the organization | ArRWUT | vlpgmtTw  vlpgmtTw| ruds  rus     rus      rus      rus     | ru  ru   ru
  organization admin             | ArT    | cvlpgmtTw -       | rudsf rusf    rusf     rusf     -       | ru  ru   -
  member with agents-access      | Ar     | cvptw     -       | rudsf rf      rf       -        -       | ru  -    -
  service account                | Ar     | cvptw     -       | rudsf rf      rf       -        -       | ru  -    -
  dormant                        | Ar     | cvptw     -       | rudsf rf      rf       -        -       | ru  -    -
  member without it              | Ar     | vtw       -       | -     r       r        -        -       | ru  -    -
  organization auditor           | ArT    | vlptw     -       | -     r       r        -        -       | ru  r    -
  organization user admin        | Ar     | vlpgtw    -       | -     r       r        -        -       | ru  -    -
  organization template admin    | Ar     | vtTw      -       | -     r       r        -        -       | ru  r    -
  role: reads all chats          | Ar     | vtw       -       | r     r       r        r        -       | ru  -    -
  role: changes and shares all   | Ar     | vptw      -       | ruds  rus     rus      rus      -       | ru  -    -
  role: creates, reads its own   | Ar     | cvtw      -       | rf    rf      rf       -        -       | ru  -    -
  auditor                        | ArRT   | vlptw     vlpt    | -     r       r        -        -       | ru  r    r
  user admin                     | ArU    | vlpgtw    vlpg    | -     r       r        -        -       | ru  -    -
  template admin                 | Ar     | vtTw      tT      | -     r       r        -        -       | ru  r    r
  not in the organization        | Ar     | -         cvptw   | -     -       -        -        -       | -   -    -
  token for chat:read            | r      | v         -       | r     r       r        -        -       | -   -    -
  token for chat:read and share  | r      | vp        -       | rs    r       r        -        -       | -   -    -
  token for chat:share           | -      | vp        -       | -     -       -        -        -       | -   -    -
  token for chat:delete          | -      | v         -       | -     -       -        -        -       | -   -    -
  token for chat:*               | r      | cvp       -       | rudsf rf      rf       -        -       | -   -    -
  token for chat:update          | -      | v         -       | ud    -       -        -        -       | -   -    -
  token for chat:create          | -      | cv        -       | -     -       -        -        -       | -   -    -
  suspended                      | out    | out       out     | out   out     out      out      out     | out out  out
  without a token                | out    | out       out     | out   out     out      out      out     | out out  out
"""
MADE_OF: dict[str, dict[str, Any]] = {
    "site owner": {"site_roles": ("owner",)},
    "owner outside the organization": {"site_roles": ("owner",), "org_roles": None},
    "organization admin": {"org_roles": ("organization-admin",)},
    "member with agents-access": {"org_roles": ("agents-access",)},
    "service account": {"org_roles": ("agents-access",)},
    "dormant": {"org_roles": ("agents-access",)},  # who comes is dormant no more
    "member without it": {},
    "organization auditor": {"org_roles": ("organization-auditor",)},
    "organization user admin": {"org_roles": ("organization-user-admin",)},
    "organization template admin": {"org_roles": ("organization-template-admin",)},
    "role: reads all chats": {"org_roles": ("reader",)},
    "role: changes and shares all": {"org_roles": ("reader", "editor")},
    "role: creates, reads its own": {"org_roles": ("author",)},
    "auditor": {"site_roles": ("auditor",)},
    "user admin": {"site_roles": ("user-admin",)},
    "template admin": {"site_roles": ("template-admin",)},
    "not in the organization": {"org_roles": None},  # but in the other one, with agents-access
    "token for chat:read": {"org_roles": ("agents-access",), "scopes": ("chat:read",)},
    "token for chat:read and share": {"org_roles": ("agents-access",), "scopes": ("chat:read", "chat:share")},
    "token for chat:share": {"org_roles": ("agents-access",), "scopes": ("chat:share",)},
    "token for chat:delete": {"org_roles": ("agents-access",), "scopes": ("chat:delete",)},
    "token for chat:*": {"org_roles": ("agents-access",), "scopes": ("chat:*",)},
    "token for chat:update": {"org_roles": ("agents-access",), "scopes": ("chat:update",)},
    "token for chat:create": {"org_roles": ("agents-access",), "scopes": ("chat:create",)},
    "suspended": {"site_roles": ("owner",), "org_roles": ("organization-admin", "agents-access")},
    "without a token": {},
}
# Roles that the organization has made: what they allow with all chats there, and with one's own.
OWN_ROLES = (
    ("reader", ("chat:read",), ()),
    ("editor", ("chat:update", "chat:share"), ()),
    ("author", (), ("chat:create", "chat:read")),
)
CHAT_RELATIONS = ("own", "by user", "by group", "same org", "other org")
ORGANIZATION_RELATIONS = ("own", "other")
WORKSPACE_RELATIONS = ("own", "same org", "other org")
OUT = "out"


@dataclass(frozen=True)
class Rule:
    """What decides (`kind`), what those who may are answered, and what is asked."""

    kind: str
    allowed: int
    judge: Callable[[str], int]
    body: dict[str, Any] | None = None  # no JSON
    known: dict[str, str] | None = None
    query: str = ""


def anybody(allowed: int, **more: Any) -> Rule:
    """Nobody need say who they are."""
    return Rule("public", allowed, lambda _: allowed, **more)


def signed_in(allowed: int = 200, **more: Any) -> Rule:
    return Rule("deployment", allowed, lambda _: allowed, **more)


def deployment(right: str, allowed: int, refused: int = 403, **more: Any) -> Rule:
    """One of these rights of the deployment is needed."""
    return Rule("deployment", allowed, lambda had: allowed if set(right) & set(had) else refused, **more)


def organization(right: str, allowed: int, refused: int = 403, sees: str = "v", **more: Any) -> Rule:
    """This right in an organization is needed; without the right that `sees` it, it does not exist."""
    return Rule(
        "organization", allowed, lambda had: allowed if right in had else refused if sees in had else 404, **more
    )


def creates(allowed: int, **more: Any) -> Rule:
    """Creating chats in an organization is needed; whoever may not is told so, member or not."""
    return Rule("organization", allowed, lambda had: allowed if "c" in had else 403, **more)


def reads(allowed: int = 200, **more: Any) -> Rule:
    return Rule("chat", allowed, lambda had: allowed if "r" in had else 404, **more)


def changes(allowed: int, **more: Any) -> Rule:
    """Who may not change a chat is told that it does not exist."""
    return Rule("chat", allowed, lambda had: allowed if "u" in had else 404, **more)


def changes_what_it_reads(allowed: int, **more: Any) -> Rule:
    return Rule("chat", allowed, lambda had: allowed if {"u", "r"} <= set(had) else 404, **more)


def drives(allowed: int, **more: Any) -> Rule:
    """For the owner alone; who could change the chat is told so (admin.md 3.4)."""
    return Rule("chat", allowed, lambda had: allowed if "d" in had else 403 if "u" in had else 404, **more)


def drives_what_it_reads(allowed: int, **more: Any) -> Rule:
    return Rule("chat", allowed, lambda had: drives(allowed).judge(had) if "r" in had else 404, **more)


def shares(allowed: int, **more: Any) -> Rule:
    """Who reads the chat and may not share it is told so."""
    return Rule("chat", allowed, lambda had: 404 if "r" not in had else allowed if "s" in had else 403, **more)


SOME_ID = "01990000-0000-7000-8000-000000000000"


def forks(allowed: int, **more: Any) -> Rule:
    """Who reads the chat and may create none in its organization is told so."""
    return Rule("chat", allowed, lambda had: 404 if "r" not in had else allowed if "f" in had else 403, **more)


def templates_read(allowed: int = 200, **more: Any) -> Rule:
    return organization("t", allowed, 404, sees="t", **more)


def templates_written(allowed: int, **more: Any) -> Rule:
    """Who sees templates and may not write them is told so."""
    return organization("T", allowed, sees="t", **more)


def workspace_read(allowed: int = 200, **more: Any) -> Rule:
    return Rule("workspace", allowed, lambda had: allowed if "r" in had else 404, **more)


def workspace_changed(allowed: int, **more: Any) -> Rule:
    """Who sees the workspace and may not change it is told so."""
    return Rule("workspace", allowed, lambda had: 404 if "r" not in had else allowed if "u" in had else 403, **more)


ME = {"user": "me"}
NOBODY = {"user": "nobody-of-this-name"}
NO_SERVER = {"mcp_server": SOME_ID}
GONE = {"id_or_name": "gone", "webhook": SOME_ID}
NO_BUDGET = {"scope": "user", "subject": SOME_ID}
BAD = {"message": "x", "queued_message": "x", "debug_run": "x"}

NO_WEBHOOK: dict[str, Any] = {"allowed": 404, "known": GONE}
WEBHOOKS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("GET", "", {"allowed": 200}),
    ("POST", "", {"allowed": 400}),
    ("GET", "/{webhook}", NO_WEBHOOK),
    ("PATCH", "/{webhook}", {**NO_WEBHOOK, "body": {}}),
    ("DELETE", "/{webhook}", NO_WEBHOOK),
    ("GET", "/{webhook}/deliveries", NO_WEBHOOK),
    ("POST", "/{webhook}/rotate-secret", NO_WEBHOOK),
    ("POST", "/{webhook}/test", NO_WEBHOOK),
    ("POST", "/{webhook}/deliveries/{delivery}/replay", NO_WEBHOOK),
)

RULES: dict[str, Rule] = {
    # the process
    "GET /healthz": anybody(200),
    "GET /readyz": anybody(503),  # Temporal is away
    "GET /metrics": anybody(200),
    "POST /mcp": signed_in(415),
    "GET /api/v2/buildinfo": anybody(200),
    # accounts
    "GET /api/v2/users/first": anybody(200),
    "POST /api/v2/users/first": anybody(400),
    "POST /api/v2/users/login": anybody(400),
    "GET /api/v2/users/authmethods": anybody(200),
    "GET /api/v2/users/oidc/callback": anybody(404),  # there is no provider
    "GET /api/v2/users": deployment("U", 200),
    "POST /api/v2/users": deployment("A", 400),
    "GET /api/v2/users/roles": deployment("A", 200),
    "POST /api/v2/users/validate-password": anybody(400),
    "GET /api/v2/users/{user}": organization("l", 200, 404),
    "DELETE /api/v2/users/{user}": deployment("U", 404, known=NOBODY),
    "PUT /api/v2/users/{user}/roles": deployment("U", 400),
    "PUT /api/v2/users/{user}/status/suspend": deployment("U", 404, known=NOBODY),
    "PUT /api/v2/users/{user}/status/activate": deployment("U", 200),
    "PUT /api/v2/users/{user}/login-type": deployment("U", 400),
    "PUT /api/v2/users/{user}/password": deployment("A", 400),
    "POST /api/v2/users/{user}/unlock": deployment("U", 404, known=NOBODY),
    "GET /api/v2/users/{user}/sessions": deployment("A", 404, known=NOBODY),
    "DELETE /api/v2/users/{user}/sessions": deployment("A", 404, known=NOBODY),
    "DELETE /api/v2/users/{user}/sessions/{session}": deployment("A", 404, known=NOBODY),
    "GET /api/v2/users/{user}/organizations": organization("l", 200, 404),
    "POST /api/v2/users/{user}/keys/tokens": deployment("A", 404, known=NOBODY, body={}),
    "GET /api/v2/users/{user}/keys/tokens": deployment("A", 404, known=NOBODY),
    "DELETE /api/v2/users/{user}/keys/{keyid}": deployment("A", 404, known=NOBODY),
    # organizations and groups
    "GET /api/v2/organizations": signed_in(),
    "POST /api/v2/organizations": deployment("W", 400),
    "GET /api/v2/organizations/{organization}": organization("v", 200),
    "GET /api/v2/organizations/{organization}/members": organization("p", 200),
    "GET /api/v2/organizations/{organization}/members/{user}": organization("l", 200, 404),
    "POST /api/v2/organizations/{organization}/members/{user}": organization("g", 404, known=NOBODY),
    "DELETE /api/v2/organizations/{organization}/members/{user}": organization("g", 404, known=NOBODY),
    "PUT /api/v2/organizations/{organization}/members/{user}/roles": organization(
        "m", 404, body={"roles": []}, known=NOBODY
    ),
    "GET /api/v2/organizations/{organization}/members/roles": organization("v", 200),
    "POST /api/v2/organizations/{organization}/members/roles": organization("m", 400, body={"name": "owner"}),
    "PUT /api/v2/organizations/{organization}/members/roles": organization("m", 404, body={"name": "gone"}),
    "DELETE /api/v2/organizations/{organization}/members/roles/{role}": organization("m", 404, known={"role": "gone"}),
    "GET /api/v2/organizations/{organization}/groups": organization("p", 200),
    "GET /api/v2/organizations/{organization}/groups/{name}": organization("p", 200, known={"name": "Everyone"}),
    "POST /api/v2/organizations/{organization}/groups": organization("g", 400, body={}),
    "GET /api/v2/groups": signed_in(),
    "GET /api/v2/groups/{group}": organization("p", 200, 404),
    "PATCH /api/v2/groups/{group}": organization("g", 200, sees="p", body={}),
    "DELETE /api/v2/groups/{group}": organization("g", 400, sees="p"),  # Everyone stays
    # templates and workspaces
    "GET /api/v2/organizations/{organization}/templates": templates_read(),
    "GET /api/v2/organizations/{organization}/templates/{name}": templates_read(),
    "POST /api/v2/organizations/{organization}/templates": templates_written(400, body={"name": "no good"}),
    "GET /api/v2/budgets/status": signed_in(),
    "GET /api/v2/budgets": deployment("R", 200),
    "GET /api/v2/organizations/{organization}/budgets": organization("m", 200),
    "GET /api/v2/organizations/{organization}/budgets/{scope}/{subject}": organization("m", 404, known=NO_BUDGET),
    "PUT /api/v2/organizations/{organization}/budgets/{scope}/{subject}": organization("m", 400, known=NO_BUDGET),
    "DELETE /api/v2/organizations/{organization}/budgets/{scope}/{subject}": organization("m", 404, known=NO_BUDGET),
    "GET /api/v2/templates": deployment("A", 200),
    "GET /api/v2/templates/{template}": templates_read(),
    "PATCH /api/v2/templates/{template}": templates_written(400, body={"name": "no good"}),
    "DELETE /api/v2/templates/{template}": templates_written(409),  # there are workspaces of it
    "GET /api/v2/templates/{template}/versions": templates_read(),
    "POST /api/v2/templates/{template}/versions": templates_written(400, body={"name": "no good"}),
    "PATCH /api/v2/templates/{template}/versions": templates_written(404, body={"id": SOME_ID}),
    "GET /api/v2/templateversions/{version}": templates_read(),
    "GET /api/v2/templateversions/{version}/rich-parameters": templates_read(),
    "GET /api/v2/templateversions/{version}/presets": templates_read(),
    "POST /api/v2/organizations/{organization}/members/{user}/workspaces": organization(
        "w", 400, sees="t", body={"name": "no good"}, known=ME
    ),
    "POST /api/v2/users/{user}/workspaces": deployment("A", 400, known=ME, body={"name": "x"}),
    "GET /api/v2/users/{user}/workspace/{name}": workspace_read(),
    "GET /api/v2/users/{user}/workspace/{name}/builds/{number}": workspace_read(known={"number": "1"}),
    "GET /api/v2/workspaces": deployment("A", 200),
    "GET /api/v2/workspaces/{workspace}": workspace_read(),
    "PATCH /api/v2/workspaces/{workspace}": workspace_changed(400, body={"name": "no good"}),
    "PUT /api/v2/workspaces/{workspace}/ttl": workspace_changed(204, body={}),
    "GET /api/v2/workspaces/{workspace}/external-agent/{agent}/credentials": workspace_changed(404),
    "GET /api/v2/workspaces/{workspace}/builds": workspace_read(),
    "POST /api/v2/workspaces/{workspace}/builds": workspace_changed(
        400, body={"transition": "start", "rich_parameter_values": [{"name": "none", "value": ""}]}
    ),
    "GET /api/v2/workspacebuilds/{build}": workspace_read(),
    "PATCH /api/v2/workspacebuilds/{build}/cancel": workspace_changed(400),  # it is over
    "GET /api/v2/workspacebuilds/{build}/logs": workspace_read(),
    "WEBSOCKET /api/v2/workspacebuilds/{build}/logs": workspace_read(101),
    "GET /api/v2/workspaceagents/{agent}": workspace_read(),
    "GET /api/v2/workspaceagents/{agent}/logs": workspace_read(),
    # the deployment
    "GET /api/v2/audit": deployment("T", 200),
    "GET /api/v2/audit/export": deployment("T", 200),
    "GET /api/v2/audit/chain": deployment("R", 200),
    "GET /api/v2/ai/providers": deployment("R", 200),
    "POST /api/v2/ai/providers": deployment("W", 400),
    "GET /api/v2/ai/providers/{id_or_name}": deployment("R", 404, known=GONE),
    "PATCH /api/v2/ai/providers/{id_or_name}": deployment("W", 400, known=GONE),
    "DELETE /api/v2/ai/providers/{id_or_name}": deployment("W", 404, known=GONE),
    "POST /api/v2/ai/providers/{id_or_name}/test": deployment("W", 404, known=GONE),
    "GET /api/v2/ai/providers/{id_or_name}/models": deployment("W", 404, known=GONE),
    "GET /api/v2/mcp/servers": signed_in(),
    "POST /api/v2/mcp/servers": deployment("W", 400),
    "GET /api/v2/mcp/servers/{mcp_server}": signed_in(404, known=NO_SERVER),
    "PATCH /api/v2/mcp/servers/{mcp_server}": deployment("W", 400, known=NO_SERVER),
    "DELETE /api/v2/mcp/servers/{mcp_server}": deployment("W", 404, known=NO_SERVER),
    "GET /api/v2/mcp/servers/{mcp_server}/oauth2/connect": deployment("A", 404, known=NO_SERVER),
    "GET /api/v2/mcp/servers/{mcp_server}/oauth2/callback": deployment("A", 404, known=NO_SERVER),
    "DELETE /api/v2/mcp/servers/{mcp_server}/oauth2/disconnect": deployment("A", 404, known=NO_SERVER),
    "GET {chats}/models": signed_in(),
    "GET {chats}/model-configs": signed_in(),
    "POST {chats}/model-configs": deployment("W", 400),
    "PATCH {chats}/model-configs/{model_config}": deployment("W", 400),
    "DELETE {chats}/model-configs/{model_config}": deployment("W", 404, known={"model_config": SOME_ID}),
    "GET {chats}/usage-limits": deployment("R", 200),
    "PUT {chats}/usage-limits": deployment("W", 400),
    "PUT {chats}/usage-limits/overrides/{user}": deployment("W", 400),
    "DELETE {chats}/usage-limits/overrides/{user}": deployment("W", 400),
    "PUT {chats}/usage-limits/group-overrides/{group}": deployment("W", 400),
    "DELETE {chats}/usage-limits/group-overrides/{group}": deployment("W", 400),
    "GET {chats}/config/debug-logging": deployment("R", 200, 404),
    "PUT {chats}/config/debug-logging": deployment("W", 400),
    "GET {chats}/config/audit-retention-days": deployment("R", 200, 404),
    "PUT {chats}/config/audit-retention-days": deployment("W", 400),
    "GET {chats}/config/retention-days": signed_in(),
    "PUT {chats}/config/retention-days": deployment("W", 400),
    "GET {chats}/config/debug-retention-days": signed_in(),
    "PUT {chats}/config/debug-retention-days": deployment("W", 400),
    "GET {chats}/config/auto-archive-days": signed_in(),
    "PUT {chats}/config/auto-archive-days": deployment("W", 400),
    "GET {chats}/config/system-prompt": deployment("W", 200, 404),
    "PUT {chats}/config/system-prompt": deployment("W", 400),
    "GET {chats}/config/plan-mode-instructions": deployment("W", 200, 404),
    "PUT {chats}/config/plan-mode-instructions": deployment("W", 400),
    "GET {chats}/config/model-override/{context}": deployment("R", 400, 404),
    "PUT {chats}/config/model-override/{context}": deployment("W", 400),
    "GET {chats}/config/personal-model-overrides": deployment("R", 200, 404),
    "PUT {chats}/config/personal-model-overrides": deployment("W", 400),
    "GET {chats}/config/desktop-enabled": signed_in(),
    "PUT {chats}/config/desktop-enabled": deployment("W", 400),
    "GET {chats}/config/computer-use-provider": signed_in(),
    "PUT {chats}/config/computer-use-provider": deployment("W", 400),
    "GET {chats}/config/advisor": signed_in(),
    "PUT {chats}/config/advisor": deployment("W", 400),
    "GET {chats}/config/workspace-ttl": signed_in(),
    "PUT {chats}/config/workspace-ttl": deployment("W", 400),
    "GET {chats}/config/template-allowlist": deployment("R", 200, 404),
    "PUT {chats}/config/template-allowlist": deployment("W", 400, 404),
    "GET {chats}/cost/users": deployment("W", 200),
    "GET {chats}/insights/pull-requests": deployment("R", 200),
    # workspace agents, by tokens of their own
    "WEBSOCKET /api/v2/workspaceagents/me/connect": anybody(401),
    "POST /api/v2/workspaceagents/me/files": anybody(401),
    "WEBSOCKET /api/v2/workspaceagents/me/desktop/{session}": anybody(401),
    # one's own
    "GET {chats}/config/user-debug-logging": signed_in(),
    "PUT {chats}/config/user-debug-logging": deployment("A", 400),
    "GET {chats}/config/user-compaction-thresholds": signed_in(),
    "PUT {chats}/config/user-compaction-thresholds/{model_config}": deployment("A", 400),
    "DELETE {chats}/config/user-compaction-thresholds/{model_config}": deployment("A", 400),
    "GET {chats}/config/user-prompt": signed_in(),
    "PUT {chats}/config/user-prompt": deployment("A", 400),
    "GET {chats}/config/user-personal-model-overrides": signed_in(),
    "PUT {chats}/config/user-personal-model-overrides/{context}": signed_in(403),
    "GET /api/v2/users/{user}/ai-provider-keys": signed_in(known=ME),
    "PUT /api/v2/users/{user}/ai-provider-keys/{ai_provider}": deployment("A", 400, known=ME),
    "DELETE /api/v2/users/{user}/ai-provider-keys/{ai_provider}": deployment("A", 400, known=ME),
    "GET {chats}/cost/{user}/summary": deployment("r", 200, known=ME),
    "GET {chats}/usage-limits/status": signed_in(),
    "GET /api/v2/notifications/inbox": deployment("A", 200),
    "PUT /api/v2/notifications/inbox/{notification}/read-status": deployment("A", 400),
    "GET /api/v2/notifications/webpush/public-key": deployment("A", 200),
    "POST /api/v2/users/{user}/webpush/subscription": deployment("A", 400, known=ME, body={}),
    "DELETE /api/v2/users/{user}/webpush/subscription": deployment("A", 404, known=ME, body={}),
    "POST /api/v2/users/{user}/webpush/test": deployment("A", 404, known=NOBODY),
    # who is told of events elsewhere
    **{f"{method} /api/v2/webhooks{rest}": deployment("A", **asked) for method, rest, asked in WEBHOOKS},
    **{
        f"{method} /api/v2/organizations/{{organization}}/webhooks{rest}": organization("m", **asked)
        for method, rest, asked in WEBHOOKS
    },
    # chats
    "GET {chats}": signed_in(),
    "GET {chats}/by-workspace": signed_in(),
    "POST {chats}": creates(400, body={"content": []}),
    "POST {chats}/import": creates(400, body={"document": {}}),
    "POST {chats}/files": creates(400, query="?organization={organization}"),
    "WEBSOCKET {chats}/watch": deployment("r", 101),
    "GET {chats}/watch": deployment("r", 426),
    "GET {chats}/files/{file}": reads(),
    "GET {chats}/{chat}": reads(),
    "GET {chats}/{chat}/acl": reads(),
    "GET {chats}/{chat}/cost": reads(),
    "GET {chats}/{chat}/export": reads(),
    "GET {chats}/{chat}/debug/runs": reads(),
    "GET {chats}/{chat}/debug/runs/{debug_run}": reads(400),
    "GET {chats}/{chat}/explain": reads(),
    "GET {chats}/{chat}/messages": reads(),
    "GET {chats}/{chat}/prompts": reads(),
    "GET {chats}/{chat}/stream": reads(426),
    "WEBSOCKET {chats}/{chat}/stream": reads(101),
    **{
        f"{method} {{chats}}/{{chat}}/stream/{what}": reads(400)
        for method in ("GET", "WEBSOCKET")
        for what in ("git", "desktop")
    },
    "PATCH {chats}/{chat}": changes_what_it_reads(400),
    "POST {chats}/{chat}/interrupt": changes(200),
    "DELETE {chats}/{chat}/queue/{queued_message}": changes(400),
    "POST {chats}/{chat}/messages": drives(400),
    "PATCH {chats}/{chat}/messages/{message}": drives(400),
    "POST {chats}/{chat}/queue/{queued_message}/promote": drives(400),
    "POST {chats}/{chat}/tool-results": drives(400),
    "POST {chats}/{chat}/compact": drives(409),
    "POST {chats}/{chat}/title/regenerate": drives_what_it_reads(409),
    "POST {chats}/{chat}/title/propose": drives_what_it_reads(409),
    "POST {chats}/{chat}/fork": forks(400, body={"message_id": "x"}),
    "PATCH {chats}/{chat}/acl": shares(400),
    "GET {chats}/{chat}/diff": reads(),
    "PUT {chats}/{chat}/diff-status": changes_what_it_reads(400),
    # the caller's token is gone after it
    "POST /api/v2/users/logout": signed_in(),
}


@dataclass(frozen=True)
class Somebody:
    """A caller, what they may do, and where that is tried."""

    name: str
    token: str
    deployment: str
    rights: dict[str, list[tuple[str, str, dict[str, str]]]]
    """By kind of rule: a relation, what they may do in it, and what the path names there."""


def table() -> dict[str, tuple[str, list[str], list[str], list[str]]]:
    """What each caller may do: of the deployment, in each organization, with each chat, with each workspace."""
    read = {}
    for line in CALLERS.strip().splitlines():
        name, site, organizations_, chats, workspaces_ = line.split("|")
        read[name.strip()] = (site.strip(), organizations_.split(), chats.split(), workspaces_.split())
    return read


async def test_every_caller_gets_on_every_route_what_the_table_says(api: Api) -> None:
    callers = await _callers(api)
    wrong: list[str] = []
    for route, rule in RULES.items():
        method, path = route.split(" ")
        for caller in callers:
            for relation, had, names in caller.rights[rule.kind]:
                address = filled(
                    path.replace("{chats}", "/api/v2/chats") + rule.query, **{**BAD, **names, **(rule.known or {})}
                )
                expected = 401 if had == OUT else rule.judge("" if had == "-" else had)
                body = rule.body if rule.body is None else {"organization_id": names.get("organization"), **rule.body}
                got = await _status(api, caller.token, method, address, body)
                if got != expected:
                    wrong.append(f"{route}: {caller.name}, {relation}: {got} instead of {expected}")
    assert not wrong, "\n".join(wrong)


def test_no_route_is_left_out() -> None:
    served = {f"{method} {path}" for method, path, name in routes() if name != "_legacy"}
    stable = {each.replace("/api/v2/chats", "{chats}") for each in served if "/api/experimental/" not in each}
    assert stable - set(RULES) == set(), "add a line for each of these to RULES"
    assert set(RULES) - stable == set(), "these are not served any more"
    # test_routes holds that both prefixes serve the same; here it counts that nothing is served beside them.
    beside = {each.split("/api/experimental/")[1] for each in served if "/api/experimental/" in each}
    assert all(each.startswith(("chats", "mcp/servers", "users/{user}/ai-provider-keys")) for each in beside)


def test_every_right_of_the_table_decides_somewhere() -> None:
    rights = table()
    assert set(rights) == set(MADE_OF)
    for kind, column in (("deployment", 0), ("organization", 1), ("chat", 2), ("workspace", 3)):
        cells = {cell for row in rights.values() for cell in ([row[0]] if kind == "deployment" else row[column])}
        granted = {letter for cell in cells - {OUT, "-"} for letter in cell}
        decided = {
            letter
            for rule in RULES.values()
            if rule.kind == kind
            for letter in granted
            if rule.judge("".join(granted)) != rule.judge("".join(granted - {letter}))
        }
        assert decided == granted, kind


async def _callers(api: Api) -> list[Somebody]:
    async with api.resources.database.begin() as session:
        other: UUID = (await organizations.create(session, name="other"))["id"]
        for name, everywhere, ones_own in OWN_ROLES:
            await roles.create(
                session, api.organization_id, name=name, display_name="", everywhere=everywhere, own=ones_own
            )
    author = await api.person("author", org_roles=("agents-access",))
    foreigner = await api.person("foreigner", org_roles=("agents-access",), organization_id=other)
    made = {}
    for number, (name, like) in enumerate(MADE_OF.items()):
        made[name] = await api.person(f"caller{number}", **like)
    people_of = [person.id for person in made.values()]
    stranger = made["not in the organization"].id
    outside = {stranger, made["owner outside the organization"].id}
    async with api.resources.database.begin() as session:
        await organizations.add(session, other, stranger, ("agents-access",))
        await people.set_status(session, made["suspended"].id, "suspended")
        await people.set_status(session, made["dormant"].id, "dormant")
        service = "UPDATE users SET is_service_account = true WHERE id = %(id)s"
        await fetch(session, service, {"id": made["service account"].id})
        crew = await groups.create(session, api.organization_id, name="crew")
        group = await groups.get(session, crew)
        await groups.update(session, group, add=[each for each in people_of if each not in outside])
        lent = {str(each): {"permissions": ["read"]} for each in people_of}
        common = [
            await _chat(session, author.id, api.organization_id, user_acl=lent),
            await _chat(session, author.id, api.organization_id, group_acl={str(crew): {"permissions": ["read"]}}),
            await _chat(session, author.id, api.organization_id),
            await _chat(session, foreigner.id, other),
        ]
        own = {name: await _chat(session, person.id, api.organization_id) for name, person in made.items()}
        offered = [await _template(session, each) for each in (api.organization_id, other)]
        places = [
            await _workspace(session, api.resources.cipher, user, template)
            for user, template in ((author.id, offered[0]), (foreigner.id, offered[1]))
        ]
        owned = {
            name: await _workspace(session, api.resources.cipher, person.id, offered[0])
            for name, person in made.items()
        }
    where = [
        {"organization": str(each), "group": str(each), "user": str(user), **_names(template)}
        for each, user, template in (
            (api.organization_id, author.id, offered[0]),
            (other, foreigner.id, offered[1]),
        )
    ]
    return [
        Somebody(
            name,
            "" if name == "without a token" else made[name].token,
            site,
            {
                "public": [("anywhere", "", {})],
                "deployment": [("anywhere", site, where[0])],
                "organization": list(zip(ORGANIZATION_RELATIONS, there, where, strict=True)),
                "chat": list(zip(CHAT_RELATIONS, chats, [own[name], *common], strict=True)),
                "workspace": list(zip(WORKSPACE_RELATIONS, rooms, [owned[name], *places], strict=True)),
            },
        )
        for name, (site, there, chats, rooms) in table().items()
    ]


async def _template(session: Session, organization_id: UUID) -> Row:
    made = await templates.create(session, organization_id, name="place", provisioner="local")
    await templates.add_version(session, made)
    return await templates.get(session, made)


def _names(template: Row) -> dict[str, str]:
    return {"template": str(template["id"]), "version": str(template["active_version_id"]), "name": template["name"]}


async def _workspace(session: Session, cipher: Cipher, owner: UUID, template: Row) -> dict[str, str]:
    """A workspace whose first build is over."""
    made = await workspaces.create(
        session,
        cipher,
        organization_id=template["organization_id"],
        owner_id=owner,
        name="place",
        template_id=template["id"],
    )
    await ended(session, made.build_id)
    [agent] = await agents.of_builds(session, [made.build_id])
    return {
        "workspace": str(made.workspace_id),
        "build": str(made.build_id),
        "agent": str(agent["id"]),
        "user": str(owner),
        "name": "place",
    }


async def _chat(session: Session, owner: UUID, organization_id: UUID, **acl: dict[str, Any]) -> dict[str, str]:
    """A chat that failed, whose title somebody holds, with a file: nothing that is asked of it here changes it."""
    names = {"chat": str(uuid4()), "file": str(uuid4())}
    await fetch(
        session,
        """
        WITH made AS (
            INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, status, last_error,
                title_locked_at, user_acl, group_acl)
            SELECT %(chat)s, %(owner)s, %(organization)s, id, 'error', '{"message": "no"}', now() + interval '1 hour',
                %(user_acl)s::jsonb, %(group_acl)s::jsonb
            FROM chat_model_configs WHERE is_default RETURNING id),
        kept AS (
            INSERT INTO chat_files (id, owner_id, organization_id, name, mimetype, size, data)
            VALUES (%(file)s, %(owner)s, %(organization)s, 'notes.md', 'text/markdown', 1, 'x') RETURNING id)
        INSERT INTO chat_file_links (chat_id, file_id) SELECT made.id, kept.id FROM made, kept
        """,
        {
            **{name: UUID(value) for name, value in names.items()},
            "owner": owner,
            "organization": organization_id,
            **{name: orjson.dumps(acl.get(name, {})).decode() for name in ("user_acl", "group_acl")},
        },
    )
    return names


async def _status(api: Api, token: str, method: str, path: str, body: dict[str, Any] | None) -> int:
    """What a request without further ado is answered, asked of the application itself: there are thousands."""
    if method == "WEBSOCKET":
        return await ask(api, token, method, path)
    headers = [(b"host", b"turnstone.test"), (b"coder-session-token", token.encode())]
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers[: 2 if token else 1],
        "scheme": "http",
        "http_version": "1.1",
        "server": ("turnstone.test", 80),
        "client": ("127.0.0.1", 40000),
    }
    sent = iter([{"type": "http.request", "body": b"{" if body is None else orjson.dumps(body), "more_body": False}])
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(sent, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await api(scope, receive, send)
    return int(said[0]["status"])
