"""The words of messages, as full text search finds them (wire-api.md 3.2): read by the sweep, after the fact.

To index a message of 2,000 characters where it is stored takes 0.4 ms, ten times what storing it takes. So messages are
stored without, and the sweep reads them in batches; a search reads for itself what the sweep has not come to yet.

The configuration is `simple`: people write in many languages, and code in none; a stemmer of the wrong one hides words.
"""

import html
from typing import Any, LiteralString

from models.parts import from_rest, to_rest
from models.store.database import Row, fetch
from models.store.session import Session

READ = 100_000  # characters of a message; a tsvector holds a megabyte
UNREAD = 5_000  # messages, of all chats, that a search reads for itself
BATCH = 1_000
PLACES = 16  # messages of a chat, its newest, that are asked one by one; as many count when chats are ranked

SAID: LiteralString = """
    (SELECT string_agg(said #>> '{}', E'\\n')
     FROM jsonb_path_query(m.content, '$[*] ? (@.type == "text").text') AS said)
"""
"""The text of a message `m`, NULL without any."""

FINDABLE: LiteralString = "m.role IN ('user', 'assistant') AND NOT m.deleted AND m.visibility <> 'model'"
"""Of a message `m`: what its readers see of it."""

# Without what begins a tag: the words of a tag are words as well.
SPOKEN: LiteralString = f"to_tsvector('simple', translate(left({SAID}, {READ}), '<', ' '))"
"""The words of a message `m`, as `asked.words` may match them."""

_GIVEN: LiteralString = "plainto_tsquery('simple', translate(%(search)s, '<', ' '))"

ASKED: LiteralString = f"""
    asked AS MATERIALIZED (SELECT CASE WHEN numnode(given) > 0 THEN given END AS words FROM {_GIVEN} AS given)
"""  # noqa: S608 - fixed text
"""Common table: what is sought; where that has no word in it, nothing is found."""

FRESH: LiteralString = f"""
    fresh AS MATERIALIZED (
        SELECT greatest((SELECT message_id FROM chat_message_words_mark),
            (SELECT max(id) FROM chat_messages) - {UNREAD}) AS after_id)
"""  # noqa: S608 - fixed text
"""Common table: the messages after this one are read by the search itself."""

# No word of a text begins with a space, so these can not be said.
CHAT_WORD: LiteralString = "quote_literal(' chat ' || c.id::text)::tsquery"
OWNER_WORD: LiteralString = "quote_literal(' owner ' || %(caller_key)s::text)::tsquery"

# A word that is said often is said in one of these; one that is not is rare in the index as well. To find a word that
# is everywhere by way of the index costs as much as there are places. What the search reads for itself is left to that.
_LATELY: LiteralString = f"""
    SELECT lately.id, length(w.words) AS size FROM (
        SELECT m.id FROM chat_messages m WHERE m.chat_id = c.id AND {FINDABLE} ORDER BY m.id DESC LIMIT {PLACES}
    ) AS lately JOIN chat_message_words w ON w.message_id = lately.id
    WHERE lately.id <= (SELECT after_id FROM fresh) AND w.words @@ (SELECT words FROM asked)
"""  # noqa: S608 - fixed text

_UNREAD: LiteralString = f"""
    SELECT m.id, length(spoken.words) AS size
    FROM chat_messages m CROSS JOIN LATERAL (SELECT {SPOKEN} AS words OFFSET 0) AS spoken
    WHERE m.chat_id = c.id AND m.id > (SELECT after_id FROM fresh) AND {FINDABLE}
        AND spoken.words @@ (SELECT words FROM asked)
"""  # noqa: S608 - fixed text

# How rare a chat's words are is not known when a search is planned. What is materialized is planned to be read to its
# end, for which the index is best; a single one would be sought row by row. Of old places, at most a hundred are
# looked at.
_EVER: LiteralString = f"""
    WITH saying AS MATERIALIZED (
        SELECT w.message_id, length(w.words) AS size FROM chat_message_words w
        WHERE w.words @@ ((SELECT words FROM asked) && {CHAT_WORD}))
    SELECT m.id, saying.size FROM saying JOIN chat_messages m ON m.id = saying.message_id WHERE {FINDABLE} LIMIT 100
"""  # noqa: S608 - fixed text

SAYS: LiteralString = f"""
    CROSS JOIN LATERAL (
        WITH late AS MATERIALIZED (({_UNREAD}) UNION ALL ({_LATELY}))
        SELECT max(said.id) AS match_id, sum(1 / greatest(ln(said.size), 1)) AS amount
        FROM (
            SELECT * FROM late UNION ALL SELECT * FROM ({_EVER}) AS ever WHERE NOT EXISTS (SELECT FROM late)
            ORDER BY id DESC LIMIT {PLACES}) AS said
        HAVING count(*) > 0
    ) AS says
"""  # noqa: S608 - fixed text
"""With ASKED and FRESH: where the chat `c`, as it is now, said last what is asked, and how much of it says so.

A short message says it more than a long one. Older messages count where no late one says it.
"""

# What stands in the title weighs more than words that stand side by side, and these more than any number of places.
# Only what is said twice as much counts as more: else nothing would be as good, and newer.
SCORE: LiteralString = f"""
    CASE WHEN to_tsvector('simple', translate(c.title, '<', ' ')) @@ (SELECT words FROM asked) THEN 200 ELSE 0 END
    + CASE WHEN %(phrase)s::text IS NOT NULL AND EXISTS (
        SELECT FROM chat_messages m
        WHERE m.id = match_id AND position(%(phrase)s IN lower(left({SAID}, {READ}))) > 0) THEN 100 ELSE 0 END
    + round(ln(amount) / ln(2.0::float8))
"""  # noqa: S608 - fixed text
"""How well the chat `c` answers, by the columns of SAYS."""

MATCH: LiteralString = f"""
    LEFT JOIN LATERAL (
        SELECT translate({SAID}, '<' || %(marks)s, %(less)s) AS text FROM chat_messages m WHERE m.id = p.match_id
    ) AS said ON true
"""  # noqa: S608 - fixed text
"""The message `p.match_id` as `said`, for SNIPPET."""

# A long message is shown around the place where the first word of the search stands.
SNIPPET: LiteralString = """
    p.match_id, ts_headline('simple',
        CASE WHEN length(said.text) <= 8000 THEN said.text
             ELSE substr(said.text, greatest(position(%(first)s IN lower(said.text)) - 1000, 1), 4000) END,
        (SELECT words FROM asked), %(headline)s) AS match_snippet
"""

# Where a snippet is marked, and what stands for `<` in it, as tags are left out of snippets: nobody's characters.
_BEGIN, _END, _LESS = "\x82", "\x83", "\x84"


def sought(search: str) -> dict[str, Any]:
    """The parameters of ASKED, SCORE and SNIPPET."""
    rested: str = to_rest(search)
    words = rested.lower().split()
    return {
        "search": rested,
        "first": (words or [""])[0],
        "phrase": " ".join(words) if len(words) > 1 else None,
        "marks": _BEGIN + _END + _LESS,
        "less": _LESS,
        "headline": f'StartSel="{_BEGIN}", StopSel="{_END}", MinWords=12, MaxWords=30',
    }


def shown(row: Row) -> dict[str, Any]:
    """`search_match` of a row with SNIPPET: HTML in which what was sought is marked, and all else escaped."""
    snippet = html.escape(from_rest(row["match_snippet"] or "").replace(_LESS, "<"))
    snippet = snippet.replace(_BEGIN, "<mark>").replace(_END, "</mark>")
    return {"search_match": {"message_id": row["match_id"], "snippet": snippet}}


def hits(everybody: bool) -> LiteralString:
    """Common tables that end in `hits`: the chats in which it was said at some time, the caller's or everybody's.

    What is sought is written out here, for the planner to know how rare it is.
    """
    return f"""
        recent AS MATERIALIZED (
            SELECT m.chat_id, m.content FROM (
                SELECT m.* FROM chat_messages m WHERE m.id > (SELECT after_id FROM fresh) AND {FINDABLE}
                ORDER BY m.id LIMIT {UNREAD}
            ) AS m JOIN chats c ON c.id = m.chat_id WHERE {_EVERYBODYS if everybody else _OWN}),
        hits AS MATERIALIZED (
            SELECT w.chat_id FROM chat_message_words w
            WHERE numnode({_GIVEN}) > 0 AND w.words @@ ({_GIVEN}{"" if everybody else f" && {OWNER_WORD}"})
            UNION SELECT m.chat_id FROM recent m WHERE {SPOKEN} @@ (SELECT words FROM asked))
    """  # noqa: S608 - fixed text


_OWN: LiteralString = "c.owner_id = %(caller)s"
_EVERYBODYS: LiteralString = "(c.owner_id = %(caller)s OR c.user_acl <> '{}' OR c.group_acl <> '{}')"

_MARK: LiteralString = "SELECT * FROM chat_message_words_mark FOR UPDATE SKIP LOCKED"
# A transaction that began later takes higher ids than any that was there then. One that has only read for so long (a
# backup) is not about to write.
_SETTLED: LiteralString = """
    SELECT coalesce(min(xact_start), clock_timestamp()) > %(candidate_at)s::timestamptz AS settled
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND (backend_xid IS NOT NULL OR xact_start > clock_timestamp() - interval '5 minutes')
"""
_READ: LiteralString = f"""
    WITH stretch AS MATERIALIZED (
        SELECT m.id FROM chat_messages m WHERE m.id > %(after_id)s ORDER BY m.id LIMIT %(limit)s),
    read AS MATERIALIZED (
        SELECT m.id, m.chat_id, {SPOKEN} AS words
        FROM stretch JOIN chat_messages m ON m.id = stretch.id
        WHERE {FINDABLE} AND NOT EXISTS (SELECT FROM chat_message_words w WHERE w.message_id = m.id)),
    added AS (
        INSERT INTO chat_message_words (message_id, chat_id, words)
        SELECT r.id, c.id,
            strip(r.words) || array_to_tsvector(ARRAY[' chat ' || c.id::text, ' owner ' || c.owner_id::text])
        FROM read r JOIN chats c ON c.id = r.chat_id WHERE r.words <> ''
        ON CONFLICT DO NOTHING RETURNING message_id)
    SELECT (SELECT count(*) FROM stretch) AS seen, (SELECT max(id) FROM stretch) AS upto,
        (SELECT count(*) FROM added) AS added
"""  # noqa: S608 - fixed text
_MOVE: LiteralString = """
    UPDATE chat_message_words_mark
    SET message_id = %(message_id)s, candidate_id = %(candidate_id)s, candidate_at = clock_timestamp()
"""


async def read(session: Session, limit: int = BATCH) -> int:
    """Read messages that nobody has read yet, oldest first; how many were looked at.

    One worker at a time. What is committed out of turn is not passed over: the mark moves past a message only when
    every transaction has ended that may have taken a lower id. Until then the messages behind it are looked at again.
    """
    held = await fetch(session, _MARK)
    if not held:
        return 0
    [mark] = held
    settled = mark["candidate_id"] == mark["message_id"]
    if not settled:
        [found] = await fetch(session, _SETTLED, {"candidate_at": mark["candidate_at"]})
        settled = found["settled"]
    # From the old mark on: between it and the new one, something may have come since it was read.
    [done] = await fetch(session, _READ, {"after_id": mark["message_id"], "limit": limit})
    if not settled or not done["seen"]:
        return 0
    await fetch(session, _MOVE, {"message_id": mark["candidate_id"], "candidate_id": done["upto"]})
    return int(done["seen"])
