"""Rows as clients see them: people and organizations."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from api.schemas.people import ORG_ROLE_NAMES, SITE_ROLE_NAMES
from models.store.database import Row

NEVER = datetime(1, 1, 1, tzinfo=UTC)


def _roles(words: Iterable[str], names: Mapping[Any, str], **more: object) -> list[dict[str, Any]]:
    return [{"name": word, "display_name": names.get(word, word), **more} for word in sorted(words)]


def site_roles(words: Iterable[str]) -> list[dict[str, Any]]:
    return _roles(words, {str(role): name for role, name in SITE_ROLE_NAMES.items()})


def user(row: Row) -> dict[str, Any]:
    """UserView of a row of `people.get`."""
    seen = row["last_seen_at"] or NEVER
    return {
        **{key: row[key] for key in ("id", "username", "name", "email", "avatar_url", "created_at", "updated_at")},
        "last_seen_at": seen,
        "status": row["status"],
        "login_type": row["login_type"],
        "is_service_account": row["is_service_account"],
        "organization_ids": row["organization_ids"],
        "roles": site_roles(row["roles"]),
    }


def token(row: Row) -> dict[str, Any]:
    """TokenView of a row of `people.tokens`."""
    return {
        **{key: value for key, value in row.items() if key != "kind"},
        "scopes": row["scopes"] or ["all"],
        "last_used": row["last_used"] or NEVER,
    }


def session(row: Row, current: str) -> dict[str, Any]:
    """SessionView of a row of `sessions.of_user`; `current` is the token that asks."""
    return {**row, "last_used": row["last_used"] or row["created_at"], "current": row["id"] == current}


def acquaintance(row: Row) -> dict[str, Any]:
    """MemberView for those who only need to know whom they could share a chat with."""
    return {**row, "email": "", "roles": [], "global_roles": []}


def member(row: Row) -> dict[str, Any]:
    """MemberView of a row of `organizations.member`."""
    names = {str(role): name for role, name in ORG_ROLE_NAMES.items()}
    return {
        **row,
        "roles": _roles(row["roles"], names, organization_id=row["organization_id"]),
        "global_roles": site_roles(row["global_roles"]),
    }
