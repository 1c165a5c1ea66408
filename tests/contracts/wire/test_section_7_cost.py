"""wire-api.md 7: cost reports and spend limits."""

from typing import Any
from uuid import UUID

import pytest

from tests.api.talk import Talk
from tests.contracts.wire.world import NOWHERE, World, forbidden, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOO_SMALL = "Spend limit must be greater than 0."
PERIODS = "Period must be one of: day, week, month."
NEVER = "0001-01-01T00:00:00Z"


async def spent(world: World, talk: Talk, micros: int | None, words: str = "hello", **tokens: int) -> UUID:
    """A chat whose answer cost so much."""
    chat = await talk.start(words)
    model = UUID(await world.model())
    usage = tokens or {"input_tokens": 10, "output_tokens": 5}
    await talk.answer(chat, usage=usage, total_cost_micros=micros, runtime_ms=20, model_config_id=model)
    return chat


async def test_7_1_a_summary_of_nothing_has_zeros_and_empty_lists(world: World) -> None:
    talk = await world.newcomer("frugal")
    shown = (await talk.client.get("/api/v2/chats/cost/me/summary")).json()
    assert (shown["by_model"], shown["by_chat"], shown["total_cost_micros"]) == ([], [], 0)
    assert "usage_limit" not in shown


async def test_7_1_a_summary_rolls_children_up_and_counts_what_was_edited_away(world: World) -> None:
    talk = await world.newcomer("summed")
    root = await spent(world, talk, 10, "root")
    child = await spent(world, talk, 5, "child")
    await world.adopt(root, child)
    dear = await spent(world, talk, 100, "dear")
    first = (await talk.history(dear))["messages"][-1]["id"]
    edited = await talk.client.patch(
        f"/api/v2/chats/{dear}/messages/{first}", json={"content": [{"type": "text", "text": "again"}]}
    )
    assert edited.status_code == 200
    await spent(world, talk, None, "unpriced")
    shown = (await talk.client.get("/api/v2/chats/cost/me/summary")).json()
    assert (shown["total_cost_micros"], shown["priced_message_count"], shown["unpriced_message_count"]) == (115, 3, 1)
    assert [(each["chat_title"], each["total_cost_micros"]) for each in shown["by_chat"]][:2] == [
        ("dear", 100),
        ("root", 15),
    ]
    [by_model] = shown["by_model"]
    assert (by_model["total_cost_micros"], by_model["message_count"], by_model["total_runtime_ms"]) == (115, 4, 80)
    for person in (str(talk.person.id), "summed"):
        again = (await talk.client.get(f"/api/v2/chats/cost/{person}/summary")).json()
        assert again["total_cost_micros"] == 115


async def test_7_1_the_window_is_from_its_start_to_before_its_end(world: World) -> None:
    talk = await world.newcomer("windowed")
    await spent(world, talk, 5)
    path = "/api/v2/chats/cost/me/summary"
    for query, total in (
        ("start_date=2020-01-01T00:00:00Z&end_date=2020-02-01T00:00:00Z", 0),
        ("start_date=2020-01-01T00:00:00Z", 5),
    ):
        assert (await talk.client.get(f"{path}?{query}")).json()["total_cost_micros"] == total


@pytest.mark.parametrize("path", ["/cost/me/summary", "/cost/users"])
@pytest.mark.parametrize(
    ("query", "field"),
    [("start_date=yesterday", "start_date"), ("end_date=2026-05-20", "end_date"), ("colour=1", "colour")],
)
async def test_7_1_reports_are_asked_for_in_known_words(world: World, path: str, query: str, field: str) -> None:
    response = await world.ask("GET", f"{path}?{query}", by=world.owner)
    refused(response, 400, "Invalid query parameters.", None, "*")
    assert [each["field"] for each in response.json()["validations"]] == [field]


async def test_7_1_somebody_elses_summary_is_for_those_who_read_all_chats(world: World) -> None:
    assert (await world.ask("GET", f"/cost/{world.other.id}/summary", by=world.owner)).status_code == 200
    forbidden(
        await world.ask(
            "GET", "/cost/me/summary?colour=1", by=await world.api.sign_in(world.member.id, "member", ("chat:create",))
        )
    )


async def test_7_2_everybodys_usage_is_sorted_paged_and_found_by_name(world: World) -> None:
    for name, micros in (("spender-a", 7_000), ("spender-b", 9_000), ("spender-c", 7_000)):
        await spent(world, await world.newcomer(name), micros)
    path = "/cost/users?username=SPENDER-"
    page = (await world.ask("GET", path, by=world.owner)).json()
    assert [each["username"] for each in page["users"]] == ["spender-b", "spender-a", "spender-c"]
    assert (page["count"], page["users"][0]["chat_count"], page["users"][0]["message_count"]) == (3, 1, 1)
    for query, names in (("&limit=1&offset=1", ["spender-a"]), ("&offset=3", []), ("&limit=0", 3), ("&limit=-1", 3)):
        page = (await world.ask("GET", path + query, by=world.owner)).json()
        assert page["count"] == 3
        found = [each["username"] for each in page["users"]]
        assert (len(found) if isinstance(names, int) else found) == names
    forbidden(await world.ask("GET", "/cost/users?colour=1"))


@pytest.mark.parametrize(
    ("query", "field", "detail"),
    [
        ("offset=-1", "offset", "Must be greater than or equal to 0."),
        ("limit=2147483648", "limit", "Must be less than or equal to 2147483647."),
        ("offset=2147483648", "offset", "Must be less than or equal to 2147483647."),
    ],
)
async def test_7_2_pages_have_bounds(world: World, query: str, field: str, detail: str) -> None:
    response = await world.ask("GET", f"/cost/users?{query}", by=world.owner)
    refused(response, 400, "Invalid query parameters.", None, [(field, detail)])


async def test_7_3_the_cost_of_a_chat_is_its_familys(world: World) -> None:
    talk = await world.newcomer("costly")
    root, child = await spent(world, talk, 3), await spent(world, talk, 4)
    await world.adopt(root, child)
    shown = [(await talk.client.get(f"/api/v2/chats/{chat}/cost")).json() for chat in (root, child)]
    assert (
        shown[0]
        == shown[1]
        == {
            "root_chat_id": str(root),
            "total_cost_micros": 7,
            "priced_message_count": 2,
            "unpriced_message_count": 0,
        }
    )
    not_found(await world.ask("GET", f"/{root}/cost"))


async def test_7_4_limits_that_were_never_set(world: World) -> None:
    shown = (await world.ask("GET", "/usage-limits", by=world.owner)).json()
    if shown["updated_at"] == NEVER:
        assert (shown["spend_limit_micros"], shown["period"]) == (None, "")
    status = {"is_limited": False, "current_spend": 0, "period_start": NEVER, "period_end": NEVER}
    assert (await world.ask("GET", "/usage-limits/status")).json() == status


@pytest.mark.parametrize(
    ("body", "message", "detail"),
    [
        ({"spend_limit_micros": 0, "period": "year"}, "Invalid chat usage limit spend limit.", TOO_SMALL),
        ({"spend_limit_micros": -1, "period": "day"}, "Invalid chat usage limit spend limit.", TOO_SMALL),
        ({"spend_limit_micros": 5, "period": "year"}, "Invalid chat usage limit period.", PERIODS),
        ({"spend_limit_micros": 5}, "Invalid chat usage limit period.", PERIODS),
    ],
)
async def test_7_4_a_default_that_makes_no_sense(world: World, body: dict[str, Any], message: str, detail: str) -> None:
    refused(await world.ask("PUT", "/usage-limits", body, by=world.owner), 400, message, detail)


async def test_7_4_a_default_is_set_felt_and_switched_off(world: World) -> None:
    talk = await world.newcomer("limited")
    await spent(world, talk, 7)
    body = {"spend_limit_micros": 100, "period": "week"}
    made = await world.ask("PUT", "/usage-limits", body, by=world.owner)
    assert (made.status_code, set(made.json())) == (200, {"spend_limit_micros", "period", "updated_at"})
    status = (await talk.client.get("/api/v2/chats/usage-limits/status")).json()
    assert (status["is_limited"], status["period"], status["spend_limit_micros"]) == (True, "week", 100)
    assert status["current_spend"] == 7
    summary = (await talk.client.get("/api/v2/chats/cost/me/summary")).json()
    assert summary["usage_limit"] == status
    off = await world.ask("PUT", "/usage-limits", {"spend_limit_micros": None}, by=world.owner)
    assert (off.json()["spend_limit_micros"], off.json()["period"]) == (None, "week")


async def test_7_4_overrides_of_people(world: World) -> None:
    path = f"/usage-limits/overrides/{world.other.id}"
    made = await world.ask("PUT", path, {"spend_limit_micros": 5}, by=world.owner)
    assert (made.status_code, made.json()["username"], made.json()["spend_limit_micros"]) == (200, "other", 5)
    assert made.json() in (await world.ask("GET", "/usage-limits", by=world.auditor)).json()["overrides"]
    for body in ({}, {"spend_limit_micros": 0}):
        wrong = await world.ask("PUT", path, body, by=world.owner)
        refused(wrong, 400, "Invalid chat usage limit override.", TOO_SMALL)
    bad = "/usage-limits/overrides/nonsense"
    for method, asked in (("PUT", {"spend_limit_micros": 0}), ("DELETE", None)):
        response = await world.ask(method, bad, asked, by=world.owner)
        refused(response, 400, "Invalid chat usage limit user ID.", "*")
    nobody = f"/usage-limits/overrides/{NOWHERE}"
    refused(await world.ask("PUT", nobody, {"spend_limit_micros": 5}, by=world.owner), 404, "User not found.")
    refused(await world.ask("DELETE", nobody, by=world.owner), 400, "User not found.")
    assert (await world.ask("DELETE", path, by=world.owner)).status_code == 204
    refused(await world.ask("DELETE", path, by=world.owner), 400, "Chat usage limit override not found.")


async def test_7_4_overrides_of_groups(world: World) -> None:
    path = f"/usage-limits/group-overrides/{world.organization}"
    made = await world.ask("PUT", path, {"spend_limit_micros": 5}, by=world.owner)
    assert (made.status_code, made.json()["group_id"]) == (200, world.organization)
    assert made.json()["member_count"] >= 5
    wrong = await world.ask("PUT", path, {"spend_limit_micros": 0}, by=world.owner)
    detail = "Spend limit (in microdollars) must be greater than 0."
    refused(wrong, 400, "Invalid chat usage limit group override.", detail)
    bad = await world.ask("PUT", "/usage-limits/group-overrides/nonsense", {"spend_limit_micros": 5}, by=world.owner)
    refused(bad, 400, "Invalid group ID.", "*")
    nobody = f"/usage-limits/group-overrides/{NOWHERE}"
    refused(await world.ask("PUT", nobody, {"spend_limit_micros": 5}, by=world.owner), 404, "Group not found.")
    refused(await world.ask("DELETE", nobody, by=world.owner), 400, "Group not found.")
    assert (await world.ask("DELETE", path, by=world.owner)).status_code == 204
    refused(await world.ask("DELETE", path, by=world.owner), 400, "Chat usage limit override not found.")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/usage-limits"),
        ("PUT", f"/usage-limits/overrides/{NOWHERE}"),
        ("DELETE", f"/usage-limits/overrides/{NOWHERE}"),
        ("PUT", f"/usage-limits/group-overrides/{NOWHERE}"),
        ("DELETE", f"/usage-limits/group-overrides/{NOWHERE}"),
    ],
)
async def test_7_4_limits_are_for_the_owner_to_set(world: World, method: str, path: str) -> None:
    body = {"spend_limit_micros": 5, "period": "day"} if method == "PUT" else None
    for person in (world.member, world.boss, world.auditor):
        forbidden(await world.ask(method, path, body, by=person))
    forbidden(await world.ask("GET", "/usage-limits"))
