"""The laws of web push: the owner of a chat is told how it ended, once, readable by their browsers alone."""

import asyncio
import logging
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

from activities import web_push
from activities.deliver import Delivering
from activities.housekeeping import Housekeeping
from activities.resources import Resources, open_resources
from models.rules import push as rules
from models.rules import summaries
from models.rules.states import State
from models.steps import DeliveryReply, DeliveryRequest, HousekeepingRequest, Job
from models.store import preferences, push, retention
from models.store.database import Row, fetch
from models.store.push import ServerKey
from models.store.secrets import Cipher
from tests.activities.stack import Stack, worker
from tests.activities.test_title import small as small
from tests.fakes.behaviour import Behaviour
from tests.fakes.push_service import Browser
from tests.models.store.chats import chat_in
from workflows.client import delivery_workflow_id

# RFC 8291, 5.
RFC_PLAIN = b"When I grow up, I want to be a watermelon"
RFC_KEYS = (
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "BTBZMqHH6r4Tts7J_aSIgg",
)
RFC_SENDER, RFC_SALT = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw", "DGv6ra1nlYgDCS1FRnbzlw"
RFC_BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


@pytest.fixture
def open_stack(stack: Stack) -> Stack:
    """Push services of tests are on this machine."""
    return opened(stack)


@pytest.fixture
def labelling(small: Stack) -> Stack:
    """A small model labels turns."""
    return opened(small)


def opened(stack: Stack) -> Stack:
    stack.settings = stack.settings.model_copy(
        update={"webhooks_allow_private": True, "push_contact": "mailto:ops@example.com"}
    )
    return stack


async def subscribe(stack: Stack, browser: Browser, user_id: UUID | None = None) -> UUID:
    cipher = Cipher(stack.settings.secret_keys.get_secret_value())
    await ServerKey(stack.database, cipher).public()
    async with stack.database.begin() as session:
        row = await push.subscribe(session, cipher, user_id or stack.world.owner_id, **browser.subscription)
    subscription_id: UUID = row["id"]
    return subscription_id


async def let_no_time_pass(stack: Stack) -> None:
    """What is to be told from now on does not get old: how fast this machine is decides nothing."""
    async with stack.database.begin() as session:
        await fetch(
            session, "ALTER TABLE webpush_deliveries ALTER COLUMN created_at SET DEFAULT now() + interval '1 hour'"
        )


async def waiting(stack: Stack) -> list[Row]:
    async with stack.database.read() as session:
        return await fetch(session, "SELECT * FROM webpush_deliveries ORDER BY id")


async def pending(stack: Stack, subscription_id: UUID) -> DeliveryRequest:
    """Something that waits to be told."""
    async with stack.database.begin() as session:
        await push.test(session, stack.world.owner_id)
    row = (await waiting(stack))[-1]
    return DeliveryRequest(subscription_id, row["id"], push.PUSH)


async def told(stack: Stack, subscription_id: UUID) -> DeliveryRequest:
    """The one thing that waits to be told."""
    [row] = await waiting(stack)
    return DeliveryRequest(subscription_id, row["id"], push.PUSH)


async def attempt(resources: Resources, request: DeliveryRequest) -> DeliveryReply:
    return await Delivering(resources).deliver(request)


def test_a_message_is_encrypted_as_the_rfc_has_it() -> None:
    sender = int.from_bytes(rules.decoded(RFC_SENDER), "big")
    made = web_push.encrypted(
        RFC_PLAIN, *RFC_KEYS, pair=ec.derive_private_key(sender, ec.SECP256R1()), salt=rules.decoded(RFC_SALT)
    )
    assert rules.encoded(made) == RFC_BODY


async def test_the_end_of_a_turn_reaches_its_owners_browsers_with_its_label_and_nobody_elses(labelling: Stack) -> None:
    stack = labelling
    await let_no_time_pass(stack)
    stack.fake.script(Behaviour(text="A mutex is a lock."), Behaviour(text="Explained mutex basics"))
    async with Browser() as phone, Browser(path="/other") as desk, Browser() as stranger, worker(stack):
        subscriptions = [await subscribe(stack, each) for each in (phone, desk)]
        await subscribe(stack, stranger, await somebody(stack))
        chat_id = await stack.create("what is a mutex?", title="Locks")
        await phone.until(1)
        await desk.until(1)
        while await waiting(stack):
            await asyncio.sleep(0.02)
        key, claims = phone.signed_by(phone.received[0])
        assert key == await ServerKey(stack.database, Cipher("")).public()
        histories = [await history(stack, each, number) for number, each in enumerate(subscriptions, 1)]
    assert (
        phone.shown
        == desk.shown
        == [
            {
                "title": "Locks",
                "body": "Explained mutex basics",
                "tag": str(chat_id),
                "data": {"url": f"/agents/{chat_id}"},
            }
        ]
    )
    assert stranger.received == []
    assert claims["sub"] == "mailto:ops@example.com"
    sent = phone.received[0].headers
    assert (sent["ttl"], sent["topic"]) == (str(4 * 3600), chat_id.hex)
    for each in histories:
        assert each.events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
        assert phone.path not in each.to_json()


async def somebody(stack: Stack) -> UUID:
    async with stack.database.begin() as session:
        [row] = await fetch(
            session,
            "INSERT INTO users (id, username, email) VALUES (gen_random_uuid(), 'bob', 'bob@example.com') RETURNING id",
        )
    user_id: UUID = row["id"]
    return user_id


async def history(stack: Stack, subscription_id: UUID, number: int) -> WorkflowHistory:
    """What Temporal keeps of a delivery that is over."""
    name = delivery_workflow_id(DeliveryRequest(subscription_id, number, push.PUSH))
    handle = stack.temporal.client.get_workflow_handle(name)
    await handle.result()
    return await handle.fetch_history()


async def test_an_error_is_told_in_its_own_words_and_no_label_is_waited_for(labelling: Stack) -> None:
    stack = labelling
    stack.fake.script(Behaviour(status=401, message="bad key"))
    async with Browser() as browser, worker(stack):
        await subscribe(stack, browser)
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
        await browser.until(1)
    assert chat.last_error is not None
    assert [each["body"] for each in browser.shown] == [chat.last_error["message"]]


async def ended(stack: Stack, state: State) -> UUID:
    """A chat whose turn ended so, under an owner with a browser, and nothing of it sent yet."""
    return await chat_in(stack.database, stack.world, state)


async def test_a_label_is_waited_for_only_while_there_may_be_one(labelling: Stack) -> None:
    stack = labelling
    await let_no_time_pass(stack)
    async with Browser() as browser, open_resources(stack.settings, stack.temporal) as resources:
        subscription_id = await subscribe(stack, browser)
        await ended(stack, State.W)
        request = await told(stack, subscription_id)
        assert (await attempt(resources, request)).wait_seconds == rules.FIRST_LOOK.total_seconds()
        assert browser.received == []
        async with stack.database.begin() as session:
            await fetch(session, "UPDATE webpush_deliveries SET created_at = now() - interval '36 seconds'")
        assert (await attempt(resources, request)).note == "delivered"
        await ended(stack, State.W)
        async with stack.database.begin() as session:
            await fetch(session, "UPDATE chat_model_configs SET enabled = false WHERE model <> 'fake-model'")
        assert (await attempt(resources, await told(stack, subscription_id))).note == "delivered"
    assert [each["body"] for each in browser.shown] == [summaries.FINISHED] * 2


async def test_news_of_a_chat_that_has_gone_on_are_none(open_stack: Stack) -> None:
    stack = open_stack
    async with Browser() as browser, open_resources(stack.settings, stack.temporal) as resources:
        subscription_id = await subscribe(stack, browser)
        chat_id = await ended(stack, State.E0)
        request = await told(stack, subscription_id)
        await stack.send(chat_id, "again", signal="")
        reply = await attempt(resources, request)
        assert reply == DeliveryReply("nothing to deliver")
        assert await waiting(stack) == []
    assert browser.received == []


@pytest.mark.parametrize(
    ("status", "notes", "kept"),
    [
        (404, ["not delivered"], False),
        (410, ["not delivered"], False),
        (400, ["not delivered"], True),
        (413, ["not delivered"], True),
        (500, ["not delivered"] * 5, True),
        (429, ["not delivered"] * 5, True),
        (201, ["delivered"], True),
    ],
)
async def test_what_a_push_service_answers_decides_what_comes_next(
    open_stack: Stack, status: int, notes: list[str], kept: bool
) -> None:
    stack = open_stack
    async with Browser(statuses=[status] * 9) as browser, open_resources(stack.settings, stack.temporal) as resources:
        subscription_id = await subscribe(stack, browser)
        request = await pending(stack, subscription_id)
        replies = [await attempt(resources, request)]
        while replies[-1].wait_seconds is not None:
            replies.append(await attempt(resources, request))
    assert [reply.note for reply in replies] == notes
    assert {reply.status_code for reply in replies} == {status}
    waits = [each.total_seconds() for each in rules.SCHEDULE][: len(notes) - 1]
    assert [reply.wait_seconds for reply in replies] == [*waits, None]
    assert await waiting(stack) == []
    async with stack.database.read() as session:
        assert bool(await fetch(session, "SELECT FROM webpush_subscriptions")) is kept


async def test_no_push_leads_inside_and_no_endpoint_is_logged(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with Browser() as browser, open_resources(stack.settings, stack.temporal) as resources:
        request = await pending(stack, await subscribe(stack, browser))
        reply = await attempt(resources, request)
    assert (reply.note, browser.received) == ("not delivered", [])
    assert "was not told" in caplog.text
    assert browser.path not in "".join(
        record.getMessage() for record in caplog.records if record.name.split(".")[0] not in ("httpx", "httpcore")
    )


async def test_what_was_lost_with_its_process_is_told_by_the_sweep_and_a_suspended_owner_is_told_nothing(
    open_stack: Stack,
) -> None:
    stack = open_stack
    async with Browser() as browser, worker(stack) as resources:
        subscription_id = await subscribe(stack, browser)
        await ended(stack, State.E0)  # by a process that has no courier
        assert await resources.courier.begin_due() == 1
        await browser.until(1)
        request = await pending(stack, subscription_id)
        async with stack.database.begin() as session:
            await fetch(session, "UPDATE users SET status = 'suspended'")
        assert (await attempt(resources, request)).note == "nothing to deliver"
    assert [each["body"] for each in browser.shown] == ["x"]


async def test_the_digest_of_a_round_is_pushed_once_however_often_the_round_is_made(open_stack: Stack) -> None:
    stack, at = open_stack, datetime.now(UTC)
    chat_id = await ended(stack, State.W)
    async with stack.database.begin() as session:
        await preferences.put_site(session, {retention.AUTO_ARCHIVE: "5"})
        for table in ("chats", "chat_messages"):
            await fetch(session, f"UPDATE {table} SET created_at = now() - interval '9 days'")
        await fetch(session, "UPDATE chats SET title = 'Old talk' WHERE id = %(id)s", {"id": chat_id})
    async with Browser() as browser, worker(stack) as resources:
        await subscribe(stack, browser)
        keeping = Housekeeping(resources)
        for job in (Job.ARCHIVE, Job.DIGESTS, Job.DIGESTS):
            await keeping.housekeep(HousekeepingRequest(job, at))
        await browser.until(1)
        while await waiting(stack):
            await asyncio.sleep(0.02)
        [notice] = await stored_notices(stack)
    [shown] = browser.shown
    assert (shown["title"], shown["tag"]) == ("Chats Auto-Archived", str(notice["id"]))
    assert "* Old talk (last active 1 week ago)" in shown["body"]


async def stored_notices(stack: Stack) -> list[Row]:
    async with stack.database.read() as session:
        return await fetch(session, "SELECT * FROM inbox_notifications")
