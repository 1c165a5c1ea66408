"""What claims make of a person, whatever they hold."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.rules import sign_in
from models.settings import Settings

WORD = re.compile(r"[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*")
SETTINGS = Settings(
    oidc_groups_claim="groups",
    oidc_roles_claim="roles",
    oidc_role_mapping={"boss": ["owner", "agents-access"]},
    oidc_organizations_claim="orgs",
    oidc_organization_mapping={"red": "red-team"},
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=80))
def test_a_username_is_always_one_that_our_rules_allow(text: str) -> None:
    made = sign_in.username_of(text)
    assert WORD.fullmatch(made)
    assert len(made) <= sign_in.LONGEST_USERNAME
    assert made.lower() not in sign_in.RESERVED


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("groups", "roles", "orgs", "name", "email_verified"), ANYTHING))
)
def test_no_claim_however_odd_grants_what_is_not_mapped_or_breaks_anything(claims: dict[str, Any]) -> None:
    found = sign_in.access(claims, SETTINGS)
    mapped = "boss" in (claims.get("roles") if isinstance(claims.get("roles"), list) else [claims.get("roles")])
    assert found.site_roles == (frozenset({"owner"}) if mapped else frozenset())
    assert (found.organizations or frozenset()) <= {"default", "red-team"}
    assert all(0 < len(name) <= sign_in.LONGEST_GROUP and "\x00" not in name for _, name in found.groups or ())
    whole = {**claims, "sub": "1", "email": "a@b.c"}
    if claims.get("email_verified") is True:
        assert sign_in.identity("https://idp", whole, SETTINGS).verified
    elif str(claims.get("email_verified")).lower() != "true":
        with pytest.raises(sign_in.Refused):
            sign_in.identity("https://idp", whole, SETTINGS)


def test_what_is_verified_is_the_claim_email_and_no_other() -> None:
    settings = Settings(oidc_email_claim="upn", oidc_require_verified_email=False)
    claims = {"sub": "1", "upn": "boss@example.com", "email": "me@example.com", "email_verified": True}
    found = sign_in.identity("https://idp", claims, settings)
    assert (found.email, found.verified) == ("boss@example.com", False)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/", "/"),
        ("/agents?x=//y#/z", "/agents?x=//y#/z"),
        ("//evil", "/"),
        ("/\\evil", "/"),
        ("\\/evil", "/"),
        ("/a\\b", "/"),
        ("/a\tb", "/"),
        ("/a\n", "/"),
        ("https:/evil", "/"),
        ("", "/"),
        ("/\u2028", "/"),
        ("/" + "a" * 3000, "/"),
    ],
)
def test_only_paths_of_this_site_are_gone_to(asked: str, given: str) -> None:
    assert sign_in.local_path(asked) == given


@pytest.mark.parametrize(
    ("issuer", "more", "word"),
    [
        ("http://idp.example.com", {"oidc_client_id": "x"}, "https"),
        ("idp.example.com", {"oidc_client_id": "x"}, "URL"),
        ("https://idp.example.com", {}, "TURNSTONE_OIDC_ISSUER"),
        ("https://idp.example.com", {"oidc_client_id": "x", "secret_keys": ""}, "SECRET_KEYS"),
        ("https://idp.example.com", {"oidc_client_id": "x", "oidc_role_mapping": '{"a": "owner"}'}, "role_mapping"),
        ("https://idp.example.com", {"oidc_client_id": "x", "oidc_group_mapping": "a=b"}, "group_mapping"),
    ],
)
def test_a_provider_that_is_set_up_by_half_stops_the_process(issuer: str, more: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Settings(**{"secret_keys": "some", "oidc_issuer": issuer, **more})
