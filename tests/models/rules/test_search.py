"""The grammar of `q`: what it asks for, and in which words it refuses."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.errors import Invalid
from models.rules.search import LONGEST_SEARCH, MINE, SHARED, Filter, parse

READ = [
    ("", Filter()),
    ("   ", Filter()),
    ("title:mutex", Filter(title="mutex")),
    ("TITLE:Mutex", Filter(title="Mutex")),
    ('title:"spin lock: a tale"', Filter(title="spin lock: a tale")),
    ('title:spin" "lock', Filter(title="spin lock")),
    ('title:"not closed', Filter(title="not closed")),
    ("title:100%_", Filter(title="100%_")),
    ('title:""', Filter()),
    ("archived:true", Filter(archived=True)),
    ("archived:T", Filter(archived=True)),
    ("archived:0", Filter(archived=False)),
    ("archived:Any", Filter(archived=None)),
    ("has_unread:1", Filter(has_unread=True)),
    ("has_unread:FALSE", Filter(has_unread=False)),
    ("status:running", Filter(statuses=("running",))),
    ("status:error,WAITING status:error", Filter(statuses=("error", "waiting"))),
    ("pr_status:draft", Filter(pr_statuses=("draft",))),
    ('pr_status:"open, Merged" pr_status:none', Filter(pr_statuses=("open", "merged", "none"))),
    ("source:shared_with_me", Filter(sources=(SHARED,))),
    ("source:created_by_me,shared_with_me", Filter(sources=(MINE, SHARED))),
    ("source:created_by_me source:shared_with_me", Filter(sources=(MINE, SHARED))),
    ('diff_url:"https://github.com/acme/site/pull/7"', Filter(diff_url="https://github.com/acme/site/pull/7")),
    ("pr:7", Filter(pr=7)),
    ("pr:2147483647", Filter(pr=2147483647)),
    ("repo:acme/site", Filter(repo="acme/site")),
    ('pr_title:"a lock"', Filter(pr_title="a lock")),
    ('search:"dead lock"', Filter(search="dead lock")),
    ("search:dead search:lock", Filter(search="dead lock")),
    ("title:a  archived:true   pr:1", Filter(title="a", archived=True, pr=1)),
    ("search:lock repo:site archived:any", Filter(search="lock", repo="site", archived=None)),
]

ONCE = 'Query param "title" provided more than once, found 2 times. Only provide 1 instance of this query param.'
REFUSED = [
    ("mutex", [("q", 'unsupported search term: "mutex"')]),
    ("spin title:x lock", [("q", 'unsupported search term: "spin lock"')]),
    ('"spin: lock"', [("q", 'unsupported search term: "\\"spin: lock\\""')]),
    ('""', [("q", 'unsupported search term: "\\"\\""')]),
    ("title:a:b", [("q", "Query element \"title:a:b\" can only contain 1 ':'")]),
    ("diff_url:https://x/y", [("q", "Query element \"diff_url:https://x/y\" can only contain 1 ':'")]),
    (":a", [("q", "Query element \":a\" cannot start or end with ':'")]),
    ("title:", [("q", "Query element \"title:\" cannot start or end with ':'")]),
    ("tab\there", [("q", 'unsupported search term: "tab\\there"')]),
    ("bell\x07", [("q", 'unsupported search term: "bell\\u0007"')]),
    ("owner:me", [("owner", 'Query param "owner" is not a valid query param')]),
    ("archived:maybe", [("archived", 'Query param "archived" must be a valid boolean')]),
    ("has_unread:any", [("has_unread", 'Query param "has_unread" must be a valid boolean')]),
    ("title:a title:b", [("title", ONCE)]),
    ("pr:0", [("pr", '"0" is not a valid positive integer')]),
    ("pr:-7", [("pr", '"-7" is not a valid positive integer')]),
    ("pr:2147483648", [("pr", '"2147483648" is not a valid positive integer')]),
    ("pr:٣", [("pr", '"٣" is not a valid positive integer')]),
    ("pr:1e3", [("pr", '"1e3" is not a valid positive integer')]),
    ('diff_url:"ftp://x/y"', [("diff_url", 'diff_url must use http or https scheme, got "ftp"')]),
    ("diff_url:/pull/7", [("diff_url", 'diff_url must use http or https scheme, got ""')]),
    ('diff_url:"https:///y"', [("diff_url", "diff_url must include a host")]),
    ('diff_url:"https://[::1/y"', [("diff_url", "diff_url is not a valid URL: Invalid IPv6 URL")]),
    ("pr_status:open,bad,worse", [("pr_status", 'Query param "pr_status" has invalid values: bad,worse')]),
    ("source:all", [("source", 'Query param "source" has invalid values: all')]),
    ("status:paused", [("status", 'Query param "status" has invalid values: paused')]),
    ("search:a title:b", [("search", 'Query param "search" cannot be used together with "title"')]),
    (
        "search:a pr:1 pr_title:b",
        [
            ("search", 'Query param "search" cannot be used together with "pr_title"'),
            ("search", 'Query param "search" cannot be used together with "pr"'),
        ],
    ),
    (
        f"search:{'x' * (LONGEST_SEARCH + 1)}",
        [("search", f'Query param "search" must be at most {LONGEST_SEARCH} characters')],
    ),
    (
        "pr:x owner:me archived:y",
        [
            ("pr", '"x" is not a valid positive integer'),
            ("archived", 'Query param "archived" must be a valid boolean'),
            ("owner", 'Query param "owner" is not a valid query param'),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("query", "meant"), READ)
def test_a_query_asks_for_what_it_spells_out(query: str, meant: Filter) -> None:
    assert parse(query) == meant


@pytest.mark.parametrize(("query", "validations"), REFUSED)
def test_a_wrong_query_is_refused_under_the_key_that_is_wrong(query: str, validations: list[tuple[str, str]]) -> None:
    with pytest.raises(Invalid) as refused:
        parse(query)
    assert refused.value.message == "Invalid chat search query."
    assert [(each.field, each.detail) for each in refused.value.validations] == validations


KEYS = ("title", "archived", "has_unread", "status", "pr_status", "source", "diff_url", "pr", "search", "owner")
TERMS = st.builds(lambda key, value: f"{key}:{value}", st.sampled_from(KEYS), st.text(max_size=12))


@given(st.one_of(st.text(max_size=40), st.text('a":, %\\', max_size=20), st.lists(TERMS, max_size=4).map(" ".join)))
@example('diff_url:"http://[x]/"')
@example('diff_url:"http://\ufe13/"')
@example("pr:" + "9" * 5000)
@example('"":0')
def test_any_text_is_a_filter_or_is_refused_with_reasons(query: str) -> None:
    try:
        found: Filter | Invalid = parse(query)
    except Invalid as refused:
        found = refused
    if isinstance(found, Invalid):
        assert found.validations
        assert all(each.field and each.detail for each in found.validations)
    else:
        assert found.sources


@given(st.text(st.characters(exclude_characters='"'), min_size=1, max_size=40))
def test_whatever_stands_in_quotes_is_the_value(value: str) -> None:
    assert parse(f'title:"{value}"') == Filter(title=value)
