"""What endpoints are told and when again, and how it is signed (standardwebhooks.com)."""

import base64
import hmac
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from models.errors import Invalid, Validation
from models.parts import from_rest
from models.rules import addresses
from models.rules.moments import rfc3339
from models.rules.moves import Move

TEST = "webhook.test"
EVENTS = (
    "chat.created",
    "chat.deleted",
    "chat.status_change",
    "chat.title_change",
    "chat.summary_change",
    "chat.diff_status_change",
    "chat.action_required",
    "chat.turn_finished",
    "chat.turn_failed",
    "budget.warning",
)
_ENDS = {
    Move.FINISH_TURN: "chat.turn_finished",
    Move.FINISH_INTERRUPTION: "chat.turn_finished",
    Move.FINISH_ERROR: "chat.turn_failed",
    Move.RECONCILE: "chat.turn_failed",
}
# After the first attempt: a day in all.
SCHEDULE = tuple(timedelta(seconds=seconds) for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 8 * 3600, 8 * 3600))
LONGEST_WISH = SCHEDULE[-1]
"""An endpoint may ask to be left alone for so long."""
PATIENCE = timedelta(days=5)
"""An endpoint that takes nothing for so long is disabled."""
OVERLAP = timedelta(days=1)
"""So long what is sent is signed with the secret before, too."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - not a secret
SECRET_BYTES = 32
LONGEST_URL = 2048
LONGEST_DESCRIPTION = 500


def told(watch: Iterable[str], move: Move | None = None) -> list[str]:
    """The events that a change makes: those of the sidebar, and how a turn ended."""
    ended = _ENDS.get(move) if move is not None else None
    return [*(f"chat.{kind}" for kind in watch), *([ended] if ended else ())]


def wait_after(attempts: int, wish: timedelta | None = None) -> timedelta | None:
    """How long to wait after so many attempts have failed, or what the endpoint asks for; None: it is given up."""
    if attempts > len(SCHEDULE):
        return None
    return max(SCHEDULE[attempts - 1], min(wish or timedelta(), LONGEST_WISH))


def message_id(endpoint_id: UUID, delivery_id: int) -> str:
    """The same for every attempt at an event: receivers that have it already leave it."""
    return f"msg_{endpoint_id.hex}_{delivery_id}"


def message(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent of an event (`event`, `data`, `created_at`); what a chat does not have has no key."""
    data = from_rest(row["data"])
    if "chat" in data:
        data = {**data, "chat": {key: value for key, value in data["chat"].items() if value is not None}}
    return {"type": row["event"], "timestamp": rfc3339(row["created_at"]), "data": data}


def new_secret(random: bytes) -> str:
    """The secret as its owner sees it, once."""
    return SECRET_PREFIX + base64.b64encode(random).decode()


def signature(secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one for each secret that holds now."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    made = (hmac.digest(base64.b64decode(each.removeprefix(SECRET_PREFIX)), signed, "sha256") for each in secrets)
    return " ".join(f"v1,{base64.b64encode(each).decode()}" for each in made)


def check(url: str | None, events: Iterable[str] | None, description: str | None) -> None:
    """Raise Invalid with one validation for each field that is wrong; None is not judged."""
    wrong = []
    if url is not None and (problem := _problem(url)):
        wrong.append(Validation("url", problem))
    unknown = [each for each in events or () if each not in EVENTS]
    if unknown:
        wrong.append(Validation("events", f'unknown event "{unknown[0][:80]}"; known: {", ".join(EVENTS)}'))
    if description is not None and len(description) > LONGEST_DESCRIPTION:
        wrong.append(Validation("description", f"must be at most {LONGEST_DESCRIPTION} characters"))
    if wrong:
        raise Invalid(validations=wrong)


def _problem(url: str) -> str:
    if len(url) > LONGEST_URL:
        return f"must be at most {LONGEST_URL} characters"
    return addresses.problem(url)
