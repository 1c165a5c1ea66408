from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import FailureFacts
from models.rules.failures import MAX_DETAIL, NAMES, RULES, ErrorKind, Verdict, classify


def judged(status: int | None = None, text: str = "", **facts: Any) -> Verdict:
    return classify(FailureFacts(provider="openai", status=status, text=text, **facts))


@pytest.mark.parametrize(
    ("status", "text", "code", "kind", "retryable"),
    [
        (529, "", "", ErrorKind.OVERLOADED, True),
        (500, "Overloaded", "overloaded_error", ErrorKind.OVERLOADED, True),
        (None, "Overloaded", "overloaded_error", ErrorKind.OVERLOADED, True),
        (429, "You exceeded your current quota", "insufficient_quota", ErrorKind.USAGE_LIMIT, False),
        (400, "Your credit balance is too low. Go to Plans & Billing.", "", ErrorKind.USAGE_LIMIT, False),
        (402, "", "", ErrorKind.USAGE_LIMIT, False),
        (None, "payment required", "", ErrorKind.USAGE_LIMIT, False),
        (401, "", "", ErrorKind.AUTH, False),
        (400, "Incorrect API key provided", "", ErrorKind.AUTH, False),
        (None, "invalid x-api-key", "authentication_error", ErrorKind.AUTH, False),
        (403, "", "", ErrorKind.AUTH, False),
        (None, "forbidden", "", ErrorKind.AUTH, False),
        (429, "slow down", "", ErrorKind.RATE_LIMIT, True),
        (None, "Number of requests has exceeded your rate limit", "", ErrorKind.RATE_LIMIT, True),
        (None, "busy", "rate_limit_error", ErrorKind.RATE_LIMIT, True),
        (503, "this provider is disabled", "", ErrorKind.PROVIDER_DISABLED, False),
        (503, "", "provider_disabled", ErrorKind.PROVIDER_DISABLED, False),
        (408, "", "", ErrorKind.TIMEOUT, True),
        (502, "", "", ErrorKind.TIMEOUT, True),
        (503, "", "", ErrorKind.TIMEOUT, True),
        (504, "context deadline exceeded", "", ErrorKind.TIMEOUT, True),
        (None, "connection reset while reading", "", ErrorKind.TIMEOUT, True),
        (None, "unexpected EOF", "", ErrorKind.TIMEOUT, True),
        (None, "request timed out", "", ErrorKind.TIMEOUT, True),
        (None, "context deadline exceeded", "", ErrorKind.TIMEOUT, False),
        (404, "The model `x` does not exist", "model_not_found", ErrorKind.CONFIG, False),
        (404, "page not found", "", ErrorKind.CONFIG, False),
        (400, "too long", "context_length_exceeded", ErrorKind.CONFIG, False),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", "", ErrorKind.CONFIG, False),
        (400, "invalid model", "", ErrorKind.CONFIG, False),
        (500, "", "", ErrorKind.GENERIC, True),
        (520, "", "", ErrorKind.GENERIC, True),
        (None, "Internal server error", "api_error", ErrorKind.GENERIC, True),
        (400, "tools.0: bad schema", "invalid_request_error", ErrorKind.GENERIC, False),
        (None, "something odd", "", ErrorKind.GENERIC, False),
    ],
)
def test_the_facts_decide_the_kind(status: int | None, text: str, code: str, kind: ErrorKind, retryable: bool) -> None:
    verdict = judged(status, text, code=code)
    assert (verdict.kind, verdict.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    ("signal", "kind", "retryable"),
    [
        ("silence", ErrorKind.STREAM_SILENCE_TIMEOUT, True),
        ("stream_cut", ErrorKind.TIMEOUT, True),
        ("empty", ErrorKind.GENERIC, True),
        ("cancelled", ErrorKind.GENERIC, False),
        ("content_filter", ErrorKind.CONTENT_FILTER, False),
        ("missing_key", ErrorKind.MISSING_KEY, False),
    ],
)
def test_what_we_saw_ourselves_beats_every_text(signal: str, kind: ErrorKind, retryable: bool) -> None:
    verdict = judged(401, "invalid model, overloaded, quota", signal=signal)
    assert (verdict.kind, verdict.retryable) == (kind, retryable)


def test_auth_beats_config() -> None:
    assert judged(401, "invalid model").kind is ErrorKind.AUTH


def test_config_beats_a_weak_auth() -> None:
    assert judged(403, "the model `x` does not exist or you may not use it").kind is ErrorKind.CONFIG


def test_config_beats_rate_limit() -> None:
    assert judged(429, "invalid model").kind is ErrorKind.CONFIG


def test_config_beats_a_gateway_that_wraps_it() -> None:
    assert judged(503, "upstream said: invalid model").kind is ErrorKind.CONFIG


def test_a_rate_limit_that_mentions_quota_is_a_rate_limit() -> None:
    assert judged(429, "quota exceeded for requests per minute").kind is ErrorKind.RATE_LIMIT


def test_a_bad_request_is_not_retried_for_a_word_in_its_text() -> None:
    verdict = judged(400, "Invalid 'timeout' parameter")
    assert (verdict.kind, verdict.retryable) == (ErrorKind.GENERIC, False)


@pytest.mark.parametrize("text", ["operation interrupted", "the request was canceled", "context canceled"])
def test_a_cancellation_is_not_retried(text: str) -> None:
    verdict = judged(None, text)
    assert (verdict.kind, verdict.retryable, verdict.message) == (ErrorKind.GENERIC, False, "The request was canceled.")


def test_a_conversation_the_provider_lost_asks_for_a_new_chat() -> None:
    verdict = judged(400, "No tool output found for function call call_1.")
    assert (verdict.kind, verdict.retryable) == (ErrorKind.GENERIC, False)
    assert "state mismatch" in verdict.message
    assert "call_1" in verdict.detail


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("status 503 from upstream", 503),
        ("HTTP/1.1 429 Too Many", 429),
        ("status code: 404", 404),
        ("upstream said 502.", 502),
        ("dial localhost:503 said nothing", None),
        ("stream id 503 ended", None),
        ("it took 1503 ms or 503.5", None),
    ],
)
def test_a_status_is_read_from_text_only_where_it_is_one(text: str, status: int | None) -> None:
    assert judged(None, text).status_code == status


def test_a_structured_status_beats_one_in_the_text() -> None:
    assert judged(500, "status 401").status_code == 500


def test_messages_name_the_provider_and_never_the_status() -> None:
    for provider, name in NAMES.items():
        for status in (400, 401, 403, 404, 408, 429, 500, 502, 503, 529):
            verdict = classify(FailureFacts(provider=provider, status=status, text=f"status {status}"))
            assert name.removeprefix("The ") in verdict.message
            assert str(status) not in verdict.message


def test_a_provider_with_a_name_of_its_own_is_called_by_it() -> None:
    assert classify(FailureFacts("openai-compat", 500), "Our vLLM").message.startswith("Our vLLM ")


def test_a_provider_without_a_name_is_the_ai_provider() -> None:
    assert classify(FailureFacts(status=503)).message.startswith("The AI provider ")
    assert "of the AI provider" in classify(FailureFacts(status=402)).message


def test_a_failure_of_nobody_known_is_an_unexpected_one() -> None:
    assert classify(FailureFacts(text="odd")).message == "The chat request failed unexpectedly."


def test_banners_leave_the_advice_out() -> None:
    verdict = judged(429)
    assert verdict.message == f"{verdict.retry_message} Please try again later."


def test_auth_shows_only_structured_detail() -> None:
    assert judged(401, "<html>authorization: secret</html>").detail == ""
    assert judged(401, "invalid x-api-key", structured=True).detail == "invalid x-api-key"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF123456",
        "AIzaSyA1234567890abc",
        "Bearer abc.def.ghi",
        "req_011CSHoEeqs5C35K",
        "AKIAIOSFODNN7EXAMPLE",
    ],
)
def test_no_key_and_no_id_of_the_provider_leaves(secret: str) -> None:
    detail = judged(400, f"bad thing with {secret} in it").detail
    assert secret.rsplit(" ", maxsplit=1)[-1] not in detail
    assert detail.startswith("bad thing with ")


@given(st.text(max_size=3000))
def test_details_are_bounded(text: str) -> None:
    assert len(judged(500, text).detail) <= MAX_DETAIL


def test_an_error_on_the_wire_carries_only_what_is_known() -> None:
    wish = timedelta(seconds=3)
    assert judged(429, "slow down", retry_after=wish).error() == {
        "message": "OpenAI is rate limiting requests. Please try again later.",
        "detail": "slow down",
        "kind": "rate_limit",
        "provider": "openai",
        "retryable": True,
        "status_code": 429,
    }
    assert judged(429, retry_after=wish).retry_after == wish
    assert classify(FailureFacts(signal="cancelled")).error() == {
        "message": "The request was canceled.",
        "kind": "generic",
        "retryable": False,
    }


def test_a_retry_on_the_wire_says_when_the_next_attempt_begins() -> None:
    moment = datetime(2026, 5, 20, 10, 0, 0, tzinfo=UTC)
    assert judged(503).retry(2, timedelta(seconds=2), moment) == {
        "attempt": 2,
        "delay_ms": 2000,
        "error": "OpenAI is temporarily unavailable.",
        "kind": "timeout",
        "provider": "openai",
        "status_code": 503,
        "retrying_at": "2026-05-20T10:00:00Z",
    }


def test_every_kind_of_the_wire_has_a_rule() -> None:
    assert {rule.kind for rule in RULES} == set(ErrorKind)
