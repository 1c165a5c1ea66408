"""What is kept for debugging holds no credentials, and is small."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules import redaction
from models.rules.redaction import REDACTED

KEYS = (
    "sk-proj-abcdefghijklmnop0123",
    "sk-ant-api03-abcdefghijklmnop",
    "ts_token_abcdefghijklmnopqrst_1234",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA1234567890abcdefghij",
    "ghp_abcdefghijklmnopqrstuvwxyz",
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----",
)


@pytest.mark.parametrize("key", KEYS)
def test_what_looks_like_a_key_is_taken_out_of_a_text(key: str) -> None:
    assert redaction.text(f"it is {key} you see") == f"it is {REDACTED} you see"


def test_a_known_secret_is_taken_out_wherever_it_stands() -> None:
    assert redaction.text("x=hunter22hunter", ["hunter22"]) == f"x={REDACTED}hunter"
    assert redaction.document({"hunter22": ["hunter22"]}, ["hunter22"]) == {REDACTED: [REDACTED]}


def test_an_address_loses_its_password_and_its_key() -> None:
    cleaned = redaction.text("https://ada:secret@host.example/v1?key=abc&alt=sse")
    assert cleaned == f"https://{REDACTED}@host.example/v1?key={REDACTED}&alt=sse"


def test_headers_that_carry_credentials_keep_their_names_only() -> None:
    given = {
        "Authorization": "Bearer x",
        "x-api-key": "y",
        "Set-Cookie": "z",
        "X-Amz-Security-Token": "t",
        "content-type": "application/json",
        "x-ratelimit-remaining-tokens": "99",
        "anthropic-ratelimit-tokens-limit": "80000",
    }
    kept = redaction.headers(given)
    assert {name for name, value in kept.items() if value == REDACTED} == set(list(given)[:4])
    assert {name: kept[name] for name in list(given)[4:]} == {name: given[name] for name in list(given)[4:]}


def test_values_under_names_of_secrets_go_and_counts_of_tokens_stay() -> None:
    kept = redaction.document(
        {"api_key": "a", "clientSecret": "b", "password": "c", "access_token": "d", "max_tokens": 5, "token": 7}
    )
    assert kept == {
        "api_key": REDACTED,
        "clientSecret": REDACTED,
        "password": REDACTED,
        "access_token": REDACTED,
        "max_tokens": 5,
        "token": 7,
    }


def test_a_long_document_is_cut_in_its_middle_and_says_so() -> None:
    messages = [{"role": "user", "content": f"{number} " + "x" * 5000} for number in range(1000)]
    kept = redaction.document({"messages": messages}, limit=50_000)
    assert len(orjson.dumps(kept)) <= 50_000
    texts = [each for each in kept["messages"] if isinstance(each, dict)]
    assert texts[0]["content"].startswith("0 ")
    assert texts[-1]["content"].startswith("999 ")
    assert any(isinstance(each, str) and each.endswith("items cut]") for each in kept["messages"])


def test_no_half_of_a_secret_is_left_where_a_text_was_cut() -> None:
    secret = " sk-abcdefghijklmnopqrstuvwxyz0123456789 "
    for before in (*range(1900, 2100), *range(3900, 4100), *range(16000, 17400, 7)):
        kept = redaction.document("y" * before + secret + "z" * (18_000 - before), limit=3000 * 16)
        assert len(kept) < 3100
        assert "abcdefghij" not in kept
        assert "0123456789" not in kept


@pytest.mark.parametrize(
    ("raw", "kept"),
    [(b'{"api_key": "x", "n": 1}', {"api_key": REDACTED, "n": 1}), (b"plain", "plain"), (b"\xff\x00", "\ufffd\ufffd")],
)
def test_a_body_is_kept_as_json_where_it_is_json(raw: bytes, kept: object) -> None:
    assert redaction.body(raw) == kept


def test_half_a_json_body_is_text() -> None:
    assert redaction.body(b'{"a": "sk-abcdefghijklmnopqrst', complete=False) == '{"a": "' + REDACTED


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@given(json, st.integers(300, 5000))
def test_whatever_is_given_can_be_stored_and_fits(value: object, limit: int) -> None:
    kept = orjson.dumps(redaction.document(value, ["a secret value"], limit=limit))
    assert len(kept) <= limit
    assert b"\\u0000" not in kept
