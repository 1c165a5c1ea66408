"""What browsers are told of chats and notices by web push, when it is too late for that, and when again."""

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from models.errors import Invalid, Validation
from models.parts import from_rest
from models.rules import addresses, summaries
from models.rules.moves import Move
from models.rules.states import Status

FINISHED, FAILED, ACTION, NOTICE, TEST = "finished", "failed", "action", "notice", "test"

_ENDS = {
    (Move.FINISH_TURN, Status.WAITING): FINISHED,
    (Move.FINISH_ERROR, Status.ERROR): FAILED,
    (Move.RECONCILE, Status.ERROR): FAILED,
    (Move.ENTER_ACTION, Status.REQUIRES_ACTION): ACTION,
}
_LEFT_IN = {FINISHED: Status.WAITING, FAILED: Status.ERROR, ACTION: Status.REQUIRES_ACTION}

SCHEDULE = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 2 * 60, 10 * 60))
LONGEST_WISH = timedelta(minutes=30)
LIFE = timedelta(hours=4)
"""News that are older are none; a push service forgets what it could not hand over after so long."""
LABEL_PATIENCE = timedelta(seconds=35)
"""A label is found within so long of the end of its turn, or not at all."""
ACTION_PATIENCE = timedelta(seconds=10)
"""A client that answers its own tools has done so by then: nobody needs to look."""
FIRST_LOOK = timedelta(seconds=3)

MOST_BYTES = 3072  # a push service takes 4096, encrypted
LONGEST_TITLE = 200
LONGEST_ENDPOINT = 2048
_POINT_BYTES, _AUTH_BYTES = 65, 16


def kind(move: Move, chat: Mapping[str, Any], status: str) -> str | None:
    """What the owner is told when this move leaves the chat in this status; None: nothing.

    Only of chats of their own: a sub-agent reports to its parent. Neither of a summary that they asked for.
    """
    if chat["parent_chat_id"] is not None:
        return None
    if chat["compaction_requested_at"] is not None and chat["compaction_rests"]:
        return None
    return _ENDS.get((move, Status(status)))


def wait_first(row: Mapping[str, Any]) -> timedelta | None:
    """How long to let it be before it is told, if at all: its label may be found, or its action taken, meanwhile."""
    age: timedelta = row["age"]
    if row["kind"] == ACTION and age < ACTION_PATIENCE:
        return ACTION_PATIENCE - age
    if row["kind"] == FINISHED and row["last_turn_summary"] == summaries.FINISHED and age < LABEL_PATIENCE:
        return max(FIRST_LOOK, min(age, LABEL_PATIENCE - age))
    return None


def message(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is told; None when it is no news any more: the chat has gone on, or it took too long."""
    if row["age"] > LIFE:
        return None
    told = row["kind"]
    if told == TEST:
        return _message("Turnstone", "Notifications reach this browser.", "test", "/agents")
    if told == NOTICE:
        if row["notice_title"] is None:
            return None
        return _message(from_rest(row["notice_title"]), from_rest(row["notice_content"]), row["subject_id"], "/agents")
    if row["status"] != _LEFT_IN[told] or row["archived"] or not row["is_current"]:
        return None
    chat_id = row["subject_id"]
    return _message(from_rest(row["title"]), _said_of_chat(row), chat_id, f"/agents/{chat_id}")


def wait_after(attempts: int, wish: timedelta | None = None) -> timedelta | None:
    """How long to wait after so many attempts have failed, or what the push service asks for; None: it is given up."""
    if attempts > len(SCHEDULE):
        return None
    return max(SCHEDULE[attempts - 1], min(wish or timedelta(), LONGEST_WISH))


def payload(told: Mapping[str, Any]) -> bytes:
    """The message as it is sent; a text that is too long is cut."""
    fitting = dict(told)
    while len(made := orjson.dumps(fitting)) > MOST_BYTES:
        body = fitting["body"]
        fitting["body"] = body[: len(body) * 3 // 4] + "\u2026"
    return made


def check(endpoint: str, p256dh_key: str, auth_key: str, *, insecure: bool) -> None:
    """Raise Invalid with one validation for each field that is wrong; `insecure` allows http."""
    wrong = []
    if problem := _endpoint_problem(endpoint, insecure):
        wrong.append(Validation("endpoint", problem))
    if not _is_point(decoded(p256dh_key)):
        wrong.append(Validation("p256dh_key", "must be an uncompressed P-256 point in base64url"))
    if len(decoded(auth_key)) != _AUTH_BYTES:
        wrong.append(Validation("auth_key", f"must be {_AUTH_BYTES} bytes in base64url"))
    if wrong:
        raise Invalid(validations=wrong)


def decoded(text: str) -> bytes:
    """The bytes of base64url, with or without padding; none where it is something else."""
    try:
        return base64.b64decode(
            text.rstrip("=").translate(_URL_SAFE) + "=" * (-len(text.rstrip("=")) % 4), validate=True
        )
    except ValueError:
        return b""


def encoded(data: bytes) -> str:
    """Bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


_URL_SAFE = str.maketrans("-_", "+/")


def _said_of_chat(row: Mapping[str, Any]) -> str:
    if row["kind"] == ACTION:
        return summaries.WAITING_FOR_INPUT
    if row["kind"] == FAILED:
        return str((from_rest(row["last_error"]) or {}).get("message") or summaries.FAILED)
    return str(from_rest(row["last_turn_summary"]) or summaries.FINISHED)


def _message(title: str, body: str, tag: object, url: str) -> dict[str, Any]:
    return {"title": title[:LONGEST_TITLE], "body": body, "tag": str(tag), "data": {"url": url}}


def _is_point(data: bytes) -> bool:
    if len(data) != _POINT_BYTES:
        return False
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError:
        return False
    return True


def _endpoint_problem(endpoint: str, insecure: bool) -> str:
    if not endpoint or len(endpoint) > LONGEST_ENDPOINT:
        return f"must be a URL of at most {LONGEST_ENDPOINT} characters"
    if not insecure and not endpoint.startswith("https://"):
        return "must be an absolute https URL"
    return addresses.problem(endpoint)
