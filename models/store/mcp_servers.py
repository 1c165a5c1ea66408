"""MCP servers as they are configured: what is secret is encrypted, and only they that run the deployment see it all."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import orjson

from models.errors import Conflict, Invalid, NotFound, Precondition
from models.parts import to_rest
from models.rules import mcp
from models.store import audit, catalog
from models.store.audit import Author
from models.store.database import Row, fetch
from models.store.people import is_unique_violation
from models.store.secrets import Cipher
from models.store.session import Session

log = logging.getLogger(__name__)

SECRETS = ("oauth2_client_secret", "api_key_value", "custom_headers")
PLAIN = (
    "display_name",
    "slug",
    "description",
    "icon_url",
    "transport",
    "url",
    "auth_type",
    "oauth2_client_id",
    "oauth2_auth_url",
    "oauth2_token_url",
    "oauth2_scopes",
    "oauth2_resource",
    "api_key_header",
    "tool_allow_list",
    "tool_deny_list",
    "availability",
    "enabled",
    "model_intent",
    "allow_in_plan_mode",
    "forward_coder_headers",
    "trust_annotations",
)
_ROW: LiteralString = "c.*, "
# Connected: with a token that has not run out, or one that can be had for it.
_CONNECTED: LiteralString = """(c.auth_type <> 'oauth2' OR EXISTS (
    SELECT FROM mcp_server_user_tokens t WHERE t.mcp_server_config_id = c.id AND t.user_id = %(user)s
        AND (t.refresh_token <> '' OR t.expiry IS NULL OR t.expiry > now()))) AS auth_connected"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be asked, with its secrets opened."""

    id: UUID
    display_name: str
    slug: str
    transport: str
    url: str
    auth_type: str
    availability: str
    model_intent: bool
    allow_in_plan_mode: bool
    forward_coder_headers: bool
    trust_annotations: bool
    tool_allow_list: tuple[str, ...]
    tool_deny_list: tuple[str, ...]
    version: str
    """Changes whenever the configuration does."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it is shown on everybody's behalf."""


async def listed(session: Session, user_id: UUID, *, disabled: bool) -> list[Row]:
    """The servers by display name, as this person is connected to them; `disabled`: those too."""
    return await fetch(
        session,
        f"SELECT {_ROW}{_CONNECTED} FROM mcp_server_configs c WHERE c.enabled OR %(disabled)s"  # noqa: S608 - fixed text
        " ORDER BY c.display_name, c.id",
        {"user": user_id, "disabled": disabled},
    )


async def get(session: Session, server_id: UUID, user_id: UUID, *, disabled: bool = True, lock: bool = False) -> Row:
    """A server; raises NotFound. `lock`: nobody else changes or deletes it until the transaction ends."""
    rows = await fetch(
        session,
        f"SELECT {_ROW}{_CONNECTED} FROM mcp_server_configs c WHERE c.id = %(id)s AND (c.enabled OR %(disabled)s)"  # noqa: S608
        + (" FOR UPDATE OF c" if lock else ""),
        {"id": server_id, "user": user_id, "disabled": disabled},
    )
    if not rows:
        raise NotFound
    return rows[0]


async def create(session: Session, cipher: Cipher, server_id: UUID, fields: Mapping[str, Any], by: UUID) -> None:
    """A new server; raises Conflict when its slug is taken."""
    columns = _columns(cipher, fields) | {"id": server_id, "created_by": by, "updated_by": by}
    names = ", ".join(columns)
    values = ", ".join(f"%({name})s" for name in columns)
    await _unless_taken(
        session,
        f"INSERT INTO mcp_server_configs ({names}) VALUES ({values})",  # noqa: S608 - our own column names
        columns,
    )
    await catalog.changed(session)


async def change(session: Session, cipher: Cipher, server_id: UUID, fields: Mapping[str, Any], by: UUID) -> None:
    """Change these fields; raises Conflict when the slug is taken."""
    columns = _columns(cipher, fields) | {"updated_by": by}
    sets = ", ".join(f"{name} = %({name})s" for name in columns)
    await _unless_taken(
        session,
        f"UPDATE mcp_server_configs SET {sets}, updated_at = now() WHERE id = %(id)s",  # noqa: S608 - our own names
        {**columns, "id": server_id},
    )
    await catalog.changed(session)


async def delete(session: Session, server_id: UUID) -> None:
    """Forget the server and everybody's tokens for it; no chat names it any more."""
    await fetch(session, "DELETE FROM mcp_server_configs WHERE id = %(id)s", {"id": server_id})
    await fetch(
        session,
        """
        WITH naming AS (
            SELECT id FROM chats WHERE %(id)s = ANY(mcp_server_ids) ORDER BY id FOR NO KEY UPDATE)
        UPDATE chats c SET mcp_server_ids = array_remove(c.mcp_server_ids, %(id)s) FROM naming WHERE c.id = naming.id
        """,
        {"id": server_id},
    )
    await catalog.changed(session)


async def require(session: Session, server_ids: Sequence[UUID]) -> list[UUID]:
    """The ids, each once; raises Invalid for those that name no server. They stay until the transaction ends."""
    wanted = list(dict.fromkeys(server_ids))
    if not wanted:
        return wanted
    rows = await fetch(
        session,
        "SELECT id FROM mcp_server_configs WHERE id = ANY(%(ids)s::uuid[]) FOR KEY SHARE",
        {"ids": wanted},
    )
    known = {row["id"] for row in rows}
    if missing := [str(each) for each in wanted if each not in known]:
        raise Invalid("One or more MCP server IDs are invalid.", f"Invalid IDs: {', '.join(missing)}")
    return wanted


@dataclass(frozen=True, slots=True)
class _Enabled:
    id: UUID
    availability: str
    allow_in_plan_mode: bool


async def offered(session: Session, chat: Mapping[str, Any]) -> list[UUID]:
    """The enabled servers that the chat has in its present turn. They stay until the transaction ends."""
    rows = await fetch(
        session,
        "SELECT id, availability, allow_in_plan_mode FROM mcp_server_configs WHERE enabled"
        " AND (id = ANY(%(chosen)s::uuid[]) OR availability = 'force_on') ORDER BY slug FOR KEY SHARE",
        {"chosen": list(chat["mcp_server_ids"])},
    )
    return [row["id"] for row in rows if mcp.is_offered(_Enabled(**row), chat)]


async def usable(session: Session, cipher: Cipher) -> list[Server]:
    """The enabled servers, ready to be asked, without those of which no key opens what they are shown."""
    rows = await fetch(session, "SELECT * FROM mcp_server_configs WHERE enabled ORDER BY slug", {})
    found = []
    for row in rows:
        try:
            found.append(_server(row, cipher))
        except Precondition as unreadable:
            log.warning("MCP server %s is not asked: %s", row["slug"], unreadable)
    return found


def told(session: Session, before: Row | None, after: Row | None, by: Author) -> None:
    """Tell the audit log what became of a server, if anything; None is where it was not there yet, or no longer."""
    row = after or before
    assert row is not None
    action, status = ("create", 201) if before is None else ("delete", 204) if after is None else ("write", 200)
    nothing: Mapping[str, Any] = dict.fromkeys(PLAIN, "")
    was, now = before or nothing, after or nothing
    diff = audit.changed(**{name: (was[name], now[name]) for name in PLAIN if was[name] != now[name]})
    diff |= {name: audit.MASKED for name in SECRETS if (before or {}).get(name, "") != (after or {}).get(name, "")}
    if diff:
        audit.record(
            session,
            action=action,
            resource_type="mcp_server_config",
            resource_id=row["id"],
            target=row["slug"],
            user_id=by.user_id,
            diff=diff,
            status_code=status,
            request_id=by.request_id,
        )


def opened_headers(stored: str, cipher: Cipher) -> dict[str, str]:
    """The custom headers that are stored."""
    return dict(orjson.loads(cipher.decrypt(stored))) if stored else {}


def _server(row: Row, cipher: Cipher) -> Server:
    headers: dict[str, str] = {}
    if row["auth_type"] == "api_key" and row["api_key_value"]:
        headers[row["api_key_header"]] = cipher.decrypt(row["api_key_value"])
    elif row["auth_type"] == "custom_headers":
        headers = opened_headers(row["custom_headers"], cipher)
    given = {name: row[name] for name in Server.__slots__ if name in row}
    given |= {name: tuple(row[name]) for name in ("tool_allow_list", "tool_deny_list")}
    return Server(**given, version=row["updated_at"].isoformat(), headers=headers)


def _columns(cipher: Cipher, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are stored; what is empty of the secrets stays empty."""
    columns = {name: to_rest(value) for name, value in fields.items() if name in PLAIN}
    for name in SECRETS:
        if name in fields:
            value = fields[name]
            text = orjson.dumps(value).decode() if isinstance(value, Mapping) else value
            columns[name] = cipher.encrypt(text) if value else ""
    return columns


async def _unless_taken(session: Session, statement: Any, columns: Mapping[str, Any]) -> None:
    try:
        async with session.begin_nested():
            await fetch(session, statement, columns)
    except Exception as clash:
        if is_unique_violation(clash):
            raise Conflict(
                "MCP server config already exists.", f'The slug "{columns.get("slug")}" is taken.'
            ) from clash
        raise
