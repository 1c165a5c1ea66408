"""Where encrypted secrets are stored, under which keys they are, and how all of them come under the newest one."""

from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from models.store import audit
from models.store.database import Database, fetch, fetch_together
from models.store.secrets import Cipher, SecretUnreadable
from models.store.session import Session

UNNAMED = ""
"""The key id of secrets that were stored before secrets named their keys."""
MASTER_KEY = "secret_key"


@dataclass(frozen=True, slots=True)
class Place:
    """A column that holds what `Cipher.encrypt` gave."""

    table: LiteralString
    column: LiteralString

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


PLACES = (
    Place("ai_providers", "settings"),
    Place("ai_provider_keys", "api_key"),
    Place("user_ai_provider_keys", "api_key"),
    Place("user_links", "access_token"),
    Place("user_links", "refresh_token"),
    Place("mcp_server_configs", "oauth2_client_secret"),
    Place("mcp_server_configs", "api_key_value"),
    Place("mcp_server_configs", "custom_headers"),
    Place("mcp_server_user_tokens", "access_token"),
    Place("mcp_server_user_tokens", "refresh_token"),
    Place("webhook_endpoints", "secret"),
    Place("webhook_endpoints", "previous_secret"),
    Place("workspace_agents", "sealed_token"),
    Place("webpush_keys", "private_key"),
    Place("webpush_subscriptions", "endpoint"),
    Place("webpush_subscriptions", "auth_key"),
)
"""All of them: what is missing here is lost with the key that it is under."""


@dataclass(slots=True)
class Rotation:
    """What came of a rotation: secrets brought under the newest key, and those that no key opens, by place."""

    rotated: int
    unreadable: dict[Place, int]


async def counted(session: Session) -> dict[Place, dict[str, int]]:
    """How many secrets each place holds under each key id."""
    found = await fetch_together(
        session,
        [
            (
                f"""
                SELECT CASE WHEN strpos({place.column}, ':') > 0 THEN split_part({place.column}, ':', 1)
                       ELSE '{UNNAMED}' END AS key_id, count(*) AS secrets
                FROM {place.table} WHERE {place.column} <> '' GROUP BY 1
                """,  # noqa: S608 - fixed text
                None,
            )
            for place in PLACES
        ],
    )
    return {place: {row["key_id"]: row["secrets"] for row in rows} for place, rows in zip(PLACES, found, strict=True)}


async def by_key(session: Session) -> dict[str, int]:
    """How many secrets there are under each key id."""
    totals: dict[str, int] = {}
    for counts in (await counted(session)).values():
        for key_id, secrets in counts.items():
            totals[key_id] = totals.get(key_id, 0) + secrets
    return totals


async def missing(session: Session, cipher: Cipher) -> dict[str, int]:
    """The key ids that secrets are under and that the cipher does not have, with the number of those secrets."""
    known = {*cipher.key_ids, UNNAMED}
    return {key_id: secrets for key_id, secrets in (await by_key(session)).items() if key_id not in known}


async def rotate(database: Database, cipher: Cipher, *, batch: int = 500) -> Rotation:
    """Bring every secret under the newest key, a batch a transaction, while others read and write them.

    What is done stays done: begun again, it goes on. Who changes a secret meanwhile wins; a last look takes theirs too.
    """
    done = Rotation(0, {})
    for place in PLACES:
        while True:
            rotated, unreadable = await _walk(database, cipher, place, batch)
            done.rotated += rotated
            if not rotated:
                break
        if unreadable:
            done.unreadable[place] = unreadable
    if done.rotated:
        newest = cipher.key_ids[0]
        async with database.begin() as session:
            left = sum(secrets for key_id, secrets in (await by_key(session)).items() if key_id != newest)
            audit.record(
                session,
                action="write",
                resource_type=MASTER_KEY,
                resource_id=UUID(int=0),
                target=newest,
                details=audit.by_background_job("secret_keys", rotated=done.rotated, left=left),
            )
    return done


async def _walk(database: Database, cipher: Cipher, place: Place, batch: int) -> tuple[int, int]:
    """Once through a table, in the order of its pages: how many were brought over, how many cannot be read."""
    after, rotated, unreadable = "(0,0)", 0, 0
    while True:
        async with database.begin() as session:
            rows = await fetch(
                session,
                f"""
                SELECT ctid::text AS row, {place.column} AS sealed FROM {place.table}
                WHERE ctid > %(after)s::text::tid AND {place.column} <> ''
                  AND {place.column} NOT LIKE %(newest)s ORDER BY ctid LIMIT %(batch)s
                """,  # noqa: S608 - fixed text
                {"after": after, "newest": f"{cipher.key_ids[0]}:%", "batch": batch},
            )
            if not rows:
                return rotated, unreadable
            after = rows[-1]["row"]
            fresh: dict[str, tuple[str, str]] = {}
            for row in rows:
                try:
                    fresh[row["row"]] = (row["sealed"], cipher.rotate(row["sealed"]))
                except SecretUnreadable:
                    unreadable += 1
            rotated += await _replace(session, place, fresh)


async def _replace(session: Session, place: Place, fresh: dict[str, tuple[str, str]]) -> int:
    """Put the new ciphertexts where the old ones still are; how many that was."""
    rows = await fetch(
        session,
        f"""
        UPDATE {place.table} AS kept SET {place.column} = fresh.sealed
        FROM unnest(%(rows)s::text[], %(before)s::text[], %(after)s::text[]) AS fresh(row, was, sealed)
        WHERE kept.ctid = fresh.row::tid AND kept.{place.column} = fresh.was RETURNING 1
        """,  # noqa: S608 - fixed text
        {
            "rows": [*fresh],
            "before": [was for was, _ in fresh.values()],
            "after": [sealed for _, sealed in fresh.values()],
        },
    )
    return len(rows)
