"""The laws of servers' tools as models see them: names and schemas that every provider takes, trust that is given."""

import ipaddress
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules import addresses, mcp
from models.rules.executions import Policy

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SLUGS = st.from_regex(r"[a-z0-9]{1,40}", fullmatch=True)


@settings(max_examples=50)
@given(SLUGS, st.lists(st.text(max_size=80), unique=True, max_size=6))
def test_each_tool_has_a_name_that_providers_take_and_no_other_has(slug: str, tools: list[str]) -> None:
    names = [mcp.exposed(slug, tool) for tool in tools]
    assert all(NAME.fullmatch(name) and name.startswith(f"{slug}__") for name in names)
    assert len(set(names)) == len(names)


def test_a_name_that_fits_is_kept_and_one_that_does_not_is_told_apart_by_its_end() -> None:
    assert mcp.exposed("tracker", "look") == "tracker__look"
    assert mcp.exposed("tracker", "look up") != mcp.exposed("tracker", "look.up")
    long = mcp.exposed("tracker", "x" * 80)
    assert len(long) == 64
    assert long != mcp.exposed("tracker", "x" * 81)


RECURSIVE = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/Node"}},
    "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
}


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        (None, {"type": "object", "properties": {}}),
        ("nonsense", {"type": "object", "properties": {}}),
        ({"type": "object", "required": []}, {"type": "object", "properties": {}}),
        (
            {"$schema": "x", "title": "T", "type": "object", "properties": {"title": {"type": "string", "title": "x"}}},
            {"type": "object", "properties": {"title": {"type": "string"}}},
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a", "gone"], "$defs": {"A": {"enum": [1]}}},
            {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"]},
        ),
        (
            {"anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]},
            {"type": "object", "properties": {"a": {}, "b": {}}},
        ),
        (
            {"type": "object", "properties": {"a": {"description": "x" * (mcp.LARGEST_SCHEMA + 1)}}},
            {"type": "object", "properties": {}},
        ),
    ],
)
def test_a_schema_is_made_into_one_that_every_provider_takes(schema: Any, made: dict[str, Any]) -> None:
    assert mcp.parameters(schema) == made


def test_a_schema_that_is_nested_too_deep_to_be_written_is_an_object_of_anything() -> None:
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    assert mcp.parameters({"properties": {"a": {"default": deep}}}) == {"type": "object", "properties": {}}


def test_a_schema_that_refers_to_itself_has_an_end() -> None:
    made = str(mcp.parameters(RECURSIVE))
    assert "$ref" not in made
    assert "tree" in made
    wide = {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "$defs": {"N": {"properties": {}}}}
    wide["$defs"]["N"]["properties"] = {str(place): {"$ref": "#/$defs/N"} for place in range(30)}  # type: ignore[index]
    assert len(str(mcp.parameters(wide))) <= mcp.LARGEST_SCHEMA


def test_what_a_server_says_of_its_tools_counts_where_it_is_trusted() -> None:
    for hint, trusted in (("readOnlyHint", Policy.PURE), ("idempotentHint", Policy.IDEMPOTENT), ("other", Policy.ONCE)):
        assert mcp.policy({hint: True}, trusted=True) is trusted
        assert mcp.policy({hint: True}, trusted=False) is Policy.ONCE
        assert mcp.policy({hint: "yes"}, trusted=True) is Policy.ONCE


@pytest.mark.parametrize(
    ("address", "allowed", "may"),
    [
        ("8.8.8.8", (), True),
        ("127.0.0.1", (), False),
        ("127.0.0.1", ("127.0.0.0/8",), True),
        ("::ffff:127.0.0.1", ("127.0.0.0/8",), True),
        ("::1", ("127.0.0.0/8",), False),
        ("10.1.2.3", ("10.2.0.0/16", "10.1.0.0/16"), True),
        ("169.254.169.254", ("10.0.0.0/8",), False),
        ("fe80::1%1", ("fe80::/10",), True),
        ("0.0.0.0", ("127.0.0.0/8",), False),
    ],
)
def test_addresses_inside_are_those_that_an_admin_allows(address: str, allowed: tuple[str, ...], may: bool) -> None:
    assert addresses.may_connect(ipaddress.ip_address(address), addresses.networks(allowed)) is may
