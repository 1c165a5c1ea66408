"""The list of chats: which of them a filter asks for, in the order in which they are shown (wire-api.md 3.2).

Each statement walks `ix_chats_owner_list`, which is in that order, and stops when the page is full. What asks for few
chats by their number or address, or for those that others share, begins at an index of its own.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, LiteralString, get_args

import orjson

from models.parts import to_rest
from models.principal import Principal
from models.rules import pages
from models.rules.pages import ChatPage
from models.rules.search import MINE, SHARED, Filter
from models.store import chats, diffs, ranks, words
from models.store.chats import SHOWN, UNREAD, VISIBLE
from models.store.database import Row, fetch, fetch_together
from models.store.ranks import PLACE, PLACED, ROOT, WALK
from models.store.session import Session

_ORDER: LiteralString = "c.pin_order > 0 DESC, -c.pin_order DESC, c.updated_at DESC, c.id DESC"

_OWN: LiteralString = "c.owner_id = %(caller)s"
_OTHERS: LiteralString = """
    c.owner_id <> %(caller)s AND (
        (c.user_acl <> '{}' AND c.user_acl ? %(caller_key)s)
        OR (c.group_acl <> '{}' AND c.group_acl ?| %(groups)s::text[]))
"""
_AFTER: LiteralString = f"""
    after AS MATERIALIZED (SELECT {PLACE} FROM chats c {ROOT} WHERE c.id = %(after_id)s AND {VISIBLE})
"""  # noqa: S608 - fixed text
_LABELLED: LiteralString = "c.labels <> '{}' AND c.labels @> %(labels)s::jsonb"
_PR_STATUS: LiteralString = """
    CASE WHEN d.pull_request_state = 'open' AND d.pull_request_draft THEN 'draft'
         ELSE coalesce(d.pull_request_state, 'none') END = ANY(%(pr_statuses)s::text[])
"""
# Where "none" is not asked for, chats that nothing is known of need not be looked at.
_PR_STATE: LiteralString = "d.pull_request_state = ANY(%(pr_states)s::text[])"
_DIFF_URL: LiteralString = """
    c.id IN (SELECT coalesce(k.root_chat_id, k.parent_chat_id, k.id)
             FROM chat_diff_statuses s JOIN chats k ON k.id = s.chat_id
             WHERE s.url IS NOT NULL AND lower(s.url) = lower(%(diff_url)s))
"""
_PR: LiteralString = "c.id IN (SELECT s.chat_id FROM chat_diff_statuses s WHERE s.pr_number = %(pr)s)"
_REPO: LiteralString = "(d.git_remote_origin ILIKE %(repo)s ESCAPE '' OR d.url ILIKE %(repo)s ESCAPE '')"

_HAS_CHILDREN: LiteralString = """
    EXISTS (SELECT FROM chats k WHERE k.parent_chat_id = c.id
                AND (%(archived)s::boolean IS NULL OR k.archived = %(archived)s) OFFSET 0) AS has_children
"""
_NAMED: LiteralString = "u.username AS owner_username, u.name AS owner_name, c.user_acl, c.group_acl"
Way = Literal["walk", "first", "all"]
WAYS: tuple[Way, ...] = get_args(Way)
"""How chats that say something are found: along the list, by the index, or by it without end, for the oddest lists."""

# To plan the list takes as long as to read it, and one plan would do; but it would sort all chats of an owner, who on
# average has few. Told not to sort, it walks the index. Until the end of the transaction, here the round trip.
_USUAL: LiteralString = f"LIMIT {pages.DEFAULT_LIMIT}"
_WALK: LiteralString = f"LIMIT {WALK}"
_IN_ORDER: LiteralString = """
    SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_sort', 'off', true)
"""

# A few chats are looked up; among many, the list is walked until the page is full.
_HITS: tuple[LiteralString, ...] = (
    "(SELECT count(*) FROM hits) <= 1000 AND c.id IN (SELECT chat_id FROM hits)",
    "(SELECT count(*) FROM hits) > 1000 AND (c.id IN (SELECT chat_id FROM hits)) IS TRUE",
)
# One by one: these are few, and to join them would read all there is, as long as that is not much.
_SHOWN: LiteralString = """
    CROSS JOIN LATERAL (SELECT * FROM chats WHERE chats.id = p.id OFFSET 0) AS c JOIN users u ON u.id = c.owner_id
    LEFT JOIN LATERAL (SELECT * FROM chat_diff_statuses s WHERE s.chat_id = c.id OFFSET 0) AS d ON true
"""
_FOUND: LiteralString = f"""
    WITH {words.ASKED}
    SELECT {SHOWN}, {_NAMED}, {UNREAD}, {diffs.COLUMN}, {words.SNIPPET}
    FROM unnest(%(ids)s::uuid[], %(matches)s::bigint[]) WITH ORDINALITY AS p(id, match_id, place)
    {_SHOWN} {words.MATCH}
    ORDER BY p.place
"""  # noqa: S608 - fixed text


async def list_for(
    session: Session,
    caller: Principal,
    page: ChatPage,
    asked: Filter,
    *,
    labels: Sequence[Mapping[str, str]] = (),
) -> list[dict[str, Any]]:
    """The root chats that the filter asks for, as Chats with their children: pinned first, then the newest; of a search
    the best first. The rest of the caller's transaction, if there is one, is planned not to sort."""
    wanted = _together(labels)
    if wanted is None:
        return []
    params = parameters(caller, asked, page, wanted)
    if asked.search:
        return await _search(session, asked, page, bool(labels), params)
    text = statement(asked, page, bool(labels))
    if is_usual(asked, page) and not labels:
        _, rows = await fetch_together(session, [(_IN_ORDER, None), (text, params)])
    else:
        rows = await fetch(session, text, params, prepare=False)
    parents = [row["id"] for row in rows if row["has_children"]]
    families = await chats.children(session, parents, archived=asked.archived)
    return [chats.listed(row, families.get(row["id"], [])) for row in rows]


async def _search(
    session: Session, asked: Filter, page: ChatPage, labelled: bool, params: dict[str, Any]
) -> list[dict[str, Any]]:
    """The chats that say what is sought, the best first. What is said in many is found at once by a walk along the
    list; to ask the index would first gather all who say it."""
    found: Row = {"known": False}
    for way in WAYS:
        if not found["known"]:
            [found] = await fetch(session, ranking(asked, page, labelled, way), params, prepare=False)
    if not found["ids"]:
        return []
    rows, below = await fetch_together(
        session, [(_FOUND, {**params, **found}), chats.below(found["ids"], archived=asked.archived)]
    )
    families = chats.families(below)
    return [chats.listed(row, families.get(row["id"], [])) | words.shown(row) for row in rows]


def _together(labels: Sequence[Mapping[str, str]]) -> dict[str, str] | None:
    """All the labels in one; None when no chat can have them, as they contradict each other."""
    wanted: dict[str, str] = {}
    for label in labels:
        for key, value in label.items():
            if wanted.setdefault(key, value) != value:
                return None
    return wanted


def parameters(
    caller: Principal, asked: Filter, page: ChatPage, labels: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """What the list's statements are given."""
    return {
        **chats.visible(caller),
        **(words.sought(asked.search) if asked.search else {}),
        "labels": orjson.dumps(to_rest(dict(labels))).decode(),
        "after_id": page.after_id,
        "limit": page.limit,
        "offset": page.offset,
        "reach": page.offset + page.limit,
        "archived": asked.archived,
        "has_unread": asked.has_unread,
        "statuses": list(asked.statuses),
        "pr_statuses": list(asked.pr_statuses),
        "pr_states": ["open" if each == "draft" else each for each in asked.pr_statuses],
        "diff_url": to_rest(asked.diff_url),
        "pr": asked.pr,
        "title": _pattern(asked.title),
        "repo": _pattern(asked.repo),
        "pr_title": _pattern(asked.pr_title),
    }


def _pattern(text: str) -> str:
    return f"%{to_rest(text)}%"


def is_usual(asked: Filter, page: ChatPage) -> bool:
    """Is it a page of the usual size, of one's own chats, of which nothing is asked?"""
    return asked == Filter(archived=asked.archived) and (page.limit, page.offset) == (pages.DEFAULT_LIMIT, 0)


def statement(asked: Filter, page: ChatPage, labelled: bool) -> LiteralString:
    """What reads the rows of the page with `parameters`, where nothing is searched for."""
    tables: LiteralString = f"{_AFTER}, " if page.after_id is not None else ""
    cut: LiteralString = _USUAL if is_usual(asked, page) else "LIMIT %(limit)s OFFSET %(offset)s"
    reach: LiteralString = _USUAL if is_usual(asked, page) else "LIMIT %(reach)s"
    chosen = _chosen(asked, labelled, cut, reach, beyond="after" if page.after_id is not None else None)
    return f"""
        WITH {tables}page AS MATERIALIZED ({chosen})
        SELECT {SHOWN}, {_NAMED}, {UNREAD}, {_HAS_CHILDREN}, {diffs.COLUMN}
        FROM page p {_SHOWN}
        ORDER BY {_ORDER}
    """  # noqa: S608 - fixed text


def ranking(asked: Filter, page: ChatPage, labelled: bool, way: Way) -> LiteralString:
    """What tells with `parameters` which chats a search finds for the page, and whether this way is enough to know."""
    if way == "walk":
        first, rest = (_chosen(asked, labelled, _WALK, _WALK, beyond=each) for each in (None, "edge"))
        return ranks.walked(first, rest, page)
    # Where the end is near, the planner reads the list in its order, and no further than the page needs.
    cut: LiteralString = f"LIMIT {ranks.GATHERED}" if way == "first" else ""
    branches = [each for hit in _HITS for each in _branches(asked, (hit, *_conditions(asked, labelled)))]
    together: LiteralString = f" {cut}) UNION ALL (".join(branches)
    found: LiteralString = f"SELECT * FROM (({together} {cut})) AS c ORDER BY {PLACED} {cut}"  # noqa: S608 - fixed text
    return ranks.gathered(words.hits(everybody=SHARED in asked.sources), found, page, all_of_them=way == "all")


def _chosen(
    asked: Filter, labelled: bool, cut: LiteralString, reach: LiteralString, *, beyond: LiteralString | None
) -> LiteralString:
    """The places of the chats that are asked for, in order: `cut` says how many, `reach` of how many these are a part.

    One branch for each stretch of an index that is in order: archived or not, one's own or others'.
    """
    branches = _branches(asked, ((ranks.beyond(beyond),) if beyond else ()) + _conditions(asked, labelled))
    if len(branches) == 1:
        return f"{branches[0]} {cut}"
    together: LiteralString = f" {reach}) UNION ALL (".join(branches)
    return f"SELECT * FROM (({together} {reach})) AS c ORDER BY {PLACED} {cut}"  # noqa: S608 - fixed text


def _branches(asked: Filter, conditions: tuple[LiteralString, ...]) -> list[LiteralString]:
    states: tuple[LiteralString, ...] = (
        ("c.archived", "NOT c.archived") if asked.archived is None
        else ("c.archived",) if asked.archived else ("NOT c.archived",)
    )  # fmt: skip
    branches: list[LiteralString] = []
    if MINE in asked.sources:
        branches += [_branch((_OWN, state, *conditions)) for state in states]
    if SHARED in asked.sources:
        # These are few: their states are told apart when they have been found.
        branches.append(_branch((_OTHERS, *(states if len(states) == 1 else ()), *conditions)))
    return branches


def _branch(conditions: Sequence[LiteralString]) -> LiteralString:
    return f"""
        SELECT {PLACE} FROM chats c {ROOT} {diffs.BESIDE}
        WHERE c.parent_chat_id IS NULL AND {VISIBLE} AND {" AND ".join(conditions)}
        ORDER BY {_ORDER}"""  # noqa: S608 - fixed text


def _conditions(asked: Filter, labelled: bool) -> tuple[LiteralString, ...]:
    """What the filter asks, a condition for each key that it has."""
    asks: tuple[tuple[object, LiteralString], ...] = (
        (labelled, _LABELLED),
        (asked.title, "c.title ILIKE %(title)s ESCAPE ''"),
        (asked.statuses, "c.status = ANY(%(statuses)s::text[])"),
        (asked.pr_statuses, _PR_STATUS),
        (asked.pr_statuses and "none" not in asked.pr_statuses, _PR_STATE),
        (asked.diff_url, _DIFF_URL),
        (asked.pr, _PR),
        (asked.repo, _REPO),
        (asked.pr_title, "d.pull_request_title ILIKE %(pr_title)s ESCAPE ''"),
        (asked.has_unread is not None, f"({_is_unread()}) = %(has_unread)s"),
    )
    return tuple(condition for given, condition in asks if given)


def _is_unread() -> LiteralString:
    return UNREAD.replace("AS has_unread", "")
