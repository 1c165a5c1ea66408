"""What a search finds, the best first: the chats of one page, where each says it, and whether that is known already.

The first chats of the list that say it are ranked, so that the cost of ranking is the same however many there are; the
others follow in the order of the list. Both hold for all pages: which chats are ranked depends on no page, and the
chat after which one begins is sought where it would stand.
"""

from typing import LiteralString

from models.rules.pages import ChatPage
from models.store import words
from models.store.chats import VISIBLE

RANKED = 50
"""How many chats are ranked: the first of the list that say what is sought."""

PROBED = 32
"""Chats, the first of the list, that are asked one by one whether they say what is sought, to see how common it is."""

COMMON = 6
"""Of these so many say what is common. It is sought on along the list: the index would gather all who say it."""

WALK = 400
"""Chats that are asked in all; where that was not enough, the index is."""

GATHERED = 10_000
"""Chats of the index, the first of the list, that are enough for almost every page."""

# A root is its own root, so nothing is joined to find it.
ROOT: LiteralString = "CROSS JOIN LATERAL (SELECT c.user_acl, c.group_acl) AS r"
PLACE: LiteralString = "c.pin_order > 0 AS pinned, -c.pin_order AS place, c.updated_at, c.id"
PLACED: LiteralString = "pinned DESC, place DESC, updated_at DESC, id DESC"
_PLACES: LiteralString = "pinned, place, updated_at, id"


def beyond(table: LiteralString, *, own: LiteralString = "c.pin_order > 0, -c.pin_order") -> LiteralString:
    """The condition for chats `c` that the list has after the one row of the table."""
    return f"""
        ({own}, c.updated_at, c.id)
            < ((SELECT pinned FROM {table}), (SELECT place FROM {table}),
               (SELECT updated_at FROM {table}), (SELECT id FROM {table}))
    """  # noqa: S608 - fixed text


_AFTER: LiteralString = f"""
    after AS MATERIALIZED (
        SELECT {_PLACES}, coalesce({words.SCORE}, '-infinity') AS score
        FROM (SELECT {PLACE}, c.title FROM chats c {ROOT} WHERE c.id = %(after_id)s AND {VISIBLE}) AS c
        LEFT JOIN LATERAL (SELECT says.* FROM (SELECT) AS one {words.SAYS}) AS says ON true)
"""  # noqa: S608 - fixed text
_SAYING: LiteralString = "SELECT c.*, says.match_id, says.amount"
_GATHERED: LiteralString = f"""
    saying AS NOT MATERIALIZED ({_SAYING} FROM (SELECT * FROM first ORDER BY {PLACED} OFFSET 0) AS c {words.SAYS})
"""  # noqa: S608 - fixed text
_WALKED: LiteralString = f"""
    probed AS MATERIALIZED ({_SAYING} FROM (SELECT * FROM first ORDER BY {PLACED} LIMIT {PROBED}) AS c {words.SAYS}),
    saying AS NOT MATERIALIZED (
        SELECT * FROM probed UNION ALL
        ({_SAYING} FROM (SELECT * FROM first ORDER BY {PLACED} OFFSET {PROBED}) AS c {words.SAYS}
        WHERE (SELECT count(*) FROM probed) >= {COMMON}))
"""  # noqa: S608 - fixed text
_HEAD: LiteralString = f"""
    head AS MATERIALIZED (
        SELECT found.*, {words.SCORE} AS score
        FROM (SELECT * FROM saying LIMIT {RANKED}) AS found JOIN chats c ON c.id = found.id),
    ranked AS MATERIALIZED (SELECT count(*) AS count, count(*) = {RANKED} AS more FROM head)
"""  # noqa: S608 - fixed text
# A chat behind those that are ranked is followed as the list is; any other by those that answer less well than it.
_EDGES: LiteralString = f"SELECT {_PLACES} FROM head"  # noqa: S608 - fixed text
_BEGUN: LiteralString = f"""
    begun AS MATERIALIZED (
        SELECT %(offset)s::bigint + CASE
            WHEN ranked.more AND ({_PLACES}) < (SELECT {_PLACES} FROM head ORDER BY {_PLACES} LIMIT 1) THEN ranked.count
            ELSE (SELECT count(*) FROM head h WHERE (h.score, h.pinned, h.place, h.updated_at, h.id)
                    >= (after.score, after.pinned, after.place, after.updated_at, after.id))
            END AS at
        FROM after, ranked)
"""  # noqa: S608 - fixed text
_WITHOUT: LiteralString = "begun AS MATERIALIZED (SELECT %(offset)s::bigint AS at)"
# How many are wanted of those that are not ranked, and behind which place of the list they stand.
_TAKEN: LiteralString = f"""
    taken AS MATERIALIZED (
        SELECT * FROM (
            SELECT id, match_id, row_number() OVER (ORDER BY score DESC, {PLACED}) AS n FROM head) AS head, begun
        WHERE n > begun.at AND n <= begun.at + %(limit)s),
    wanted AS MATERIALIZED (
        SELECT %(limit)s - (SELECT count(*) FROM taken) AS count FROM begun, ranked WHERE ranked.more)
"""  # noqa: S608 - fixed text
_TAIL: LiteralString = f"""
    tail AS MATERIALIZED (
        SELECT c.*, says.match_id FROM (SELECT * FROM rest ORDER BY {PLACED} OFFSET 0) AS c {words.SAYS}
        OFFSET greatest((SELECT at FROM begun) - {RANKED}, 0) LIMIT (SELECT count FROM wanted)),
    page AS MATERIALIZED (
        SELECT id, match_id, n FROM taken
        UNION ALL SELECT id, match_id, {RANKED} + row_number() OVER (ORDER BY {PLACED}) FROM tail)
"""  # noqa: S608 - fixed text
_HEAD_KNOWN: LiteralString = f"""
    ((SELECT more FROM ranked) OR (SELECT count(*) FROM first) <= {PROBED}
        OR ((SELECT count(*) FROM probed) >= {COMMON} AND (SELECT count(*) FROM first) < {WALK}))
"""  # noqa: S608 - fixed text
_TAIL_KNOWN: LiteralString = f"""
    (NOT EXISTS (SELECT FROM edge) OR (SELECT count(*) FROM tail) = (SELECT count FROM wanted)
        OR (SELECT count(*) FROM rest) < {WALK})
"""  # noqa: S608 - fixed text


_ENOUGH: LiteralString = f"(cardinality(ids) = %(limit)s OR (SELECT count(*) FROM first) < {GATHERED})"  # noqa: S608 - fixed text


def deep(page: ChatPage) -> bool:
    """May there be chats on the page that are not ranked?"""
    return page.after_id is not None or page.offset + page.limit > RANKED


def walked(first: LiteralString, rest: LiteralString, page: ChatPage) -> LiteralString:
    """What tells the `ids` of a page, where each says it (`matches`), and whether these are `known`.

    `first` are the first WALK chats of the list, `rest` the first WALK of those beyond the row of `edge`.
    """
    known: LiteralString = f"{_HEAD_KNOWN} AND {_TAIL_KNOWN}" if deep(page) else _HEAD_KNOWN
    return _statement((f"first AS MATERIALIZED ({first})", _WALKED), rest, page, known)


def gathered(hits: LiteralString, found: LiteralString, page: ChatPage, *, all_of_them: bool) -> LiteralString:
    """As `walked`; `found` are the chats that may say it, all or the first, by the common tables that end in `hits`."""
    rest: LiteralString = f"SELECT * FROM first c WHERE {beyond('edge', own='c.pinned, c.place')}"  # noqa: S608 - fixed text
    known: LiteralString = "true" if all_of_them else _ENOUGH
    return _statement((hits, f"first AS MATERIALIZED ({found})", _GATHERED), rest, page, known)


def _statement(
    sources: tuple[LiteralString, ...], rest: LiteralString, page: ChatPage, known: LiteralString
) -> LiteralString:
    after = page.after_id is not None
    edges: LiteralString = f"{_EDGES} UNION ALL SELECT {_PLACES} FROM after" if after else _EDGES  # noqa: S608 - fixed text
    beyond_head: tuple[LiteralString, ...] = (
        f"edge AS MATERIALIZED (SELECT e.* FROM ({edges}) AS e, wanted WHERE count > 0 ORDER BY {_PLACES} LIMIT 1)",  # noqa: S608 - fixed text
        f"rest AS MATERIALIZED ({rest})",
        _TAIL,
    )
    tables: tuple[LiteralString, ...] = (
        *((_AFTER, *sources, _HEAD, _BEGUN) if after else (*sources, _HEAD, _WITHOUT)),
        _TAKEN,
        *(beyond_head if deep(page) else ()),
    )
    shown: LiteralString = "page" if deep(page) else "taken"
    return f"""
        WITH {words.ASKED}, {words.FRESH}, {", ".join(tables)}
        SELECT {known} AS known, ids, matches
        FROM (SELECT ARRAY(SELECT id FROM {shown} ORDER BY n) AS ids,
            ARRAY(SELECT match_id FROM {shown} ORDER BY n) AS matches) AS p
    """  # noqa: S608 - fixed text
