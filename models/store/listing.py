"""The list of chats: which of them a filter asks for, in the order in which they are shown (wire-api.md 3.2).

Each statement walks `ix_chats_owner_list`, which is in that order, and stops when the page is full. What asks for few
chats by their number or address, or for those that others share, begins at an index of its own.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, LiteralString
from uuid import UUID

import orjson

from models.parts import to_rest
from models.principal import Principal
from models.rules.pages import ChatPage
from models.rules.search import MINE, SHARED, Filter
from models.store import chats, diffs, words
from models.store.chats import SHOWN, UNREAD, VISIBLE
from models.store.database import Row, fetch
from models.store.session import Session

WALK = 100
"""Chats, the first of the list, that are asked one by one whether they say what is sought: often that fills a page."""

# A root is its own root, so nothing is joined to find it.
_ROOT: LiteralString = "CROSS JOIN LATERAL (SELECT c.user_acl, c.group_acl) AS r"
_PLACE: LiteralString = "c.pin_order > 0 AS pinned, -c.pin_order AS place, c.updated_at, c.id"
_ORDER: LiteralString = "c.pin_order > 0 DESC, -c.pin_order DESC, c.updated_at DESC, c.id DESC"
_PLACED: LiteralString = "pinned DESC, place DESC, updated_at DESC, id DESC"

_OWN: LiteralString = "c.owner_id = %(caller)s"
_OTHERS: LiteralString = """
    c.owner_id <> %(caller)s AND (
        (c.user_acl <> '{}' AND c.user_acl ? %(caller_key)s)
        OR (c.group_acl <> '{}' AND c.group_acl ?| %(groups)s::text[]))
"""
_AFTER: LiteralString = f"""
    after AS MATERIALIZED (SELECT {_PLACE} FROM chats c {_ROOT} WHERE c.id = %(after_id)s AND {VISIBLE})
"""  # noqa: S608 - fixed text
_BEYOND: LiteralString = """
    (c.pin_order > 0, -c.pin_order, c.updated_at, c.id)
        < ((SELECT pinned FROM after), (SELECT place FROM after),
           (SELECT updated_at FROM after), (SELECT id FROM after))
"""
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
                AND (%(archived)s::boolean IS NULL OR k.archived = %(archived)s)) AS has_children
"""
_NAMED: LiteralString = "u.username AS owner_username, u.name AS owner_name, c.user_acl, c.group_acl"


async def list_for(
    session: Session,
    caller: Principal,
    page: ChatPage,
    asked: Filter,
    *,
    labels: Sequence[Mapping[str, str]] = (),
) -> list[dict[str, Any]]:
    """The root chats that the filter asks for, pinned first, then the newest; each as a Chat with its children."""
    wanted = _together(labels)
    if wanted is None:
        return []
    params = parameters(caller, asked, page, wanted)
    found: list[UUID] | None = None
    if asked.search:
        found = await _walk(session, asked, page, bool(labels), params)
        params["found"] = found
    # A plan for any parameters would sort all chats of the owner; to make one anew takes a tenth of that.
    rows = await fetch(session, statement(asked, page, bool(labels), found), params, prepare=False)
    parents = [row["id"] for row in rows if row["has_children"]]
    families = await chats.children(session, parents, archived=asked.archived)
    return [_view(asked, row, families.get(row["id"], [])) for row in rows]


def _view(asked: Filter, row: Row, family: list[dict[str, Any]]) -> dict[str, Any]:
    chat = chats.listed(row, family)
    return chat | words.shown(row) if asked.search else chat


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


def statement(asked: Filter, page: ChatPage, labelled: bool, found: list[UUID] | None = None) -> LiteralString:
    """What reads the rows of the page with `parameters`; `found` are its chats, if they are known by now."""
    tables: list[LiteralString] = [_AFTER] if page.after_id is not None else []
    if asked.search:
        tables += [words.ASKED, words.FRESH]
    if found is not None:
        tables.append(f"page AS MATERIALIZED (SELECT {_PLACE} FROM chats c WHERE c.id = ANY(%(found)s::uuid[]))")  # noqa: S608 - fixed text
    else:
        if asked.search:
            tables.append(words.hits(everybody=SHARED in asked.sources))
        tables.append(f"page AS MATERIALIZED ({_page(asked, page, labelled)})")
    return f"""
        WITH {", ".join(tables)}
        SELECT {SHOWN}, {_NAMED}, {UNREAD}, {_HAS_CHILDREN}, {diffs.COLUMN}
            {f", {words.SNIPPET}" if asked.search else ""}
        FROM page p JOIN chats c ON c.id = p.id JOIN users u ON u.id = c.owner_id {diffs.BESIDE}
            {words.MATCH if asked.search else ""}
        ORDER BY {_ORDER}
    """  # noqa: S608 - fixed text


async def _walk(
    session: Session, asked: Filter, page: ChatPage, labelled: bool, params: dict[str, Any]
) -> list[UUID] | None:
    """The chats of the page, if the first few of the list are enough to tell; else None.

    What is said in many chats is found at once like this, where the index would first gather all who say it.
    """
    tables = [*([_AFTER] if page.after_id is not None else []), words.ASKED, words.FRESH]
    silent = _page(asked, page, labelled, walk=True)
    statement: LiteralString = f"""
        WITH {", ".join(tables)}, first AS MATERIALIZED ({silent})
        SELECT (SELECT count(*) FROM first) AS walked, ARRAY(
            SELECT c.id FROM (SELECT id FROM first ORDER BY {_PLACED} OFFSET 0) AS c WHERE {words.HOLDS}
            LIMIT %(reach)s) AS ids
    """  # noqa: S608 - fixed text
    [row] = await fetch(session, statement, {**params, "walk": WALK}, prepare=False)
    ids: list[UUID] = row["ids"]
    known = len(ids) >= params["reach"] or row["walked"] < WALK
    return ids[page.offset : params["reach"]] if known else None


def _page(asked: Filter, page: ChatPage, labelled: bool, *, walk: bool = False) -> LiteralString:
    """The places of the chats that are asked for, in order, from the first to the last of the page.

    One branch for each stretch of an index that is in order: archived or not, one's own or others'.
    """
    states: tuple[LiteralString, ...] = (
        ("c.archived", "NOT c.archived") if asked.archived is None
        else ("c.archived",) if asked.archived else ("NOT c.archived",)
    )  # fmt: skip
    conditions = _conditions(asked, page, labelled, walk)
    branches: list[LiteralString] = []
    if MINE in asked.sources:
        branches += [_branch((_OWN, state, *conditions)) for state in states]
    if SHARED in asked.sources:
        # These are few: their states are told apart when they have been found.
        branches.append(_branch((_OTHERS, *(states if len(states) == 1 else ()), *conditions)))
    cut: LiteralString = "LIMIT %(walk)s" if walk else "LIMIT %(limit)s OFFSET %(offset)s"
    if asked.search and not walk:
        # Those who said it at some time are asked one by one, in order, whether they still do: until the page is full.
        gathered: LiteralString = ") UNION ALL (".join(branches)
        inner: LiteralString = f"SELECT * FROM (({gathered})) AS c ORDER BY {_PLACED} OFFSET 0"  # noqa: S608 - fixed text
        return f"SELECT * FROM ({inner}) AS c WHERE {words.HOLDS} {cut}"  # noqa: S608 - fixed text
    if len(branches) == 1:
        return f"{branches[0]} {cut}"
    reach: LiteralString = "LIMIT %(walk)s" if walk else "LIMIT %(reach)s"
    together: LiteralString = f" {reach}) UNION ALL (".join(branches)
    return f"SELECT * FROM (({together} {reach})) AS c ORDER BY {_PLACED} {cut}"  # noqa: S608 - fixed text


def _branch(conditions: Sequence[LiteralString]) -> LiteralString:
    return f"""
        SELECT {_PLACE} FROM chats c {_ROOT} {diffs.BESIDE}
        WHERE c.parent_chat_id IS NULL AND {VISIBLE} AND {" AND ".join(conditions)}
        ORDER BY {_ORDER}"""  # noqa: S608 - fixed text


def _conditions(asked: Filter, page: ChatPage, labelled: bool, walk: bool) -> tuple[LiteralString, ...]:
    """What the filter asks, a condition for each key that it has."""
    asks: tuple[tuple[object, LiteralString], ...] = (
        (page.after_id, _BEYOND),
        (labelled, _LABELLED),
        (asked.title, "c.title ILIKE %(title)s ESCAPE ''"),
        (asked.statuses, "c.status = ANY(%(statuses)s::text[])"),
        (asked.pr_statuses, _PR_STATUS),
        (asked.pr_statuses and "none" not in asked.pr_statuses, _PR_STATE),
        (asked.diff_url, _DIFF_URL),
        (asked.pr, _PR),
        (asked.repo, _REPO),
        (asked.pr_title, "d.pull_request_title ILIKE %(pr_title)s ESCAPE ''"),
        (asked.search and not walk, "c.id IN (SELECT chat_id FROM hits)"),
        (asked.has_unread is not None, f"({_is_unread()}) = %(has_unread)s"),
    )
    return tuple(condition for given, condition in asks if given)


def _is_unread() -> LiteralString:
    return UNREAD.replace("AS has_unread", "")
