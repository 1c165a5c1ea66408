"""The advisor's setting as it changes; and what advice cost, kept together with it: nobody pays for it again."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from models.parts import text
from models.rules import features
from models.rules.features import Advisor, Held
from models.store import ledger, preferences, titles
from models.store.database import Row, fetch
from models.store.moves import StepRow
from models.store.session import Session

OUTCOME = "outcome"
"""Under which a call remembers what it came to."""
_MARK = "advice"


async def configure(session: Session, setting: Advisor) -> None:
    """Set it for the turns that begin from now on."""
    held = features.advisor_over_time(await preferences.site(session, features.ADVISOR))
    [now] = await fetch(session, "SELECT now() AS at")
    if held[0].setting != setting:
        held = [Held(now["at"], setting), *held]
    await preferences.put_site(session, {features.ADVISOR: features.advisor_text(held)})


async def keep(
    session: Session, chat: Row, asked: tuple[int, str], outcome: Mapping[str, Any], call: StepRow, *, paid_as: UUID
) -> None:
    """Charge the chat with the model's call, once, and let the tool's call remember what it came to.

    `asked` is the message that calls the tool, and the call's id in it; `paid_as` names this payment: to keep it twice
    is to keep it once.
    """
    message_id, call_id = asked
    content = [text("advice") | {"provider_metadata": {_MARK: str(paid_as)}}]
    [locked] = await fetch(
        session,
        """
        WITH held AS MATERIALIZED (SELECT id FROM chats WHERE id = %(chat)s FOR NO KEY UPDATE)
        SELECT EXISTS (SELECT FROM chat_messages m WHERE m.chat_id = held.id
            AND m.id > %(message)s AND m.deleted AND m.content = %(content)s::jsonb) AS charged FROM held
        UNION ALL SELECT true WHERE NOT EXISTS (SELECT FROM held)""",
        {"chat": chat["id"], "message": message_id, "content": orjson.dumps(content).decode()},
    )
    if locked["charged"]:
        return
    await ledger.remember(session, chat["id"], message_id, call_id, {OUTCOME: dict(outcome)})
    await titles.charge(session, chat, replace(call, content=content))
