"""What browsers are told fits, and what they give as their keys is read or refused."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st

from models.rules import push

CHAT = {
    "kind": push.FAILED,
    "subject_id": UUID(int=1),
    "age": timedelta(),
    "title": "A chat",
    "status": "error",
    "archived": False,
    "is_current": True,
    "last_error": {"message": "It broke."},
    "last_turn_summary": "Hit an error",
}


@given(st.text(max_size=300), st.text(max_size=20), st.integers(1, 400))
def test_a_message_fits_into_what_a_push_service_takes_whatever_was_said(title: str, words: str, times: int) -> None:
    told = push.message({**CHAT, "title": title, "last_error": {"message": "x" + words * times}})
    assert told is not None
    sent = push.payload(told)
    assert len(sent) <= push.MOST_BYTES
    assert orjson.loads(sent)["body"].startswith("x")


def test_what_is_too_old_is_no_news() -> None:
    told: dict[str, Any] = {**CHAT, "age": push.LIFE}
    assert push.message(told) is not None
    assert push.message({**told, "age": push.LIFE + timedelta(seconds=1)}) is None


@given(st.binary(max_size=80))
def test_bytes_come_through_base64url_with_and_without_padding(data: bytes) -> None:
    text = push.encoded(data)
    assert push.decoded(text) == push.decoded(text + "=" * (-len(text) % 4)) == data
