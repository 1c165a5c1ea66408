"""The laws of workspaces: names, what builds make of them, how their agents are, and which one chats work with."""

import string
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import Invalid
from models.rules import templates, workspace_search, workspaces
from models.rules.agents import Ambiguous, chosen

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def agent(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": uuid4(),
        "parent_id": None,
        "name": "main",
        "display_order": 0,
        "created_at": NOW,
        "connection_timeout_seconds": 60,
        "first_connected_at": None,
        "last_seen_at": None,
        "disconnected_at": None,
    }
    return made | more


@given(st.text(), st.text(string.hexdigits.lower()[:16], min_size=4, max_size=4))
def test_any_wish_becomes_a_name_that_is_allowed(wish: str, letters: str) -> None:
    workspaces.check_name(workspaces.made_name(wish, letters))


@pytest.mark.parametrize("name", ["", "-a", "a-", "a--b", "a b", "a_b", "a" * 33, "ä"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        workspaces.check_name(name)


def test_a_workspace_is_what_its_latest_build_made_of_it() -> None:
    told = {
        (transition, status): workspaces.status(transition, status)
        for transition in ("start", "stop", "delete")
        for status in ("pending", "running", "succeeded", "failed", "canceling", "canceled")
    }
    assert told["start", "running"] == "starting"
    assert told["stop", "succeeded"] == "stopped"
    assert told["delete", "failed"] == "failed"
    assert set(told.values()) == set(workspace_search.STATUSES)
    for (transition, status), word in told.items():
        assert workspaces.builds_of(word) in ((transition, status), ("", status))


def test_chats_work_with_the_root_agent_that_is_named_for_them_else_with_the_first() -> None:
    assert chosen([]) is None
    child = agent(name="a-coderd-chat", parent_id=uuid4())
    assert chosen([child]) is None
    second, first = agent(name="a", display_order=1), agent(name="b")
    assert chosen([second, first, child]) is first
    named = agent(name="z-Coderd-Chat", display_order=9)
    assert chosen([second, first, named]) is named
    with pytest.raises(Ambiguous, match="y-coderd-chat, z-Coderd-Chat"):
        chosen([named, agent(name="y-coderd-chat")])


def test_agents_of_the_same_place_go_by_name_then_by_id() -> None:
    lower, upper = agent(name="b"), agent(name="A")
    assert chosen([lower, upper]) is upper
    one, two = agent(id=UUID(int=1)), agent(id=UUID(int=2))
    assert chosen([two, one]) is one


def test_a_search_is_read_word_by_word() -> None:
    asked = workspace_search.parse('owner:me template:"my template" status:running')
    assert (asked.owner, asked.template, asked.status) == ("me", "my template", "running")
    assert workspace_search.parse("ada/place") == workspace_search.Filter(owner="ada", name="place")
    assert workspace_search.parse("") == workspace_search.Filter()
    for wrong in ("colour:red", "status:x", "a b", "x" * 501):
        with pytest.raises(Invalid):
            workspace_search.parse(wrong)


def test_a_spec_without_agents_has_one_and_what_is_not_sound_is_named() -> None:
    [made] = templates.sound("local", {})["agents"]
    assert (made["name"], made["connection_timeout_seconds"]) == ("main", 120)
    for spec, field in (
        ({"agents": {}, "agent": 1}, "spec.agent"),
        ({"agents": [1]}, "spec.agents[0]"),
        ({"agents": [{}] * 11}, "spec.agents"),
        ({"agents": "x"}, "spec.agents"),
        ({"agents": [{"environment": {"A": 1}}]}, "spec.agents[0].environment"),
        ({"agents": [{"startup_script": "x" * 65537}]}, "spec.agents[0].startup_script"),
        ({"agents": [{"startup_timeout_seconds": 0}]}, "spec.agents[0].startup_timeout_seconds"),
        ({"local": 7}, "spec.local"),
        ({"local": {"processes": True}}, "spec.local.processes"),
        ({"local": {"colour": 1}}, "spec.local.colour"),
    ):
        with pytest.raises(Invalid) as refused:
            templates.sound("local", spec)
        assert field in [each.field for each in refused.value.validations]
    with pytest.raises(Invalid):
        templates.sound("docker", {"docker": {"image": ""}})


def test_parameters_are_filled_into_what_names_them_and_are_in_the_environment() -> None:
    assert templates.filled("python:${version} $5 ${other}", {"version": "3"}) == "python:3 $5 ${other}"
    made = templates.environment({"IMAGE": "x:${my-size}", "SIZE": "${size}"}, {"size": "2"})
    assert made == {"IMAGE": "x:${my-size}", "SIZE": "2", "PARAMETER_SIZE": "2"}
