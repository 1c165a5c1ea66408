"""Whether a person's agents may use desktops, and on which model."""

from typing import LiteralString
from uuid import UUID

from models.rules import features
from models.rules.computer_models import OFF, Candidate, NoneFits, chosen
from models.store import preferences
from models.store.database import fetch_together
from models.store.session import Session
from models.store.user_keys import HAS_KEY, keys_of

_CANDIDATES: LiteralString = f"""
    SELECT c.id, p.type AS provider, c.model, c.is_default, {HAS_KEY} AS has_key
    FROM chat_model_configs c JOIN ai_providers p ON p.id = c.ai_provider_id
    WHERE c.enabled AND NOT c.deleted AND p.enabled AND NOT p.deleted AND p.type = ANY(%(types)s)
    ORDER BY c.created_at DESC, c.id DESC
"""  # noqa: S608 - fixed text


async def require(session: Session, owner_id: UUID, *, own_keys: bool) -> UUID:
    """The model with which the owner's agents use a desktop; raises NoneFits where there is none, or they may not."""
    rows, settings = await fetch_together(
        session,
        [
            (_CANDIDATES, {"types": list(features.COMPUTER_USERS), **keys_of(owner_id, own_keys)}),
            (preferences.SITE, preferences.named([features.DESKTOP, features.COMPUTER_USE])),
        ],
    )
    site = {row["key"]: row["value"] for row in settings}
    if not features.desktop(site):
        raise NoneFits(OFF)
    return chosen(features.computer_use(site), [Candidate(**row) for row in rows])
