"""What a search finds comes the best first, the same on every page, whichever way it was found."""

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import pytest

from models.principal import Principal
from models.rules import pages, search
from models.store import listing, words
from models.store.database import Database, fetch
from models.store.ranks import RANKED
from tests.api.trips import trips
from tests.models.store.chats import born
from tests.seeds import World

LONG = " ".join(f"other{number}" for number in range(300))
SEED = """
    WITH given AS (SELECT * FROM jsonb_to_recordset(%(chats)s::jsonb) AS g(n int, title text, pin int, texts jsonb)),
    made AS (
        INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, title, pin_order, updated_at)
        SELECT md5('chat ' || n)::uuid, c.owner_id, c.organization_id, c.last_model_config_id, given.title, given.pin,
            now() - n * interval '1 minute'
        FROM given, chats c RETURNING id)
    INSERT INTO chat_messages (chat_id, role, content, revision)
    SELECT md5('chat ' || n)::uuid, 'user', jsonb_build_array(jsonb_build_object('type', 'text', 'text', said)), place
    FROM given, jsonb_array_elements_text(texts) WITH ORDINALITY AS t(said, place) ORDER BY place, n
"""
BEHIND = "SELECT message_id < (SELECT max(id) FROM chat_messages) AS behind FROM chat_message_words_mark"


class Told(NamedTuple):
    """A chat: its title and what is said in it, one message after the other."""

    title: str
    said: tuple[str, ...]
    pin: int = 0


class Lists:
    """The list of one who owns chats."""

    def __init__(self, database: Database, world: World) -> None:
        self.database = database
        self.caller = Principal(
            world.owner_id, "ada", organizations={world.organization_id: frozenset({"agents-access"})}
        )

    async def told(self, chats: Sequence[Told]) -> None:
        """These chats, the newest first."""
        rows = [{"n": n, "title": each.title, "pin": each.pin, "texts": each.said} for n, each in enumerate(chats)]
        async with self.database.begin() as session:
            await fetch(session, SEED, {"chats": orjson.dumps(rows).decode()})

    async def read(self) -> None:
        """What sweeps do, until nothing is left that a search would read for itself."""
        behind = True
        while behind:
            async with self.database.begin() as session:
                await words.read(session)
                [row] = await fetch(session, BEHIND)
            behind = row["behind"]

    async def rows(self, q: str, limit: int = 500, offset: int = 0, after: UUID | None = None) -> list[dict[str, Any]]:
        page = pages.ChatPage(limit, offset, after)
        async with self.database.read() as session:
            return await listing.list_for(session, self.caller, page, search.parse(q))

    async def titles(self, q: str, **page: Any) -> list[str]:
        return [row["title"] for row in await self.rows(q, **page)]

    async def by(self, q: str, page: pages.ChatPage, way: listing.Way) -> dict[str, Any]:
        """What one of the two ways finds for the page."""
        asked = search.parse(q)
        params = listing.parameters(self.caller, asked, page)
        async with self.database.read() as session:
            [found] = await fetch(session, listing.ranking(asked, page, False, way), params, prepare=False)
        return found

    async def change(self, title: str, columns: str) -> UUID:
        async with self.database.begin() as session:
            [row] = await fetch(
                session,
                f"UPDATE chats SET {columns} WHERE title = %(title)s RETURNING id",
                {"title": title},
            )
        chat_id: UUID = row["id"]
        return chat_id


@pytest.fixture
async def lists(database: Database, seed: World) -> Lists:
    await born(database, seed)
    return Lists(database, seed)


async def test_a_title_outranks_words_side_by_side_and_these_outrank_many_places(lists: Lists) -> None:
    await lists.told(
        [
            Told("once, newest", ("a mutex of the dead, a lock",)),
            Told("often", ("a lock is dead",) * 8),
            Told("side by side", ("in a Dead Lock",)),
            Told("The dead lock", ("lock it, dead or alive",)),
            Told("half of it", ("dead",)),
        ]
    )
    for _ in ("as it is", "after the sweep"):
        assert await lists.titles('search:"dead  LOCK"') == ["The dead lock", "side by side", "often", "once, newest"]
        await lists.read()


async def test_of_chats_that_answer_as_well_the_first_of_the_list_comes_first(lists: Lists) -> None:
    await lists.told(
        [
            Told("newest", ("mutex one",)),
            Told("newer", ("mutex two",)),
            Told("pinned", ("mutex four",), pin=1),
            Told("pinned, in a long message", (f"mutex {LONG}",), pin=2),
        ]
    )
    for _ in ("as it is", "after the sweep"):
        assert await lists.titles("search:mutex") == ["pinned", "newest", "newer", "pinned, in a long message"]
        await lists.read()


async def test_what_is_said_more_often_and_in_shorter_messages_comes_first(lists: Lists) -> None:
    await lists.told(
        [
            Told("once at length", (f"mutex {LONG}",)),
            Told("long ago, once", ("mutex", *("else",) * 40)),
            Told("twice", ("mutex", "mutex")),
            Told("long ago, often", (*("mutex",) * 60, *("else",) * 40)),
            Told("often", ("mutex",) * 60),
            Told("never", ("else",) * 60),
        ]
    )
    expected = ["long ago, often", "often", "twice", "long ago, once", "once at length"]
    await lists.read()
    assert await lists.titles("search:mutex") == expected


async def test_pages_hold_every_chat_once_in_the_order_of_the_whole(lists: Lists) -> None:
    # The first fifty that say it are ranked by how often they do, the others are not; one in eleven is pinned.
    told = [
        Told(
            f"t{n}",
            (*("hay said again",) * (1 + n * 7 % 16), "few say so" if n % 9 == 0 else "else"),
            n * (n % 11 == 0),
        )
        for n in range(130)
    ]
    await lists.told(told)
    for limits in ((64,), (7, 50)):  # as it is, and after the sweep
        for q, count in (
            ("search:hay", 130),
            ("search:few", 15),
            ("search:so source:created_by_me,shared_with_me", 15),
        ):
            whole = await lists.titles(q)
            assert (len(whole), len(set(whole))) == (count, count)
            for limit in limits:
                followed: list[str] = []
                last = None
                while len(followed) <= count and (rows := await lists.rows(q, limit, after=last)):
                    followed += [row["title"] for row in rows]
                    last = rows[-1]["id"]
                assert followed == whole, (q, limit)
                turned = [await lists.titles(q, limit=limit, offset=at) for at in range(0, count + limit, limit)]
                assert list(chain.from_iterable(turned)) == whole, (q, limit)
        # Of the list of what says it, the first fifty, by how often they say it; then the others as they come.
        in_list = [title for title in await lists.titles("") if title != "t"]
        loud = {f"t{n}": (1 + n * 7 % 16) for n in range(130)}
        whole = await lists.titles("search:hay")
        assert set(whole[:RANKED]) == set(in_list[:RANKED])
        assert whole[RANKED:] == in_list[RANKED:]
        assert all(loud[later] <= 2 * loud[one] for one, later in pairwise(whole[:RANKED]))
        await lists.read()


async def test_a_walk_along_the_list_and_the_index_find_the_same(lists: Lists) -> None:
    await lists.told([Told(f"t{n}", ("hay",) * (1 + n % 5)) if n % 3 else Told("hay", ("hay",)) for n in range(150)])
    await lists.read()
    first = await lists.rows("search:hay", 60)
    for page in (
        pages.ChatPage(50, 0),
        pages.ChatPage(10, 45),
        pages.ChatPage(40, 100),
        pages.ChatPage(20, 0, first[20]["id"]),
        pages.ChatPage(20, 5, first[47]["id"]),
        pages.ChatPage(20, 0, first[55]["id"]),
    ):
        walked, *gathered = [await lists.by("search:hay", page, way) for way in listing.WAYS]
        assert walked["known"]
        assert len(walked["ids"]) == page.limit
        assert gathered == [walked, walked], page


async def test_what_few_say_is_not_sought_along_the_list(lists: Lists) -> None:
    await lists.told([Told(f"t{n}", ("needle" if n in (3, 99) else "hay",)) for n in range(100)])
    await lists.read()
    walked = await lists.by("search:needle", pages.ChatPage(50), "walk")
    assert not walked["known"]
    with trips(lists.database) as made:
        assert await lists.titles("search:needle") == ["t3", "t99"]
    assert made.count == 3
    with trips(lists.database) as made:
        assert len(await lists.titles("search:hay", limit=50)) == 50
    assert made.count == 2


async def test_a_page_begins_where_the_chat_before_it_would_stand_now(lists: Lists) -> None:
    await lists.told([Told(f"t{n}", ("mutex",) * 2 ** (4 - n)) for n in range(5)])
    await lists.read()
    assert await lists.titles("search:mutex", limit=2) == ["t0", "t1"]
    away = await lists.change("t1", "archived = true")
    assert await lists.titles("search:mutex", after=away) == ["t2", "t3", "t4"]
    async with lists.database.begin() as session:
        await fetch(session, "UPDATE chat_messages SET deleted = true WHERE chat_id = %(id)s", {"id": away})
    assert await lists.titles("search:mutex", after=away) == [], "what says it no longer stands behind what does"
    assert await lists.titles("search:mutex", after=UUID(int=1)) == [], "nor does anything follow what is not there"
