"""The list as a search asks for it: which chats, in which order, and where they say what is sought."""

from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from models.parts import text
from models.store import retention, words
from models.store.database import fetch
from models.store.moves import StepRow, commit_step
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.api.test_chats import child_of, set_columns
from tests.api.trips import trips


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def listed(talk: Talk, q: str = "", **query: Any) -> list[dict[str, Any]]:
    response = await talk.client.get(CHATS, params={"q": q, **query})
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.json()
    return rows


async def found(talk: Talk, q: str = "", **query: Any) -> list[UUID]:
    return [UUID(row["id"]) for row in await listed(talk, q, **query)]


async def read_all(api: Api) -> None:
    """What sweeps do, until nothing is left that a search would read for itself."""
    behind = "SELECT message_id < (SELECT max(id) FROM chat_messages) AS behind FROM chat_message_words_mark"
    while True:
        async with api.resources.database.begin() as session:
            await words.read(session)
        async with api.resources.database.read() as session:
            [mark] = await fetch(session, behind)
        if not mark["behind"]:
            return


async def named(talk: Talk, *titles: str) -> list[UUID]:
    """Chats with these titles, the newest first."""
    made = [await talk.start() for _ in titles]
    for chat, title in zip(made, reversed(titles), strict=True):
        await talk.client.patch(f"{CHATS}/{chat}", json={"title": title})
    return list(reversed(made))


async def say(talk: Talk, chat: UUID, content: list[dict[str, Any]], **columns: Any) -> None:
    """A message that no route makes."""
    values = {"role": "user", "visibility": "both", "deleted": False, **columns}
    async with talk.api.resources.database.begin() as session:
        await fetch(
            session,
            "INSERT INTO chat_messages (chat_id, role, content, revision, visibility, deleted) "
            "VALUES (%(chat)s, %(role)s, %(content)s::jsonb, 1, %(visibility)s, %(deleted)s)",
            {"chat": chat, "content": orjson.dumps(content).decode(), **values},
        )


async def test_titles_are_found_by_a_part_in_any_case_and_with_wildcards(talk: Talk) -> None:
    slash, lock, cent = await named(talk, "back\\slash", "A Spin LOCK", "100% of it")
    for q, expected in (
        ("title:lock", [lock]),
        ('title:"spin l"', [lock]),
        ("title:s_in%k", [lock]),
        ("title:%", [slash, lock, cent]),
        ("title:k\\s", [slash]),
        ("title:k\\", [slash]),
        ("title:h\\", []),
        ("title:\x00", []),
    ):
        assert await found(talk, q) == expected, q


async def test_archived_chats_are_found_when_asked_for_and_children_go_by_the_same_word(talk: Talk, api: Api) -> None:
    away, here = await named(talk, "away", "here")
    child, away_child = await child_of(api, here), await child_of(api, here, archived=True)
    await talk.archive(away)
    await set_columns(api, away, "updated_at = (SELECT max(updated_at) FROM chats) + interval '1 minute'")
    for q, chats, children in (
        ("", [here], {child}),
        ("archived:false", [here], {child}),
        ("archived:true", [away], set()),
        ("archived:any", [away, here], {child, away_child}),
    ):
        rows = await listed(talk, q)
        assert [UUID(row["id"]) for row in rows] == chats, q
        assert {UUID(each["id"]) for row in rows for each in row["children"]} == children, q


async def test_chats_are_found_by_status_and_by_what_is_unread(talk: Talk) -> None:
    failed, answered, new = await talk.start(), await talk.start(), await talk.start()
    await talk.fail(failed)
    await talk.answer(answered)
    for q, expected in (
        ("status:error", {failed}),
        ("status:waiting,error", {answered, failed}),
        ("status:pending", {new}),
        ("status:running", set()),
        ("has_unread:true", {answered}),
        ("has_unread:false", {failed, new}),
        ("has_unread:true status:error", set()),
    ):
        assert set(await found(talk, q)) == expected, q


async def test_what_others_share_is_listed_when_asked_for(talk: Talk, api: Api, owner: Person) -> None:
    other = Talk(api, await api.person("other", org_roles=("agents-access",)))
    mine = await talk.start("mine")
    shared, grouped, everyones, private = [await other.start(name) for name in ("to me", "group", "all", "private")]
    await other.share(shared, talk.person)
    group = uuid4()
    async with api.resources.database.begin() as session:
        params = {"id": group, "organization": api.organization_id, "user": talk.person.id}
        await fetch(
            session,
            "INSERT INTO groups (id, organization_id, name) VALUES (%(id)s, %(organization)s, 'crew')",
            params,
        )
        await fetch(session, "INSERT INTO group_members (group_id, user_id) VALUES (%(id)s, %(user)s)", params)
    for chat, key in ((grouped, group), (everyones, api.organization_id)):
        grant = f'{{"{key}": {{"permissions": ["read"]}}}}'
        await set_columns(api, chat, f"group_acl = '{grant}'")
    api.resources.principals.forget()
    theirs = {shared, grouped, everyones}
    assert await found(talk) == [mine]
    assert set(await found(talk, "source:shared_with_me")) == theirs
    both = await listed(talk, "source:created_by_me,shared_with_me")
    assert {UUID(row["id"]) for row in both} == theirs | {mine}
    assert [row["updated_at"] for row in both] == sorted((row["updated_at"] for row in both), reverse=True)
    assert {row["owner_username"] for row in both if row["shared"]} == {"other"}
    paged: list[UUID] = []
    while step := await found(
        talk, "source:created_by_me,shared_with_me", limit=1, after_id=str(paged[-1]) if paged else ""
    ):
        paged += step
    assert paged == [UUID(row["id"]) for row in both]
    for _ in ("as it is", "after the sweep"):
        everywhere = "source:created_by_me,shared_with_me"
        assert await found(talk, f"search:group {everywhere}") == [grouped]
        assert await found(talk, f"search:mine {everywhere} archived:any") == [mine]
        assert await found(talk, "search:mine source:shared_with_me") == []
        assert await found(talk, f"search:private {everywhere}") == []
        await read_all(api)
    # Who governs everything still has a list of their own, and nothing is shared with them by that.
    assert await found(Talk(api, owner), "source:created_by_me,shared_with_me archived:any") == [everyones]
    assert await found(Talk(api, owner), "source:shared_with_me", after_id=str(private)) == [everyones]


async def test_chats_are_found_by_their_pull_requests(talk: Talk, api: Api) -> None:
    plain, draft, merged, parent = [await talk.start() for _ in range(4)]
    child = await child_of(api, parent)
    address = "https://github.com/Acme/site/pull/"
    for chat, fields in (
        (draft, {"pull_request_state": "open", "pull_request_draft": True, "pr_number": 7, "url": f"{address}7"}),
        (merged, {"pull_request_state": "merged", "pull_request_title": "Spin 100%", "pr_number": 8}),
        (child, {"pull_request_state": "open", "url": f"{address}9", "pr_number": 9}),
        (parent, {"git_remote_origin": "git@example.com:acme/tools.git"}),
    ):
        reported = await talk.client.put(f"{CHATS}/{chat}/diff-status", json=fields)
        assert reported.status_code == 200, reported.text
    for q, expected in (
        ("pr_status:draft", {draft}),
        ("pr_status:open", set()),
        ("pr_status:draft,merged", {draft, merged}),
        ("pr_status:none", {plain, parent}),
        ("pr:7", {draft}),
        ("pr:9", set()),
        (f'diff_url:"{address.upper()}7"', {draft}),
        (f'diff_url:"{address}9"', {parent}),
        (f'diff_url:"{address}"', set()),
        ("repo:ACME", {draft, parent}),
        ("repo:tools", {parent}),
        ("pr_title:spin", {merged}),
        ("pr_title:100%", {merged}),
        ("pr_title:\\", set()),
        ("repo:acme pr_status:draft", {draft}),
    ):
        assert set(await found(talk, q)) == expected, q


async def test_what_was_said_is_found_with_the_place_where_it_was(talk: Talk, api: Api) -> None:
    asked = await talk.start("How does a <b>Mutex</b> & a lock work?")
    answered = await talk.start("tell me something")
    await talk.answer(answered, "a mutex, then")
    await talk.start("nothing of it")
    await Talk(api, await api.person("other", org_roles=("agents-access",))).start("my own mutex")
    [question] = (await talk.history(asked))["messages"]
    for _ in ("as it is", "after the sweep"):
        best, newest = await listed(talk, "search:MUTEX")
        assert [UUID(best["id"]), UUID(newest["id"])] == [asked, answered], "a title says it"
        assert best["search_match"] == {
            "message_id": question["id"],
            "snippet": "How does a &lt;b&gt;<mark>Mutex</mark>&lt;/b&gt; &amp; a lock work?",
        }
        assert newest["search_match"]["snippet"] == "a <mark>mutex</mark>, then"
        assert await found(talk, 'search:"lock mutex"') == [asked]
        assert await found(talk, "search:mutex search:then") == [answered]
        assert await found(talk, 'search:"tell mutex"') == [], "all words must be in one message"
        for q in ("search:mut", "search:unheard", 'search:"?!"', "search:\x00", "search:mutex archived:true"):
            assert await found(talk, q) == [], q
        assert await found(talk, "search:mutex", limit=1) == [asked]
        assert await found(talk, "search:mutex", offset=1) == [answered]
        assert await found(talk, "search:mutex", after_id=str(asked)) == [answered]
        assert all("search_match" not in row for row in await listed(talk))
        await read_all(api)


async def test_only_what_readers_see_is_found(talk: Talk, api: Api) -> None:
    chat = await talk.start("first")
    await say(talk, chat, [text("hidden")], visibility="model")
    await say(talk, chat, [text("hidden")], deleted=True)
    await say(talk, chat, [text("hidden")], role="system")
    await say(talk, chat, [{"type": "tool-result", "result": {"output": "hidden"}}], role="tool")
    await say(talk, chat, [{"type": "reasoning", "text": "hidden"}], role="assistant")
    await say(talk, chat, [text("shown"), {"type": "tool-call", "args": "hidden"}, text("too")], visibility="user")
    for _ in ("as it is", "after the sweep"):
        assert await found(talk, "search:hidden") == []
        assert await found(talk, 'search:"too shown"') == [chat]
        await read_all(api)


async def test_a_message_that_was_edited_away_is_found_no_longer(talk: Talk, api: Api) -> None:
    chat = await talk.start("before")
    await read_all(api)
    [message] = (await talk.history(chat))["messages"]
    await talk.client.patch(f"{CHATS}/{chat}/messages/{message['id']}", json={"content": said("after")})
    for _ in range(2):
        assert (await found(talk, "search:before"), await found(talk, "search:after")) == ([], [chat])
        await read_all(api)


async def test_a_word_that_few_chats_say_is_found_behind_many_that_do_not(talk: Talk, api: Api) -> None:
    rare = await talk.start("needle")
    async with api.resources.database.begin() as session:
        await fetch(
            session,
            """WITH made AS (
                INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, title, updated_at)
                SELECT gen_random_uuid(), owner_id, organization_id, last_model_config_id, 'hay',
                    now() + n * interval '1 s'
                FROM chats, generate_series(1, 300) AS n RETURNING id)
            INSERT INTO chat_messages (chat_id, role, content, revision)
            SELECT id, 'user', '[{"type": "text", "text": "hay in the stack"}]', 1 FROM made""",
        )
    for _ in range(2):
        assert await found(talk, "search:needle") == [rare]
        assert len(await found(talk, "search:hay")) == 50
        assert len(await found(talk, "search:hay", offset=290)) == 10
        assert len(await found(talk, "search:hay", limit=250)) == 250
        await read_all(api)


ODD = {
    "words": " ".join(f"w{number}" for number in range(60_000)),
    "one": "-".join(f"w{number}" for number in range(60_000)),
    "letter": "x" * 300_000,
    "addresses": "https://a.b/c?d=e&f " * 20_000,
    "characters": "".join(chr(0x4E00 + number % 20_000) + " " for number in range(150_000)),
    "marks": '\ue000\ue001 \x82mutex\x83 \x00 <a b="c">',
    "nothing": "",
}


async def test_no_message_is_too_odd_to_be_read(talk: Talk, api: Api) -> None:
    chats = {}
    for name, odd in ODD.items():
        chats[name] = await talk.start(name)
        fence = await talk.begin(chats[name])
        async with api.resources.database.begin() as session:
            await commit_step(session, fence, [StepRow("assistant", said(f"{odd} fin"))])
    for _ in ("as it is", "after the sweep"):
        assert await found(talk, "search:fin") == [chats["nothing"], chats["marks"]], "the others' ends are too far"
        [row] = await listed(talk, 'search:"a b mutex fin"')
        assert row["search_match"]["snippet"].endswith(
            "<mark>mutex</mark> \x00 &lt;<mark>a</mark> <mark>b</mark>=&quot;c&quot;&gt; <mark>fin</mark>"
        )
        assert await found(talk, "search:w59") == [chats["one"], chats["words"]]
        await read_all(api)


async def test_deleted_chats_leave_no_words(talk: Talk, api: Api) -> None:
    gone, kept = await talk.start("gone"), await talk.start("kept")
    await talk.answer(gone)
    await talk.archive(gone)
    await read_all(api)
    await set_columns(api, gone, "archived_at = now() - interval '1 day', status = 'waiting'")
    async with api.resources.database.begin() as session:
        [moment] = await fetch(session, "SELECT now() AS at")
        assert await retention.delete_archived(session, moment["at"], 10) == 1
        left = await fetch(session, "SELECT message_id FROM chat_message_words")
    [message] = (await talk.history(kept))["messages"]
    assert [row["message_id"] for row in left] == [message["id"]]


async def test_a_message_that_is_committed_late_is_not_passed_over(talk: Talk, api: Api) -> None:
    chat = await talk.start("first")
    statement = (
        "INSERT INTO chat_messages (chat_id, role, content, revision) VALUES (%(id)s, 'user', %(said)s::jsonb, 1)"
    )
    async with api.resources.database.begin() as late:
        await fetch(late, statement, {"id": chat, "said": orjson.dumps(said("belated")).decode()})
        await say(talk, chat, [text("punctual")])
        for _ in range(3):
            async with api.resources.database.begin() as session:
                await words.read(session)
        assert await found(talk, "search:punctual") == [chat]
    await read_all(api)
    async with api.resources.database.read() as session:
        [mark] = await fetch(session, "SELECT message_id FROM chat_message_words_mark")
        rows = await fetch(session, "SELECT m.id FROM chat_messages m JOIN chat_message_words w ON w.message_id = m.id")
    assert len(rows) == 3
    assert mark["message_id"] == max(row["id"] for row in rows)
    assert await found(talk, "search:belated") == [chat]


async def test_a_list_and_a_search_in_a_short_one_take_two_round_trips(talk: Talk, api: Api) -> None:
    chat = await talk.start("mutex")
    await child_of(api, chat)
    await listed(talk)
    for q, count in (("", 2), ("title:mutex archived:any source:created_by_me,shared_with_me", 2), ("search:mutex", 2)):
        await listed(talk, q)
        with trips(api.resources.database) as made:
            assert len(await listed(talk, q)) == 1
        assert made.count == count, q


async def test_labels_that_contradict_each_other_find_nothing_and_go_with_a_search(talk: Talk) -> None:
    chat = await talk.start(labels={"team": "sea", "kind": "bug"})
    assert await found(talk, "title:hello", label=["team:sea", "kind:bug"]) == [chat]
    assert await found(talk, "search:hello", label=["team:sea"]) == [chat]
    assert await found(talk, "search:hello", label=["team:air"]) == []
    assert await found(talk, label=["team:sea", "team:air"]) == []


async def test_wrong_searches_are_refused_under_their_keys(talk: Talk) -> None:
    refused = await talk.client.get(CHATS, params={"q": "pr:x owner:me"})
    assert refused.status_code == 400
    assert refused.json() == {
        "message": "Invalid chat search query.",
        "validations": [
            {"field": "pr", "detail": '"x" is not a valid positive integer'},
            {"field": "owner", "detail": 'Query param "owner" is not a valid query param'},
        ],
    }


async def test_workspaces_without_a_chat_are_left_out_and_wrong_ids_are_named(talk: Talk) -> None:
    async def asked(**query: str) -> tuple[int, Any]:
        response = await talk.client.get(f"{CHATS}/by-workspace", params=query)
        return response.status_code, response.json()

    some = str(uuid4())
    assert await asked() == await asked(workspace_ids="") == await asked(workspace_ids=f"{some}, {some}") == (200, {})
    status, told = await asked(workspace_ids=",".join([some] * 26))
    assert (status, told["message"]) == (400, "Too many workspace IDs, maximum is 25.")
    for wrong in ("x", f"{some},"):
        status, told = await asked(workspace_ids=wrong)
        assert status == 400
        assert told["message"].startswith(f'Invalid workspace ID "{wrong.split(",")[-1]}": ')
