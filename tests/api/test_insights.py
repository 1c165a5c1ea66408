"""What the deployment's owner is told about the pull requests that came out of chats."""

from typing import Any
from uuid import UUID

import pytest

from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk
from tests.api.test_chats import child_of, set_columns
from tests.api.test_cost import used

EMPTY = {
    "total_prs_created": 0,
    "total_prs_merged": 0,
    "merge_rate": 0,
    "total_additions": 0,
    "total_deletions": 0,
    "total_cost_micros": 0,
    "cost_per_merged_pr_micros": 0,
    "approval_rate": 0,
    "prev_total_prs_created": 0,
    "prev_total_prs_merged": 0,
    "prev_merge_rate": 0,
    "prev_cost_per_merged_pr_micros": 0,
}
MAY = {"start_date": "2026-05-01T00:00:00Z", "end_date": "2026-05-31T00:00:00Z"}
ADDRESS = "https://github.com/acme/site/pull/"


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def told(owner: Person, **query: str) -> dict[str, Any]:
    response = await owner.client.get(f"{CHATS}/insights/pull-requests", params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def made(talk: Talk, day: str, cost: int = 0, **fields: Any) -> UUID:
    """A chat of that day that cost so much, with this pull request, if any."""
    chat = await talk.start()
    if cost:
        await talk.answer(chat, usage=used(1), total_cost_micros=cost)
    await set_columns(talk.api, chat, f"created_at = '{day}'")
    await report(talk, chat, **fields)
    return chat


async def report(talk: Talk, chat: UUID, **fields: Any) -> None:
    if fields:
        response = await talk.client.put(f"{CHATS}/{chat}/diff-status", json=fields)
        assert response.status_code == 200, response.text


async def test_without_pull_requests_everything_is_nought(talk: Talk, owner: Person) -> None:
    await talk.start()
    assert await told(owner) == {"summary": EMPTY, "time_series": [], "by_model": [], "recent_prs": []}


async def test_pull_requests_are_counted_once_with_what_their_chats_cost(talk: Talk, owner: Person) -> None:
    first = {"url": f"{ADDRESS}1", "pull_request_state": "open", "additions": 1}
    again = {**first, "pull_request_state": "merged", "pull_request_title": "One", "additions": 10, "deletions": 2}
    await made(talk, "2026-05-02T10:00:00Z", 100, **first)
    newest = await made(talk, "2026-05-03T23:59:59Z", 20, **again, pr_number=1, base_branch="main")
    child = await talk.start()
    own = await talk.start()
    for below, cost in ((child, 3), (own, 1000)):
        await talk.answer(below, usage=used(1), total_cost_micros=cost)
        await set_columns(talk.api, below, f"parent_chat_id = '{newest}', root_chat_id = '{newest}'")
    await report(talk, own, pull_request_state="closed")
    await set_columns(talk.api, own, "created_at = '2026-05-03T10:00:00Z'")
    await made(talk, "2026-05-04T00:00:00Z", 7, url=f"{ADDRESS}2")  # no state: a branch
    await made(talk, "2026-05-04T00:00:00Z", 7)
    answer = await told(owner, **MAY)
    assert answer["summary"] == {
        **EMPTY,
        "total_prs_created": 2,
        "total_prs_merged": 1,
        "merge_rate": 0.5,
        "total_additions": 10,
        "total_deletions": 2,
        "total_cost_micros": 1123,
        "cost_per_merged_pr_micros": 123,
    }
    assert answer["time_series"] == [{"date": "2026-05-03", "prs_created": 2, "prs_merged": 1, "prs_closed": 1}]
    one, other = answer["recent_prs"]
    model = (await talk.get(newest))["last_model_config_id"]
    assert one == {
        "chat_id": str(newest),
        "pr_title": "One",
        "pr_url": f"{ADDRESS}1",
        "pr_number": 1,
        "state": "merged",
        "draft": False,
        "additions": 10,
        "deletions": 2,
        "changed_files": 0,
        "changes_requested": False,
        "base_branch": "main",
        "model_display_name": "Demo",
        "cost_micros": 123,
        "created_at": "2026-05-03T23:59:59Z",
    }
    assert (other["chat_id"], other["state"], other["cost_micros"]) == (str(own), "closed", 1000)
    assert "pr_url" not in other
    [by_model] = answer["by_model"]
    assert by_model == {
        "model_config_id": model,
        "display_name": "Demo",
        "provider": "demo",
        "total_prs": 2,
        "merged_prs": 1,
        "merge_rate": 0.5,
        "total_additions": 10,
        "total_deletions": 2,
        "total_cost_micros": 1123,
        "cost_per_merged_pr_micros": 123,
    }


async def test_the_window_before_is_as_long_and_ends_where_this_one_begins(talk: Talk, owner: Person) -> None:
    merged = {"pull_request_state": "merged"}
    await made(talk, "2026-05-01T00:00:00Z", 1, **merged)
    await made(talk, "2026-05-31T00:00:00Z", 1, **merged)
    await made(talk, "2026-04-01T00:00:00Z", 10, **merged)
    await made(talk, "2026-04-30T23:59:59Z", 20, **merged)
    await made(talk, "2026-03-31T23:59:59Z", 1, **merged)
    summary = (await told(owner, **MAY))["summary"]
    assert (summary["total_prs_created"], summary["cost_per_merged_pr_micros"]) == (1, 1)
    assert (summary["prev_total_prs_created"], summary["prev_total_prs_merged"]) == (2, 2)
    assert (summary["prev_merge_rate"], summary["prev_cost_per_merged_pr_micros"]) == (1, 15)
    ages = {"start_date": "0001-01-01T00:00:00Z", "end_date": "9999-12-31T00:00:00Z"}
    assert (await told(owner, **ages))["summary"]["total_prs_created"] == 5
    backwards = {"start_date": MAY["end_date"], "end_date": MAY["start_date"]}
    assert (await told(owner, **backwards))["summary"] == EMPTY


async def test_a_child_with_a_pull_request_of_its_own_is_one_of_many_recent_ones(talk: Talk, owner: Person) -> None:
    root = await talk.start()
    for number in range(21):
        child = await child_of(talk.api, root)
        await report(talk, child, pull_request_state="open", pr_number=number + 1)
        await set_columns(talk.api, child, f"created_at = '2026-05-{number + 1:02}T00:00:00Z'")
    answer = await told(owner, **MAY)
    assert answer["summary"]["total_prs_created"] == 21
    assert [each["pr_number"] for each in answer["recent_prs"]] == list(range(21, 1, -1))


async def test_it_is_for_those_who_may_read_the_deployment(talk: Talk, api: Api) -> None:
    path = f"{CHATS}/insights/pull-requests"
    auditor = await api.person("auditor", site_roles=("auditor",))
    assert (await talk.client.get(path, params={"nonsense": "1"})).status_code == 403
    assert (await auditor.client.get(path)).status_code == 200
    refused = await auditor.client.get(path, params={"start_date": "yesterday", "limit": "1"})
    assert (refused.status_code, refused.json()["message"]) == (400, "Invalid query parameters.")
    assert [each["field"] for each in refused.json()["validations"]] == ["limit", "start_date"]
