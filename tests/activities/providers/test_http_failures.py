"""What a broken provider looks like from here: each failure leaves its facts, and none looks like an answer."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from activities.providers.http import wished_delay
from activities.providers.litellm import LitellmProvider
from models.rules.failures import ErrorKind, classify
from tests.activities.providers.asking import KEY, answer, failure, finished, request, text
from tests.fakes.provider import FakeProvider

STYLES = ["openai-compat", "openai", "anthropic"]
KINDS = [
    ({"status": 401, "error_type": "authentication_error", "message": "invalid x-api-key"}, ErrorKind.AUTH, False),
    ({"status": 403, "error_type": "permission_error"}, ErrorKind.AUTH, False),
    ({"status": 404, "code": "model_not_found"}, ErrorKind.CONFIG, False),
    ({"status": 408}, ErrorKind.TIMEOUT, True),
    ({"status": 429, "retry_after": "7"}, ErrorKind.RATE_LIMIT, True),
    ({"status": 429, "error_type": "insufficient_quota", "code": "insufficient_quota"}, ErrorKind.USAGE_LIMIT, False),
    ({"status": 500}, ErrorKind.GENERIC, True),
    ({"status": 502, "body": "<html>Bad Gateway</html>"}, ErrorKind.TIMEOUT, True),
    ({"status": 503}, ErrorKind.TIMEOUT, True),
    ({"status": 529, "error_type": "overloaded_error"}, ErrorKind.OVERLOADED, True),
    ({"status": 400, "code": "context_length_exceeded", "message": "maximum context length"}, ErrorKind.CONFIG, False),
    ({"status": 400, "error_type": "invalid_request_error", "message": "tools.0: odd"}, ErrorKind.GENERIC, False),
    ({"cut_after": 3}, ErrorKind.TIMEOUT, True),
    ({"cut_after": 0}, ErrorKind.TIMEOUT, True),
    ({"malformed_after": 2}, ErrorKind.TIMEOUT, True),
    ({"empty_body": True}, ErrorKind.TIMEOUT, True),
    ({"error_after": 2, "error_type": "overloaded_error"}, ErrorKind.OVERLOADED, True),
    ({"error_after": 2, "error_type": "rate_limit_error", "message": "slow"}, ErrorKind.RATE_LIMIT, True),
    ({"error_after": 2, "error_type": "api_error", "message": "Internal server error"}, ErrorKind.GENERIC, True),
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("behave", "kind", "retryable"), KINDS, ids=[str(behave) for behave, _, _ in KINDS])
async def test_every_failure_is_judged_by_what_the_provider_said(
    fake: FakeProvider, provider: LitellmProvider, style: str, behave: dict[str, Any], kind: ErrorKind, retryable: bool
) -> None:
    facts = await failure(provider, request(fake, style, behave))
    verdict = classify(facts)
    assert (verdict.kind, verdict.retryable) == (kind, retryable)
    assert facts.provider == style
    assert facts.status == (behave.get("status"))
    assert len(fake.received) == 1


@pytest.mark.parametrize("style", STYLES)
async def test_the_words_of_an_error_arrive_as_they_were_said(
    fake: FakeProvider, provider: LitellmProvider, style: str
) -> None:
    facts = await failure(
        provider, request(fake, style, {"status": 400, "error_type": "odd_error", "message": "Oh no."})
    )
    assert (facts.text, facts.code, facts.structured) == ("Oh no.", "odd_error", True)


@pytest.mark.parametrize("style", STYLES)
async def test_retry_after_is_read(fake: FakeProvider, provider: LitellmProvider, style: str) -> None:
    facts = await failure(provider, request(fake, style, {"status": 429, "retry_after": "7"}))
    assert facts.retry_after == timedelta(seconds=7)


def test_retry_after_is_seconds_or_a_date_or_milliseconds_or_nothing() -> None:
    now = datetime(2026, 5, 20, tzinfo=UTC)
    date = format_datetime(now + timedelta(seconds=30), usegmt=True)
    assert wished_delay({"retry-after": "1.5"}) == timedelta(seconds=1.5)
    assert wished_delay({"retry-after": date}, now) == timedelta(seconds=30)
    assert wished_delay({"retry-after": date}, now + timedelta(hours=1)) == timedelta()
    assert wished_delay({"retry-after-ms": "250", "retry-after": "9"}) == timedelta(milliseconds=250)
    assert wished_delay({"retry-after": "soon"}) is None
    assert wished_delay({}) is None


@pytest.mark.parametrize("style", STYLES)
async def test_a_provider_that_does_not_start_is_silent(
    fake: FakeProvider, provider: LitellmProvider, style: str
) -> None:
    asked = request(fake, style, {"slow_first_byte_ms": 60_000}, first_byte_timeout=0.2)
    facts = await failure(provider, asked)
    assert facts.signal == "silence"
    await fake.received[0].ended.wait()
    assert fake.received[0].closed_by_client_at is not None


@pytest.mark.parametrize("style", STYLES)
async def test_pings_are_not_words(fake: FakeProvider, provider: LitellmProvider, style: str) -> None:
    behave = {"slow_first_token_ms": 60_000, "ping_every_ms": 20}
    facts = await failure(provider, request(fake, style, behave, first_byte_timeout=0.3))
    assert facts.signal == "silence"


@pytest.mark.parametrize("style", STYLES)
async def test_a_provider_that_goes_silent_inside_its_answer_is_silent(
    fake: FakeProvider, provider: LitellmProvider, style: str
) -> None:
    facts = await failure(provider, request(fake, style, {"silence_after": 3}, silence_timeout=0.2))
    assert facts.signal == "silence"
    await fake.received[0].ended.wait()
    assert fake.received[0].closed_by_client_at is not None


@pytest.mark.parametrize("style", STYLES)
async def test_a_slow_provider_is_waited_for(fake: FakeProvider, provider: LitellmProvider, style: str) -> None:
    behave = {"slow_first_byte_ms": 150, "slow_first_token_ms": 150, "tokens": 2}
    assert text(await answer(provider, request(fake, style, behave))) == "w0 w1 "


async def test_nobody_listening_is_a_transport_failure(fake: FakeProvider, provider: LitellmProvider) -> None:
    asked = request(fake, base_url="http://127.0.0.1:9/v1")
    verdict = classify(await failure(provider, asked))
    assert (verdict.kind, verdict.retryable) == (ErrorKind.TIMEOUT, True)
    assert "ssl" not in verdict.detail


@pytest.mark.parametrize("style", ["openai", "anthropic", "azure", "google", "openrouter", "vercel"])
async def test_a_missing_key_is_noticed_before_anybody_is_asked(
    fake: FakeProvider, provider: LitellmProvider, style: str
) -> None:
    facts = await failure(provider, request(fake, style, api_key=""))
    assert facts.signal == "missing_key"
    assert fake.received == []


async def test_a_compatible_provider_needs_no_key_of_us(fake: FakeProvider, provider: LitellmProvider) -> None:
    facts = await failure(provider, request(fake, api_key=""))
    assert facts.status == 401
    assert "authorization" not in fake.received[0].headers


@pytest.mark.parametrize("style", STYLES)
async def test_a_key_that_the_provider_repeats_does_not_leave(
    fake: FakeProvider, provider: LitellmProvider, style: str
) -> None:
    facts = await failure(provider, request(fake, style, {"status": 400, "message": f"What is {KEY}?"}))
    assert KEY not in facts.text


async def test_a_provider_without_a_base_url_is_a_matter_of_configuration(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    assert classify(await failure(provider, request(fake, base_url=""))).kind is ErrorKind.CONFIG


async def test_an_option_that_has_no_translation_is_a_matter_of_configuration(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    config = {"provider_options": {"anthropic": {"effort": "bogus"}}}
    verdict = classify(
        await failure(provider, request(fake, "anthropic", model="claude-sonnet-4-5", call_config=config))
    )
    assert (verdict.kind, verdict.status_code) == (ErrorKind.CONFIG, None)
    assert "bogus" in verdict.detail
    assert fake.received == []


async def test_a_connection_that_breaks_after_the_last_word_takes_nothing_away(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    chunks = await answer(provider, request(fake, behave={"tokens": 2, "cut_after_finish": True}))
    assert text(chunks) == "w0 w1 "
    assert finished(chunks).reason == "stop"


@pytest.mark.parametrize("style", STYLES)
async def test_a_failure_that_passes_is_gone_at_the_next_attempt(
    fake: FakeProvider, provider: LitellmProvider, style: str
) -> None:
    asked = request(fake, style, {"status": 503, "times": 1, "tokens": 1})
    await failure(provider, asked)
    assert text(await answer(provider, asked)) == "w0 "
