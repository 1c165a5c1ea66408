"""The laws of delivery: signed, at least once, again when it fails, given up in the end, and never led inside."""

import asyncio
import secrets
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from activities import deliver
from activities.deliver import Delivering
from activities.resources import Resources
from api.resources import open_resources as open_api
from models.parts import text
from models.rules import webhooks as rules
from models.steps import DeliveryReply, DeliveryRequest
from models.store import moves, webhooks
from models.store.database import Row, fetch
from models.store.secrets import Cipher
from models.store.webhooks import Holder
from tests.activities.stack import Stack, doomed, worker
from tests.fakes.receiver import Receiver

ROOT = Path(__file__).parents[2]


@pytest.fixture
def open_stack(stack: Stack) -> Stack:
    """Receivers of tests are on this machine."""
    stack.settings = stack.settings.model_copy(update={"webhooks_allow_private": True})
    return stack


async def endpoint(
    stack: Stack, url: str, *, organization: bool = False, events: tuple[str, ...] = ()
) -> tuple[UUID, str]:
    """An endpoint of the world's owner, or of their organization, and its secret."""
    secret = rules.new_secret(secrets.token_bytes(32))
    world = stack.world
    holder = Holder(organization_id=world.organization_id) if organization else Holder(user_id=world.owner_id)
    cipher = Cipher(stack.settings.secret_keys.get_secret_value())
    async with stack.database.begin() as session:
        row = await webhooks.create(
            session,
            holder,
            url=url,
            description="",
            events=list(events),
            secret=cipher.encrypt(secret),
            by=world.owner_id,
        )
    return row["id"], secret


async def log(stack: Stack, endpoint_id: UUID) -> list[Row]:
    async with stack.database.read() as session:
        return list(reversed(await webhooks.deliveries(session, endpoint_id, before=None, limit=200)))


async def settled(stack: Stack, endpoint_id: UUID, count: int) -> list[Row]:
    async with asyncio.timeout(60):
        while len(done := [row for row in await log(stack, endpoint_id) if row["status"] != "pending"]) < count:
            await asyncio.sleep(0.02)
    return done


async def pending(stack: Stack, endpoint_id: UUID) -> DeliveryRequest:
    """A delivery that is due, of an event that is tried again."""
    async with stack.database.begin() as session:
        row = await webhooks.test(session, endpoint_id)
        await fetch(session, "UPDATE webhook_deliveries SET event = 'chat.created' WHERE id = %(id)s", row)
    return DeliveryRequest(endpoint_id, row["id"])


async def attempt(resources: Resources, request: DeliveryRequest) -> DeliveryReply:
    return await Delivering(resources).deliver(request)


async def test_a_turn_is_told_to_whoever_wants_to_know_signed_and_once(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver() as own, Receiver() as all_of_it, worker(stack):
        mine, secret = await endpoint(stack, own.url, events=("chat.turn_finished",))
        ours, their_secret = await endpoint(stack, all_of_it.url, organization=True)
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
        # No sweep runs here: whoever commits an event sends it on its way.
        [delivery] = await settled(stack, mine, 1)
        await settled(stack, ours, 4)
        [received] = own.received
    assert (delivery["status"], delivery["attempts"], delivery["status_code"]) == ("delivered", 1, 200)
    assert received.is_signed_with(secret)
    assert not received.is_signed_with(their_secret)
    assert received.message["type"] == "chat.turn_finished"
    chat = received.message["data"]["chat"]
    assert (chat["id"], chat["status"], chat["owner_id"]) == (str(chat_id), "waiting", str(stack.world.owner_id))
    kinds = {each.message["type"] for each in all_of_it.received}
    assert {"chat.created", "chat.status_change", "chat.turn_finished", "chat.summary_change"} <= kinds
    assert all(each.is_signed_with(their_secret) for each in all_of_it.received)
    assert len({each.headers["webhook-id"] for each in all_of_it.received}) == len(all_of_it.received)


async def test_what_is_refused_is_sent_again_under_the_same_id_until_it_is_taken(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver(statuses=[500, 302], extra="Location: /elsewhere\r\n") as receiver, worker(stack) as resources:
        endpoint_id, secret = await endpoint(stack, receiver.url)
        request = await pending(stack, endpoint_id)
        replies = [await attempt(resources, request) for _ in range(4)]
    assert [reply.wait_seconds for reply in replies] == [
        rules.SCHEDULE[0].total_seconds(), rules.SCHEDULE[1].total_seconds(), None, None
    ]  # fmt: skip
    assert [(reply.note, reply.status_code) for reply in replies] == [
        ("not delivered", 500), ("not delivered", 302), ("delivered", 200), ("nothing to deliver", None)
    ]  # fmt: skip
    assert {each.path for each in receiver.received} == {"/hook"}
    assert len({(each.headers["webhook-id"], each.body) for each in receiver.received}) == 1
    assert all(each.is_signed_with(secret) for each in receiver.received)
    [row] = await log(stack, endpoint_id)
    assert (row["status"], row["attempts"], row["response"]) == ("delivered", 3, "thanks")


async def test_the_webhooks_of_whoever_is_suspended_are_told_nothing_until_they_are_back(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver() as own, Receiver() as ours, worker(stack) as resources:
        mine, _ = await endpoint(stack, own.url)
        organizations, _ = await endpoint(stack, ours.url, organization=True)
        requests = [await pending(stack, each) for each in (mine, organizations)]
        await suspend(stack, "suspended")
        assert [(await attempt(resources, each)).note for each in requests] == ["disabled", "delivered"]
        [row] = await log(stack, mine)
        assert (row["status"], row["attempts"], row["error"]) == ("failed", 0, "The webhook's owner is suspended.")
        await suspend(stack, "active")
        async with stack.database.begin() as session:
            await webhooks.replay(session, mine, row["id"])
        assert (await attempt(resources, requests[0])).note == "delivered"
    assert (len(own.received), len(ours.received)) == (1, 1)


async def suspend(stack: Stack, status: str) -> None:
    async with stack.database.begin() as session:
        params = {"status": status, "id": stack.world.owner_id}
        await fetch(session, "UPDATE users SET status = %(status)s WHERE id = %(id)s", params)


async def test_with_two_workers_and_two_api_processes_each_event_goes_to_each_endpoint_once(open_stack: Stack) -> None:
    stack, chats = open_stack, 4
    async with AsyncExitStack() as opened:
        receivers = [await opened.enter_async_context(Receiver()) for _ in range(2)]
        for _ in range(2):
            await opened.enter_async_context(worker(stack))
        processes = [await opened.enter_async_context(open_api(stack.settings)) for _ in range(2)]
        endpoints = [(await endpoint(stack, each.url))[0] for each in receivers]
        fronts = [replace(stack, database=each.database, temporal=each.temporal) for each in processes]
        made = await asyncio.gather(*(fronts[number % 2].create("hello") for number in range(chats)))
        for chat_id in made:
            await stack.rest(chat_id)
        for endpoint_id in endpoints:
            while any(row["status"] == "pending" for row in await log(stack, endpoint_id)):
                await asyncio.sleep(0.02)
        logs = [await log(stack, each) for each in endpoints]
    for rows, receiver in zip(logs, receivers, strict=True):
        assert sum(row["event"] == "chat.created" for row in rows) == chats
        assert sum(row["event"] == "chat.turn_finished" for row in rows) == chats
        assert {(row["status"], row["attempts"]) for row in rows} == {("delivered", 1)}
        names = [each.headers["webhook-id"] for each in receiver.received]
        assert sorted(names) == sorted(rules.message_id(row["endpoint_id"], row["id"]) for row in rows)


async def test_a_receiver_that_asks_for_time_gets_it(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver(statuses=[429, 503], extra="Retry-After: 1200\r\n") as receiver, worker(stack) as resources:
        endpoint_id, _ = await endpoint(stack, receiver.url)
        request = await pending(stack, endpoint_id)
        replies = [await attempt(resources, request) for _ in range(3)]
    assert [(reply.status_code, reply.wait_seconds) for reply in replies] == [(429, 1200), (503, 1200), (200, None)]


async def test_between_two_attempts_an_endpoint_may_move_be_disabled_and_come_back(open_stack: Stack) -> None:
    stack, holder = open_stack, Holder(user_id=open_stack.world.owner_id)

    async def change(endpoint_id: UUID, **fields: Any) -> None:
        async with stack.database.begin() as session:
            await webhooks.change(session, holder, endpoint_id, fields)

    async with Receiver(statuses=[500]) as old, Receiver(statuses=[500]) as new, worker(stack) as resources:
        endpoint_id, secret = await endpoint(stack, old.url)
        request = await pending(stack, endpoint_id)
        await attempt(resources, request)
        await change(endpoint_id, url=new.url)
        await attempt(resources, request)
        await change(endpoint_id, enabled=False)
        assert (await attempt(resources, request)).note == "disabled"
        [row] = await log(stack, endpoint_id)
        assert (row["status"], row["attempts"], row["error"]) == ("failed", 2, "The webhook is disabled.")
        await change(endpoint_id, enabled=True)
        assert (await attempt(resources, request)).note == "nothing to deliver"
        async with stack.database.begin() as session:
            await webhooks.replay(session, endpoint_id, request.delivery_id)
        assert (await attempt(resources, request)).note == "delivered"
    assert (len(old.received), len(new.received)) == (1, 2)
    everything = [*old.received, *new.received]
    assert len({each.headers["webhook-id"] for each in everything}) == 1
    assert all(each.is_signed_with(secret) for each in everything)


async def test_an_endpoint_that_is_deleted_hears_no_more_and_harms_nobody(open_stack: Stack) -> None:
    stack, holder = open_stack, Holder(user_id=open_stack.world.owner_id)
    async with Receiver(statuses=[500], delay=0.1) as receiver, worker(stack) as resources:
        endpoint_id, _ = await endpoint(stack, receiver.url)
        first, second = await pending(stack, endpoint_id), await pending(stack, endpoint_id)
        await attempt(resources, first)
        sending = asyncio.create_task(attempt(resources, second))
        await receiver.until(2)
        async with stack.database.begin() as session:
            await webhooks.delete(session, holder, endpoint_id)
        assert (await sending).wait_seconds is None
        assert (await attempt(resources, first)).note == "nothing to deliver"
        assert len(receiver.received) == 2
    assert await log(stack, endpoint_id) == []


async def test_a_receiver_that_is_down_gets_it_when_it_is_up_again(open_stack: Stack) -> None:
    stack = open_stack
    receiver = Receiver()
    await receiver.start()
    await receiver.stop()
    async with worker(stack) as resources:
        endpoint_id, _ = await endpoint(stack, receiver.url)
        request = await pending(stack, endpoint_id)
        assert await stack.temporal.deliver(request)
        while not (await log(stack, endpoint_id))[0]["attempts"]:
            await asyncio.sleep(0.02)
        assert (await log(stack, endpoint_id))[0]["status"] == "pending"
        await receiver.start()
        # Instead of waiting for the timer of its run.
        assert await stack.temporal.deliver(request, afresh=True)
        await receiver.until(1)
        [row] = await settled(stack, endpoint_id, 1)
        assert (row["status"], row["attempts"]) == ("delivered", 2)
        assert await resources.courier.begin_due() == 0
    await receiver.stop()


async def test_a_day_of_failures_is_enough_for_an_event_and_five_for_an_endpoint(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver(statuses=[500] * 50) as receiver, worker(stack) as resources:
        endpoint_id, _ = await endpoint(stack, receiver.url)
        request = await pending(stack, endpoint_id)
        waits = [(await attempt(resources, request)).wait_seconds for _ in range(len(rules.SCHEDULE) + 1)]
        assert waits == [*(each.total_seconds() for each in rules.SCHEDULE), None]
        [row] = await log(stack, endpoint_id)
        assert (row["status"], row["error"]) == ("failed", "It answered 500.")
        async with stack.database.begin() as session:
            await fetch(session, "UPDATE webhook_endpoints SET failing_since = now() - interval '5 days'")
        await attempt(resources, await pending(stack, endpoint_id))
        later = await pending(stack, endpoint_id)
        assert (await attempt(resources, later)).note == "disabled"
        sent = len(receiver.received)
    async with stack.database.read() as session:
        found = await webhooks.get(session, Holder(user_id=stack.world.owner_id), endpoint_id)
        notices = await fetch(session, "SELECT * FROM inbox_notifications")
    assert (found["enabled"], found["disabled_reason"]) == (False, deliver.TOOK_NOTHING)
    assert sent == len(rules.SCHEDULE) + 2
    [notice] = notices
    assert (notice["user_id"], notice["template"]) == (stack.world.owner_id, deliver.TEMPLATE)
    assert receiver.url in notice["content"]


async def test_one_that_is_gone_is_disabled_at_once_and_one_that_takes_something_is_forgiven(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver(statuses=[410]) as gone, Receiver(statuses=[500]) as shaky, worker(stack) as resources:
        ended, _ = await endpoint(stack, gone.url)
        alive, _ = await endpoint(stack, shaky.url)
        assert (await attempt(resources, await pending(stack, ended))).wait_seconds is None
        holder = Holder(user_id=stack.world.owner_id)
        failing: list[Any] = []
        for _ in range(2):
            await attempt(resources, await pending(stack, alive))
            async with stack.database.read() as session:
                failing.append((await webhooks.get(session, holder, alive))["failing_since"])
    async with stack.database.read() as session:
        found = await webhooks.get(session, holder, ended)
    assert (found["enabled"], found["disabled_reason"]) == (False, deliver.ANSWERED_GONE)
    assert failing[0] is not None
    assert failing[1] is None
    async with stack.database.begin() as session:
        created = await moves.create(
            session,
            owner_id=stack.world.owner_id,
            organization_id=stack.world.organization_id,
            title="t",
            content=[text("x")],
            model_config_id=stack.world.model_config_id,
            created_by=stack.world.owner_id,
        )
    rows = [await log(stack, each) for each in (ended, alive)]
    assert [sum(row["chat_id"] == created.chat["id"] for row in each) for each in rows] == [0, 1]


async def test_a_slow_receiver_is_given_up_and_a_talkative_one_is_cut(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver(delay=2.0) as slow, Receiver(text="x" * 100_000) as loud, worker(stack) as resources:
        late, _ = await endpoint(stack, slow.url)
        long, _ = await endpoint(stack, loud.url)
        reply = await Delivering(resources, patience=0.3).deliver(await pending(stack, late))
        assert reply.wait_seconds == rules.SCHEDULE[0].total_seconds()
        await attempt(resources, await pending(stack, long))
    [row] = await log(stack, late)
    assert (row["status"], row["status_code"]) == ("pending", None)
    [row] = await log(stack, long)
    assert (row["status"], row["response"]) == ("delivered", "x" * deliver.MOST_KEPT)


async def test_a_receiver_that_points_elsewhere_is_not_followed(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver() as elsewhere, Receiver([307]) as receiver, worker(stack) as resources:
        receiver.extra = f"Location: {elsewhere.url}\r\n"
        endpoint_id, _ = await endpoint(stack, receiver.url)
        await attempt(resources, await pending(stack, endpoint_id))
    [row] = await log(stack, endpoint_id)
    assert (row["status"], row["status_code"]) == ("pending", 307)
    assert elsewhere.received == []


async def test_a_receiver_that_sets_a_cookie_is_not_known_again_by_it(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver(extra="Set-Cookie: seen=1; Path=/\r\n") as receiver, worker(stack) as resources:
        endpoint_id, _ = await endpoint(stack, receiver.url)
        for _ in range(2):
            await attempt(resources, await pending(stack, endpoint_id))
    assert len(receiver.received) == 2
    assert not any("cookie" in each.headers for each in receiver.received)


async def test_internal_addresses_are_not_called(stack: Stack) -> None:
    async with Receiver() as receiver, worker(stack) as resources:
        for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost"), "http://169.254.169.254/latest"):
            endpoint_id, _ = await endpoint(stack, url)
            await attempt(resources, await pending(stack, endpoint_id))
            [row] = await log(stack, endpoint_id)
            assert row["status"] == "pending"
            assert "internal addresses" in row["error"]
    assert receiver.received == []


async def test_after_a_rotation_both_secrets_sign_for_a_while(open_stack: Stack) -> None:
    stack = open_stack
    cipher, fresh = Cipher(stack.settings.secret_keys.get_secret_value()), rules.new_secret(b"n" * 32)
    async with Receiver() as receiver, worker(stack) as resources:
        endpoint_id, old = await endpoint(stack, receiver.url)
        async with stack.database.begin() as session:
            await webhooks.rotate(session, Holder(user_id=stack.world.owner_id), endpoint_id, cipher.encrypt(fresh))
        await attempt(resources, await pending(stack, endpoint_id))
        async with stack.database.begin() as session:
            await fetch(session, "UPDATE webhook_endpoints SET previous_until = now()")
        await attempt(resources, await pending(stack, endpoint_id))
    first, second = receiver.received
    assert (first.is_signed_with(old), first.is_signed_with(fresh)) == (True, True)
    assert (second.is_signed_with(old), second.is_signed_with(fresh)) == (False, True)


async def test_an_event_survives_a_worker_that_dies_between_sending_and_writing_it_down(open_stack: Stack) -> None:
    stack = open_stack
    async with Receiver() as receiver:
        # Committed with its event, and nobody told: the process that did it is gone.
        endpoint_id, secret = await endpoint(stack, receiver.url, events=("chat.created",))
        await stack.create("hello", signal="")
        process = await doomed(
            stack, TURNSTONE_WEBHOOKS_ALLOW_PRIVATE="true", TURNSTONE_FAILPOINTS="worker.after_delivery"
        )
        try:
            async with stack.database.begin() as session:
                [request] = await webhooks.claim_due(session, 10)
            assert await stack.temporal.deliver(request)
            assert await process.wait() == -9
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert [row["status"] for row in await log(stack, endpoint_id)] == ["pending"]
        async with worker(stack):
            [row] = await settled(stack, endpoint_id, 1)
    assert (row["status"], row["attempts"]) == ("delivered", 1)
    assert len(receiver.received) == 2
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 1
    assert all(each.is_signed_with(secret) for each in receiver.received)
