"""What endpoints are told, when again, and how it is signed."""

import base64
import hashlib
import hmac
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import Invalid
from models.rules import webhooks
from models.rules.moves import Move


@given(st.binary(min_size=24, max_size=64), st.binary(max_size=200), st.integers(0, 2**40))
def test_a_signature_is_the_mac_of_id_time_and_body(key: bytes, body: bytes, now: int) -> None:
    signed = webhooks.signature([webhooks.new_secret(key)], "msg_1", now, body)
    mac = hmac.new(key, f"msg_1.{now}.".encode() + body, hashlib.sha256).digest()
    assert signed == "v1," + base64.b64encode(mac).decode()


def test_each_secret_that_holds_signs() -> None:
    secrets = [webhooks.new_secret(bytes([n]) * 32) for n in (1, 2)]
    assert webhooks.signature(secrets, "m", 1, b"x").split(" ") == [
        webhooks.signature([each], "m", 1, b"x") for each in secrets
    ]


def test_it_is_tried_for_about_a_day_less_and_less_often() -> None:
    waits = list(webhooks.SCHEDULE)
    assert waits == sorted(waits)
    assert timedelta(hours=20) < sum(waits, timedelta()) < timedelta(hours=28)
    assert webhooks.wait_after(1) == waits[0]
    assert webhooks.wait_after(len(waits)) == waits[-1]
    assert webhooks.wait_after(len(waits) + 1) is None


@given(st.integers(1, 12), st.none() | st.timedeltas(min_value=timedelta()))
def test_who_asks_for_time_gets_more_never_less_and_never_for_ever(attempts: int, wish: timedelta | None) -> None:
    planned, wait = webhooks.wait_after(attempts), webhooks.wait_after(attempts, wish)
    if planned is None:
        assert wait is None
    else:
        assert wait is not None
        assert planned <= wait <= webhooks.LONGEST_WISH
        assert wait >= min(wish or timedelta(), webhooks.LONGEST_WISH)


def test_a_change_tells_of_the_sidebar_and_of_the_turns_end() -> None:
    assert webhooks.told(("created",)) == ["chat.created"]
    assert webhooks.told((), Move.COMMIT_STEP) == []
    assert webhooks.told(("status_change",), Move.FINISH_TURN) == ["chat.status_change", "chat.turn_finished"]
    assert webhooks.told((), Move.FINISH_INTERRUPTION) == ["chat.turn_finished"]
    assert webhooks.told((), Move.FINISH_ERROR) == ["chat.turn_failed"]
    assert webhooks.told(("status_change", "action_required"), Move.ENTER_ACTION) == [
        "chat.status_change",
        "chat.action_required",
    ]


@pytest.mark.parametrize("url", ["http://a", "https://example.com:8443/x?y=z", "https://[2001:db8::1]/"])
def test_absolute_http_urls_will_do(url: str) -> None:
    webhooks.check(url, ["chat.created"], "for us")


@pytest.mark.parametrize(
    "url",
    ["", "example.com", "ftp://a", "http://", "http://u:p@a", "http://a/#x", "http://a b", "http://a:b", "http://ä",
     "http://a/\n", "http://[", "http://a/" + "x" * 2048, "http://a:99999"],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        webhooks.check(url, None, None)
    assert [each.field for each in refused.value.validations] == ["url"]


def test_each_field_that_is_wrong_is_named() -> None:
    with pytest.raises(Invalid) as refused:
        webhooks.check("x", ["chat.nothing"], "x" * 501)
    assert [each.field for each in refused.value.validations] == ["url", "events", "description"]
