"""Forks: a new chat from any message of another one."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from models.store import moves
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.api.test_cost import summary
from tests.api.test_files import naming, uploaded
from tests.models.store.chats import CALL


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def forked(talk: Talk, chat: UUID, **body: Any) -> dict[str, Any]:
    response = await talk.client.post(f"{CHATS}/{chat}/fork", json=body)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def rows(talk: Talk, chat: object) -> list[dict[str, Any]]:
    """All that is stored of the chat's history, in order, the hidden messages included."""
    async with talk.api.resources.database.read() as session:
        return await fetch(session, "SELECT * FROM chat_messages WHERE chat_id = %(id)s ORDER BY id", {"id": chat})


async def shown(talk: Talk, chat: object) -> list[tuple[str, Any]]:
    page = await talk.history(UUID(str(chat)), limit=200)
    return [(each["role"], each["content"]) for each in reversed(page["messages"])]


async def test_a_fork_has_copies_of_the_whole_history_the_hidden_messages_included(talk: Talk) -> None:
    chat = await talk.start("one", system_prompt="be brief", labels={"team": "a"}, plan_mode="plan")
    await talk.answer(chat, "two", usage={"input_tokens": 5, "output_tokens": 6}, total_cost_micros=7)
    made = await forked(talk, chat)
    assert made["id"] != str(chat)
    assert (made["status"], made["title"], made["labels"], made["plan_mode"]) == (
        "waiting",
        "one",
        {"team": "a"},
        "plan",
    )
    assert made["root_chat_id"] == made["id"]
    old, new = await rows(talk, chat), await rows(talk, made["id"])
    changes = {"id", "chat_id", "revision", "copied", "total_cost_micros", "runtime_ms"}
    assert [{k: v for k, v in row.items() if k not in changes} for row in new] == [
        {k: v for k, v in row.items() if k not in changes} for row in old
    ]
    assert len(new) == len(old) >= 3
    assert {row["total_cost_micros"] for row in new} == {None}
    assert new[-1]["input_tokens"] == 5
    assert await talk.get(UUID(made["id"])) == made


async def test_a_fork_goes_up_to_the_message_that_is_named(talk: Talk) -> None:
    chat = await talk.start("one")
    await talk.answer(chat, "two")
    await talk.say(chat, "three")
    await talk.answer(chat, "four")
    [two] = [each["id"] for each in (await talk.history(chat))["messages"] if each["content"] == said("two")]
    made = await forked(talk, chat, message_id=two)
    assert await shown(talk, made["id"]) == [("user", said("one")), ("assistant", said("two"))]


async def test_with_content_a_fork_runs_at_once(talk: Talk) -> None:
    chat = await talk.start("one")
    await talk.answer(chat, "two")
    made = await forked(talk, chat, content=said("another way"), title=" Another ", labels={"b": "c"})
    assert (made["status"], made["title"], made["labels"]) == ("pending", "Another", {"b": "c"})
    fork = UUID(made["id"])
    assert (await shown(talk, fork))[-1] == ("user", said("another way"))
    await talk.answer(fork, "there")
    assert (await talk.get(fork))["status"] == "waiting"
    assert len(await shown(talk, fork)) == 4
    assert len(await shown(talk, chat)) == 2


async def test_a_running_chat_is_forked_as_far_as_it_is_committed_and_open_calls_get_an_error(talk: Talk) -> None:
    chat = await talk.start("one")
    fence = await talk.begin(chat)
    async with talk.api.resources.database.begin() as session:
        await moves.commit_step(session, fence, [StepRow("assistant", [*said("calling"), CALL])])
    await talk.say(chat, "queued")
    made = await forked(talk, chat)
    assert made["status"] == "waiting"
    history = await shown(talk, made["id"])
    assert [role for role, _ in history] == ["user", "assistant", "tool"]
    [result] = history[-1][1]
    assert (result["tool_call_id"], result["is_error"]) == (CALL["tool_call_id"], True)
    assert (await talk.history(UUID(made["id"])))["queued_messages"] == []
    assert (await talk.get(chat))["status"] == "running"
    assert [role for role, _ in await shown(talk, chat)] == ["user", "assistant"]


async def test_what_was_edited_away_is_not_copied_and_later_edits_do_not_reach_the_fork(talk: Talk) -> None:
    chat = await talk.start("one")
    await talk.answer(chat, "two")
    [first] = [each["id"] for each in (await talk.history(chat))["messages"] if each["role"] == "user"]
    made = await forked(talk, chat)
    edited = await talk.client.patch(f"{CHATS}/{chat}/messages/{first}", json={"content": said("uno")})
    assert edited.status_code == 200
    again = await forked(talk, chat)
    assert await shown(talk, made["id"]) == [("user", said("one")), ("assistant", said("two"))]
    assert await shown(talk, again["id"]) == [("user", said("uno"))]
    gone = await talk.client.post(f"{CHATS}/{chat}/fork", json={"message_id": first})
    assert (gone.status_code, gone.json()["message"]) == (404, "Chat message not found.")


async def test_a_fork_shares_no_pin_no_reader_no_unread_mark_and_no_child(talk: Talk) -> None:
    friend = await talk.api.person("friend", org_roles=("agents-access",))
    chat = await talk.start("one")
    await talk.answer(chat, "two")
    await talk.share(chat, friend)
    assert (await talk.client.patch(f"{CHATS}/{chat}", json={"pin_order": 1})).status_code == 204
    made = await forked(talk, chat)
    assert (made["pin_order"], made["shared"], made["children"]) == (0, False, [])
    listed = {each["id"]: each for each in (await talk.client.get(CHATS)).json()}
    assert listed[made["id"]]["has_unread"] is False
    assert listed[str(chat)]["pin_order"] == 1
    assert (await friend.client.get(f"{CHATS}/{made['id']}")).status_code == 404


async def test_a_reader_forks_a_shared_chat_into_one_of_their_own_with_its_files(talk: Talk) -> None:
    friend = await talk.api.person("friend", org_roles=("agents-access",))
    file_id, later = await uploaded(talk), await uploaded(talk, b"more", "more.txt")
    chat = await talk.start("look", content=[*said("look"), *naming(file_id)])
    await talk.answer(chat, "seen")
    await talk.say(chat, "and", content=naming(later))
    await talk.share(chat, friend)
    second = [each["id"] for each in (await talk.history(chat))["messages"]][1]
    theirs = Talk(talk.api, friend)
    made = await forked(theirs, chat, message_id=second)
    assert made["owner_id"] == str(friend.id)
    assert [each["id"] for each in made["files"]] == [file_id]
    assert (await talk.client.get(f"{CHATS}/{made['id']}")).status_code == 404
    await theirs.archive(UUID(made["id"]))
    assert (await talk.get(chat))["archived"] is False


async def test_who_may_not_see_a_chat_or_may_not_have_chats_forks_none(talk: Talk) -> None:
    chat = await talk.start()
    stranger = await talk.api.person("other", org_roles=("agents-access",))
    reader = await talk.api.person("reader", org_roles=())
    gone = await talk.api.person("gone", org_roles=None)
    await talk.share(chat, reader)
    statuses = [
        (await each.client.post(f"{CHATS}/{chat}/fork", json={})).status_code for each in (stranger, reader, gone)
    ]
    assert statuses == [404, 403, 404]
    assert (await talk.client.post(f"{CHATS}/{uuid4()}/fork", json={})).status_code == 404
    assert len((await talk.client.get(CHATS)).json()) == 1


NONSENSE: list[Any] = [
    {"message_id": 0},
    {"message_id": "x"},
    {"title": "   "},
    {"title": "x" * 201},
    {"labels": {"": "x"}},
    {"content": [{"type": "text", "text": " "}]},
    {"content": [{"type": "file", "file_id": str(uuid4())}]},
    [],
]


async def test_a_fork_that_makes_no_sense_is_refused_and_leaves_nothing(talk: Talk) -> None:
    chat = await talk.start()
    for body in NONSENSE:
        response = await talk.client.post(f"{CHATS}/{chat}/fork", json=body)
        assert response.status_code == 400, body
    assert len((await talk.client.get(CHATS)).json()) == 1


async def test_a_hidden_message_and_one_of_another_chat_cannot_be_named(talk: Talk) -> None:
    chat, other = await talk.start(system_prompt="secret"), await talk.start("elsewhere")
    hidden = (await rows(talk, chat))[0]["id"]
    foreign = (await talk.history(other))["messages"][0]["id"]
    for message in (hidden, foreign):
        response = await talk.client.post(f"{CHATS}/{chat}/fork", json={"message_id": message})
        assert response.status_code == 404, message


async def test_the_same_key_forks_once(talk: Talk) -> None:
    chat = await talk.start()
    headers = {"Idempotency-Key": "fork-1"}
    first = await talk.client.post(f"{CHATS}/{chat}/fork", json={}, headers=headers)
    second = await talk.client.post(f"{CHATS}/{chat}/fork", json={}, headers=headers)
    assert (second.status_code, second.content) == (201, first.content)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len((await talk.client.get(CHATS)).json()) == 2


async def test_copies_are_not_counted_as_used_again(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat, usage={"input_tokens": 500}, total_cost_micros=42)
    before = await summary(talk.person)
    made = await forked(talk, chat)
    after = await summary(talk.person)
    moments = {"start_date": before["start_date"], "end_date": before["end_date"]}
    assert before["total_cost_micros"] == 42
    assert after | moments == before
    cost = (await talk.client.get(f"{CHATS}/{made['id']}/cost")).json()
    assert (cost["total_cost_micros"], cost["unpriced_message_count"]) == (0, 0)


async def test_a_summary_is_copied_whole_when_the_cut_is_within_it(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    summary = [
        StepRow("user", said("so far"), visibility="model", compressed=True),
        StepRow("assistant", [{**CALL, "tool_name": "chat_summarized"}], visibility="user", compressed=True),
        StepRow("tool", [{**CALL, "type": "tool-result", "result": {}}], visibility="both", compressed=True),
    ]
    async with talk.api.resources.database.begin() as session:
        await moves.request_compaction(session, await moves.lock(session, chat, prompt=True))
    fence = await talk.begin(chat)
    async with talk.api.resources.database.begin() as session:
        await moves.commit_compaction(session, fence, summary)
    call = next(each["id"] for each in (await talk.history(chat))["messages"] if each["role"] == "assistant")
    made = await forked(talk, chat, message_id=call)
    copies = await rows(talk, made["id"])
    assert [row["compressed"] for row in copies][-3:] == [True, True, True]
    assert len(copies) == len(await rows(talk, chat))


async def test_ten_thousand_messages_are_copied_in_their_order(talk: Talk) -> None:
    chat = await talk.start()
    async with talk.api.resources.database.begin() as session:
        await fetch(
            session,
            """INSERT INTO chat_messages (chat_id, revision, role, content)
               SELECT %(id)s, 1, CASE WHEN n %% 2 = 0 THEN 'user' ELSE 'assistant' END,
                   jsonb_build_array(jsonb_build_object('type', 'text', 'text', n::text))
               FROM generate_series(1, 10000) AS n ORDER BY n""",
            {"id": chat},
        )
    made = await forked(talk, chat)
    texts = [row["content"][0]["text"] for row in await rows(talk, made["id"])]
    assert texts[-10_000:] == [str(number) for number in range(1, 10_001)]
