"""What chats cost, as their owners and the deployment's owner are told."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said

TOTALS = (
    "total_input_tokens",
    "total_output_tokens",
    "total_cache_read_tokens",
    "total_cache_creation_tokens",
    "total_runtime_ms",
)


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


def used(fresh: int = 0, output: int = 0, read: int = 0, written: int = 0) -> dict[str, int]:
    return {
        "input_tokens": fresh,
        "output_tokens": output,
        "cache_read_tokens": read,
        "cache_creation_tokens": written,
    }


async def adopt(api: Api, root: UUID, child: UUID) -> None:
    """Make a chat a sub-agent's chat of another."""
    async with api.resources.database.begin() as session:
        await fetch(
            session,
            "UPDATE chats SET parent_chat_id = %(root)s, root_chat_id = %(root)s WHERE id = %(child)s",
            {"root": root, "child": child},
        )


async def cost(talk: Talk, chat: UUID) -> dict[str, Any]:
    response = await talk.client.get(f"{CHATS}/{chat}/cost")
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


async def summary(person: Person, whom: str = "me", **query: str) -> dict[str, Any]:
    response = await person.client.get(f"{CHATS}/cost/{whom}/summary", params=query)
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


async def test_a_chat_costs_what_its_answers_cost(talk: Talk) -> None:
    chat = await talk.start()
    free = {"root_chat_id": str(chat), "total_cost_micros": 0, "priced_message_count": 0, "unpriced_message_count": 0}
    assert await cost(talk, chat) == free
    await talk.answer(chat, usage=used(10, 20), total_cost_micros=330)
    await talk.say(chat, "and for free?")
    await talk.answer(chat, usage=used(10, 20), total_cost_micros=0)
    await talk.say(chat, "and by an unpriced model?")
    await talk.answer(chat, usage=used(10, 20))
    await talk.say(chat, "and by one that tells nothing?")
    await talk.answer(chat)
    shown = await cost(talk, chat)
    assert shown == free | {"total_cost_micros": 330, "priced_message_count": 2, "unpriced_message_count": 1}


async def test_what_was_edited_away_was_paid_for(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat, usage=used(10, 20), total_cost_micros=330)
    question = (await talk.history(chat))["messages"][-1]["id"]
    edited = await talk.client.patch(f"{CHATS}/{chat}/messages/{question}", json={"content": said("rather this")})
    assert edited.status_code == 200
    await talk.answer(chat, usage=used(1), total_cost_micros=3)
    assert (await cost(talk, chat))["total_cost_micros"] == 333
    told = await summary(talk.person)
    assert (told["total_cost_micros"], told["priced_message_count"], told["total_input_tokens"]) == (333, 2, 11)


async def test_a_family_has_one_cost_whichever_of_it_is_asked(talk: Talk) -> None:
    root, child = await talk.start("root"), await talk.start("child")
    for chat, micros in ((root, 5), (child, 7)):
        await talk.answer(chat, usage=used(1), total_cost_micros=micros)
    await adopt(talk.api, root, child)
    shown = await cost(talk, root)
    assert (shown["root_chat_id"], shown["total_cost_micros"]) == (str(root), 12)
    assert await cost(talk, child) == shown
    [family] = (await summary(talk.person))["by_chat"]
    assert (family["root_chat_id"], family["chat_title"], family["total_cost_micros"]) == (str(root), "root", 12)


async def test_the_cost_of_anothers_chat_is_for_those_who_may_read_it(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    other = await talk.api.person("other", org_roles=("agents-access",))
    for somebody, expected in ((owner, 200), (other, 404)):
        assert (await somebody.client.get(f"{CHATS}/{chat}/cost")).status_code == expected


async def test_a_summary_tells_the_totals_by_model_and_by_root_chat(talk: Talk) -> None:
    [model] = (await talk.client.get(f"{CHATS}/model-configs")).json()
    mine: dict[str, Any] = {"model_config_id": UUID(model["id"])}
    cheap, dear = await talk.start("cheap"), await talk.start("dear")
    await talk.answer(cheap, usage=used(1, 2, 3, 4), total_cost_micros=10, runtime_ms=100, **mine)
    await talk.answer(dear, usage=used(10, 20, 30, 40), total_cost_micros=2000, runtime_ms=1000, **mine)
    await talk.say(dear, "once more")
    await talk.answer(dear, usage=used(100), runtime_ms=1, **mine)
    told = await summary(talk.person)
    assert (told["total_cost_micros"], told["priced_message_count"], told["unpriced_message_count"]) == (2010, 2, 1)
    assert [told[key] for key in TOTALS] == [111, 22, 33, 44, 1101]
    [by_model] = told["by_model"]
    assert by_model == {
        "model_config_id": model["id"],
        "display_name": "Demo",
        "provider": "demo",
        "model": "demo",
        "message_count": 3,
        "total_cost_micros": 2010,
        **{key: told[key] for key in TOTALS},
    }
    assert [(each["chat_title"], each["message_count"], each["total_cost_micros"]) for each in told["by_chat"]] == [
        ("dear", 2, 2000),
        ("cheap", 1, 10),
    ]
    assert [told["by_chat"][1][key] for key in TOTALS] == [1, 2, 3, 4, 100]
    assert "usage_limit" not in told


async def test_a_person_without_usage_has_a_summary_of_zeros(member: Person) -> None:
    told = await summary(member)
    assert (told["by_model"], told["by_chat"], told["total_cost_micros"]) == ([], [], 0)
    start, end = (datetime.fromisoformat(told[key]) for key in ("start_date", "end_date"))
    assert end - start == timedelta(days=30)


async def test_the_window_includes_its_start_and_not_its_end(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat, usage=used(1), total_cost_micros=5)
    async with talk.api.resources.database.begin() as session:
        statement = "UPDATE chat_messages SET created_at = '2026-05-01T10:00:00Z'"
        await fetch(session, statement)
    for start, end, expected in (
        ("2026-05-01T10:00:00Z", "2026-05-01T10:00:01Z", 5),
        ("2026-05-01T00:00:00Z", "2026-05-01T10:00:00Z", 0),
        ("2026-05-01T11:59:59.5+02:00", "2026-05-01T12:00:00.5+02:00", 5),
        ("2026-05-01T10:00:00.000001Z", "2026-06-01T00:00:00Z", 0),
        ("2026-06-01T00:00:00Z", "2026-05-01T00:00:00Z", 0),
    ):
        assert (await summary(talk.person, start_date=start, end_date=end))["total_cost_micros"] == expected
    assert (await summary(talk.person, start_date="2026-05-01T12:00:00+02:00", end_date="2027-01-01T00:00:00Z"))[
        "start_date"
    ] == "2026-05-01T10:00:00Z"


async def test_a_deleted_model_keeps_its_line(talk: Talk, owner: Person) -> None:
    provider = (await owner.client.get("/api/v2/ai/providers")).json()[0]["id"]
    asked = {"ai_provider_id": provider, "model": "passing", "context_limit": 1000}
    made = (await owner.client.post(f"{CHATS}/model-configs", json=asked)).json()
    chat = await talk.start()
    await talk.answer(chat, usage=used(1), total_cost_micros=5, model_config_id=UUID(made["id"]))
    assert (await owner.client.delete(f"{CHATS}/model-configs/{made['id']}")).status_code == 204
    [line] = (await summary(talk.person))["by_model"]
    assert (line["model"], line["display_name"], line["total_cost_micros"]) == ("passing", "passing", 5)


async def test_a_summary_is_for_oneself_and_for_owners_of_the_deployment(
    api: Api, owner: Person, member: Person
) -> None:
    boss = await api.person("boss", org_roles=("organization-admin",))
    scoped = await api.sign_in(member.id, "member", ("chat:create",))
    path = f"{CHATS}/cost/member/summary"
    for somebody, expected in ((owner, 200), (member, 200), (boss, 403), (scoped, 403)):
        assert (await somebody.client.get(path)).status_code == expected, somebody
    assert (await member.client.get(f"{CHATS}/cost/{member.id}/summary")).status_code == 200
    assert (await member.client.get(f"{CHATS}/cost/boss/summary")).status_code == 404
    assert (await owner.client.get(f"{CHATS}/cost/nobody/summary")).status_code == 404


async def test_everybodys_usage_is_listed_dearest_first_and_counted_on_every_page(
    talk: Talk, owner: Person, member: Person
) -> None:
    spenders = [talk, *[Talk(talk.api, await talk.api.person(f"p{n}", org_roles=("agents-access",))) for n in (1, 2)]]
    for each, micros in zip(spenders, (5, 50, 5), strict=True):
        chat = await each.start()
        await each.answer(chat, usage=used(1), total_cost_micros=micros, runtime_ms=2)

    async def page(**query: str) -> tuple[int, list[str]]:
        told = (await owner.client.get(f"{CHATS}/cost/users", params=query)).json()
        return told["count"], [each["username"] for each in told["users"]]

    assert await page() == (3, ["p1", "member", "p2"])
    assert await page(limit="1", offset="1") == (3, ["member"])
    assert await page(offset="50") == (3, [])
    assert await page(limit="0") == await page(limit="-1") == await page()
    assert await page(username="P") == (2, ["p1", "p2"])
    assert await page(username="%") == (0, [])
    assert await page(end_date="2020-01-01T00:00:00Z") == (0, [])
    told = (await owner.client.get(f"{CHATS}/cost/users", params={"username": "p1"})).json()["users"][0]
    assert told == {
        "user_id": str(spenders[1].person.id),
        "username": "p1",
        "name": "",
        "avatar_url": "",
        "message_count": 1,
        "chat_count": 1,
        "total_cost_micros": 50,
        **dict(zip(TOTALS, (1, 0, 0, 0, 2), strict=True)),
    }
    assert (await member.client.get(f"{CHATS}/cost/users")).status_code == 403


@pytest.mark.parametrize(
    ("query", "field", "detail"),
    [
        ({"start": "2026-05-01T00:00:00Z"}, "start", '"start" is not a valid query param'),
        ({"start_date": "yesterday"}, "start_date", "must be a valid date format (RFC 3339)"),
        ({"end_date": "2026-05-01"}, "end_date", "must be a valid date format (RFC 3339)"),
        ({"end_date": "2026-05-01T00:00:00"}, "end_date", "must be a valid date format (RFC 3339)"),
        ({"end_date": "9999-12-31T23:59:59-10:00"}, "end_date", "must be a valid date format (RFC 3339)"),
        ({"limit": "ten"}, "limit", "must be a valid integer"),
        ({"limit": "2147483648"}, "limit", "Must be less than or equal to 2147483647."),
        ({"offset": "-1"}, "offset", "Must be greater than or equal to 0."),
        ({"offset": "9" * 5000}, "offset", "must be a valid integer"),
    ],
)
async def test_reports_are_asked_for_in_known_words(
    owner: Person, query: dict[str, str], field: str, detail: str
) -> None:
    response = await owner.client.get(f"{CHATS}/cost/users", params=query)
    assert (response.status_code, response.json()["message"]) == (400, "Invalid query parameters.")
    [wrong] = response.json()["validations"]
    assert wrong["field"] == field
    assert detail in wrong["detail"]


async def test_pages_are_for_the_report_of_everybody_only(member: Person) -> None:
    response = await member.client.get(f"{CHATS}/cost/me/summary", params={"limit": "5"})
    assert response.json()["validations"] == [{"field": "limit", "detail": '"limit" is not a valid query param'}]
    with_token = {"coder_session_token": member.token, "end_date": datetime.now(UTC).isoformat()}
    assert (await member.client.get(f"{CHATS}/cost/me/summary", params=with_token)).status_code == 200
