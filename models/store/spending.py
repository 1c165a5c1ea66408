"""What an owner spends, added up: a piece of whichever statement stores something that was paid for.

A row for each owner, organization and day (UTC), so that a spend limit is looked up without a sum over messages.
"""

from typing import Any, LiteralString

from models.store.database import Row

MOST = 2**63 - 1

# A sum that the column cannot hold must not cost the answer that came with it.
SPEND: LiteralString = """spent AS (
    INSERT INTO chat_spend AS s (owner_id, day, organization_id, spent_micros)
    VALUES (%(owner)s, (now() AT TIME ZONE 'UTC')::date, %(organization)s, %(cost)s)
    ON CONFLICT (owner_id, day, organization_id) DO UPDATE SET spent_micros =
        least(s.spent_micros::numeric + excluded.spent_micros, 9223372036854775807)::bigint)"""

COUNTED_UP: LiteralString = """spent_micros = least(coalesce(spent_micros, (
    SELECT sum(m.total_cost_micros) FROM chat_messages m WHERE m.chat_id = chats.id), 0)::numeric
    + %(cost)s, 9223372036854775807)::bigint"""
"""What a chat has cost, set where the chat is updated; one of before there was such a total is added up once."""


def spent(chat: Row, micros: int) -> dict[str, Any]:
    """The parameters of SPEND for so much in a chat."""
    return {"owner": chat["owner_id"], "organization": chat["organization_id"], "cost": min(micros, MOST)}
