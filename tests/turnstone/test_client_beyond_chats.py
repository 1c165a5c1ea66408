"""The client's webhooks, settings, keys and reports against a real API process, and `verify` against what is signed."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.rules import webhooks as rules
from tests.turnstone.service import PlayedWorker, Service
from turnstone.client import AsyncTurnstone, Turnstone
from turnstone.client.errors import BadRequest, NotFound, NotGenuine, PreconditionFailed, UnexpectedAnswer
from turnstone.client.settings import Setting
from turnstone.client.webhooks import TOLERANCE, Delivery, verify

SECRET = rules.new_secret(b"k" * 32)
NOW = 1_700_000_000
BODY = orjson.dumps(
    {"type": "chat.created", "timestamp": "2026-05-20T10:00:00Z", "data": {"chat": {"id": "c1", "status": "pending"}}}
)
URL = "https://example.com/hook"


def headers(body: bytes = BODY, *secrets: str, at: int = NOW) -> dict[str, str]:
    """As our deliveries carry them."""
    signed = rules.signature(secrets or (SECRET,), "msg_1", at, body)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signed}


@pytest.fixture
async def client(service: Service) -> AsyncIterator[AsyncTurnstone]:
    async with AsyncTurnstone(service.url, service.token) as opened:
        yield opened


def test_what_the_service_signs_is_verified_and_read() -> None:
    event = verify(BODY, headers(), SECRET, now=NOW)
    assert (event.id, event.type, event.timestamp) == ("msg_1", "chat.created", datetime(2026, 5, 20, 10, tzinfo=UTC))
    assert event.chat is not None
    assert (event.chat.id, event.chat.status) == ("c1", "pending")
    upper = {name.title(): value for name, value in headers().items()}
    assert verify(BODY.decode(), upper, SECRET.removeprefix("whsec_"), now=NOW) == event
    test = orjson.dumps({"type": "webhook.test", "timestamp": "2026-05-20T10:00:00Z", "data": {}})
    assert verify(test, headers(test), SECRET, now=NOW).chat is None


def test_the_example_of_the_standard_is_verified() -> None:
    example = {
        "webhook-id": "msg_loFOjxBNrRLzqYUf",
        "webhook-timestamp": "1731705121",
        "webhook-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    }
    body = '{"event_type":"ping","data":{"success":true}}'
    event = verify(body, example, "whsec_plJ3nmyCDGBKInavdOK15jsl", now=1731705121)
    assert event.data == {"success": True}


def test_while_secrets_change_any_that_both_know_will_do() -> None:
    new = rules.new_secret(b"n" * 32)
    both = headers(BODY, new, SECRET)
    for known in (SECRET, new, [rules.new_secret(b"x" * 32), new]):
        assert verify(BODY, both, known, now=NOW).id == "msg_1"
    with pytest.raises(NotGenuine):
        verify(BODY, headers(BODY, new), SECRET, now=NOW)


@given(at=st.integers(0, len(BODY) - 1), to=st.integers(0, 255))
def test_a_body_that_was_changed_is_refused(at: int, to: int) -> None:
    assume(BODY[at] != to)
    with pytest.raises(NotGenuine):
        verify(BODY[:at] + bytes([to]) + BODY[at + 1 :], headers(), SECRET, now=NOW)


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.none() | st.text(max_size=60),
        min_size=1,
    )
)
def test_whatever_else_the_headers_say_is_refused_in_one_way(change: dict[str, str | None]) -> None:
    right = headers()
    assume(any(right[name] != value for name, value in change.items()))
    given = {name: value for name, value in {**right, **change}.items() if value is not None}
    with pytest.raises(NotGenuine):
        verify(BODY, given, SECRET, now=NOW)


@pytest.mark.parametrize("late", [TOLERANCE + 1, -TOLERANCE - 1])
def test_what_was_signed_at_another_time_is_refused(late: float) -> None:
    assert verify(BODY, headers(), SECRET, now=NOW + late / 2).id == "msg_1"
    with pytest.raises(NotGenuine):
        verify(BODY, headers(), SECRET, now=NOW + late)
    assert verify(BODY, headers(), SECRET, now=NOW + late, tolerance=2 * TOLERANCE).id == "msg_1"


def test_what_is_signed_and_makes_no_sense_is_told_apart_from_what_is_not_signed() -> None:
    with pytest.raises(NotGenuine):
        verify(b"no JSON", headers(b"no JSON"), SECRET, now=NOW)
    with pytest.raises(UnexpectedAnswer):
        verify(b"[]", headers(b"[]"), SECRET, now=NOW)
    with pytest.raises(ValueError, match="whsec_"):
        verify(BODY, headers(), "whsec_ä", now=NOW)


async def test_a_webhook_is_made_changed_tried_and_forgotten(client: AsyncTurnstone) -> None:
    made = await client.webhooks.create(URL, events=["chat.created"], description="ours")
    assert (made.url, made.events, made.enabled, made.description) == (URL, ("chat.created",), True, "ours")
    assert len(base64.b64decode(made.secret.removeprefix("whsec_"))) == 32
    assert made.id in [each.id for each in await client.webhooks.list()]
    changed = await client.webhooks.update(made.id, enabled=False, events=[])
    assert (changed.enabled, changed.events, changed.description) == (False, (), "ours")
    assert await client.webhooks.get(made.id) == changed
    rotated = await client.webhooks.rotate_secret(made.id)
    assert rotated.secret not in ("", made.secret)
    for _ in range(2):
        assert (await client.webhooks.test(made.id)).event == "webhook.test"
    log = [delivery async for delivery in client.webhooks.deliveries(made.id)]
    assert [type(each) for each in log] == [Delivery, Delivery]
    assert log[0].id > log[1].id
    again = await client.webhooks.replay(made.id, log[1].id)
    assert (again.id, again.message_id, again.status) == (log[1].id, log[1].message_id, "pending")
    await client.webhooks.delete(made.id)
    with pytest.raises(NotFound):
        await client.webhooks.get(made.id)
    with pytest.raises(BadRequest) as refused:
        await client.webhooks.create("ftp://example.com")
    assert [each.field for each in refused.value.validations] == ["url"]


def test_a_long_log_is_read_page_by_page_and_an_organizations_webhooks_are_apart(service: Service) -> None:
    with Turnstone(service.url, service.token) as client:
        [organization] = client.organizations.list()
        ours = client.webhooks.create(URL, organization=organization.name)
        assert ours.organization_id == organization.id
        assert [each.id for each in client.webhooks.list(organization=organization.id)] == [ours.id]
        assert ours.id not in [each.id for each in client.webhooks.list()]
        with pytest.raises(NotFound):
            client.webhooks.get(ours.id)
        sent = [client.webhooks.test(ours.id, organization=organization.id).id for _ in range(105)]
        found = [each.id for each in client.webhooks.deliveries(ours.id, organization=organization.id)]
        assert found == sent[::-1]
        client.webhooks.delete(ours.id, organization=organization.id)


async def test_a_setting_that_somebody_changed_meanwhile_is_not_overwritten(client: AsyncTurnstone) -> None:
    seen = await client.settings.get("system-prompt")
    assert isinstance(seen, Setting)
    assert seen.value["system_prompt"] == ""
    await client.settings.set("system-prompt", {"system_prompt": "Be brief."}, seen=seen)
    with pytest.raises(PreconditionFailed):
        await client.settings.set("system-prompt", {"system_prompt": "Be long."}, seen=seen)
    now = await client.settings.get("system-prompt")
    assert (now.value["system_prompt"], now.etag == seen.etag) == ("Be brief.", False)
    await client.settings.set("system-prompt", {"system_prompt": ""})
    with pytest.raises(BadRequest):
        await client.settings.set("retention-days", {"retention_days": -1})
    with pytest.raises(NotFound):
        await client.settings.get("nothing-of-the-kind")


async def test_a_setting_of_ones_own_is_taken_back(client: AsyncTurnstone) -> None:
    [model, *_] = await client.models.list()
    name, all_of_them = f"user-compaction-thresholds/{model.id}", "user-compaction-thresholds"
    await client.settings.set(name, {"threshold_percent": 50})
    seen = await client.settings.get(all_of_them)
    assert seen.value == {"thresholds": [{"model_config_id": model.id, "threshold_percent": 50}]}
    await client.settings.set(name, {"threshold_percent": 60}, seen=seen)
    with pytest.raises(PreconditionFailed):
        await client.settings.reset(name, seen=seen)
    await client.settings.reset(name)
    assert (await client.settings.get(all_of_them)).value == {"thresholds": []}


async def test_a_key_of_ones_own_goes_in_and_never_comes_out(client: AsyncTurnstone) -> None:
    provider = await client.providers.create("openai", "with-keys", base_url="https://api.openai.com/v1")

    async def mine() -> Any:
        return next(each for each in await client.users.provider_keys() if each.provider.id == provider.id)

    assert ((await mine()).has_user_api_key, (await mine()).byok_enabled) == (False, True)
    kept = await client.users.set_provider_key(provider.id, "sk-mine-0123456789")
    assert kept == await mine()
    assert kept.has_user_api_key
    assert "sk-mine" not in str(kept.raw)
    await client.users.delete_provider_key(provider.id)
    assert not (await mine()).has_user_api_key


async def test_what_was_spent_and_what_may_be_is_told(client: AsyncTurnstone, worker: PlayedWorker) -> None:
    await client.chats.create("hello")
    await worker.answer("Good day")
    me = await client.users.me()
    assert not (await client.limits.status()).is_limited
    limits = await client.limits.set(5_000_000, period="week")
    assert (limits.spend_limit_micros, limits.period) == (5_000_000, "week")
    assert (await client.limits.set_user(me.id, 7_000_000)).username == me.username
    assert [each.spend_limit_micros for each in (await client.limits.get()).overrides] == [7_000_000]
    status = await client.limits.status()
    assert (status.is_limited, status.spend_limit_micros, status.period) == (True, 7_000_000, "week")
    await client.limits.clear_user(me.id)
    assert (await client.limits.set(None)).spend_limit_micros is None
    summary = await client.costs.summary()
    assert (summary.end_date - summary.start_date, summary.usage_limit) == (timedelta(days=30), None)
    later = datetime.now(UTC) + timedelta(days=1)
    asked = await client.costs.summary(user=me.username, start=later - timedelta(days=2), end=later)
    assert asked.total_cost_micros == summary.total_cost_micros
    assert [person.username async for person in client.costs.people(username="nobody-like-that")] == []
    insights = await client.insights.pull_requests()
    assert (insights.summary["total_prs_created"], insights.recent_prs) == (0, ())


async def test_a_group_that_is_not_there_has_no_limit(client: AsyncTurnstone) -> None:
    group = "01a204a5-1320-76f5-8fe1-f9199ca9a0fd"
    with pytest.raises(NotFound):
        await client.limits.set_group(group, 1)
    with pytest.raises(BadRequest):
        await client.limits.clear_group(group)
