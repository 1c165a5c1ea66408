"""The audit log's chain: each entry's hash covers the one before, so what is changed later no longer fits.

The client computes the same from what it is sent (turnstone.client.audit): nobody has to believe the server.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from models.parts import from_rest

GENESIS = bytes(32)
"""What the first entry's hash covers in place of an earlier one."""

FIELDS = (
    "id",
    "time",
    "organization_id",
    "user_id",
    "action",
    "resource_type",
    "resource_id",
    "resource_target",
    "diff",
    "additional_fields",
    "status_code",
    "request_id",
    "ip",
    "user_agent",
)


def entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the log as it is exported and hashed, from its row: JSON values only."""
    ids = {name: None if row[name] is None else str(row[name]) for name in ("organization_id", "user_id")}
    same = ("action", "resource_type", "resource_target", "status_code", "request_id", "ip", "user_agent")
    found = {
        **{name: row[name] for name in same},
        **ids,
        "id": str(row["id"]),
        "resource_id": str(row["resource_id"]),
        "time": row["time"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "diff": from_rest(row["diff"]),
        "additional_fields": from_rest(row["details"]),
    }
    return {name: found[name] for name in FIELDS}


def follow(previous: bytes, told: Mapping[str, Any]) -> bytes:
    """The hash of an entry that comes after the one whose hash is `previous`."""
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(previous + canonical.encode()).digest()
