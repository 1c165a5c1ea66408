"""People's own choices of models: what they chose, whether they may, and whether a model would work for them."""

import logging
from dataclasses import dataclass
from uuid import UUID

from models.rules import model_choice
from models.rules.model_choice import Choice, Override
from models.store import preferences
from models.store.database import fetch, fetch_together
from models.store.session import Session
from models.store.user_keys import HAS_KEY, keys_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choices:
    """All that a person chose, whether it counts, and what administrators chose."""

    enabled: bool
    own: dict[str, Choice]
    deployment: dict[str, Override]


@dataclass(frozen=True, slots=True)
class Fitness:
    """Could a model work for a person?"""

    is_enabled: bool
    provider_is_enabled: bool
    has_key: bool

    @property
    def is_usable(self) -> bool:
        return self.is_enabled and self.provider_is_enabled and self.has_key


async def allowed(session: Session) -> bool:
    """Do people's choices count?"""
    return (await preferences.site(session, model_choice.GATE)).get(model_choice.GATE) == "true"


async def allow(session: Session, allowed: bool) -> None:
    """Let people's choices count, or not; what they chose is kept for the day it does."""
    await preferences.put_site(session, {model_choice.GATE: "true" if allowed else "false"})


async def choices(session: Session, user_id: UUID) -> Choices:
    """What a person chose for each purpose, in one round trip."""
    shown = (model_choice.GENERAL, model_choice.EXPLORE)
    deployment = {context: model_choice.deployment_key(context) for context in shown}
    personal = {context: model_choice.personal_key(context) for context in model_choice.PERSONAL}
    site_rows, own_rows = await fetch_together(
        session,
        [
            (preferences.SITE, preferences.named([model_choice.GATE, *deployment.values()])),
            (preferences.USER, {"user": user_id, **preferences.named([*personal.values()])}),
        ],
    )
    site = {row["key"]: row["value"] for row in site_rows}
    own = {row["key"]: row["value"] for row in own_rows}
    return Choices(
        site.get(model_choice.GATE) == "true",
        {context: model_choice.choice(context, own.get(key)) for context, key in personal.items()},
        {context: model_choice.override(context, site.get(key, "")) for context, key in deployment.items()},
    )


async def choose(session: Session, user_id: UUID, context: str, word: str) -> None:
    """Keep a person's choice: a mode, or the id of a model."""
    await preferences.put_user(session, user_id, {model_choice.personal_key(context): word})


async def fitness(session: Session, model_config_id: UUID, user_id: UUID, *, own_keys: bool) -> Fitness | None:
    """Could the model work for this person, with keys of their own if they may have them? None: there is no such."""
    rows = await fetch(
        session,
        f"""
        SELECT c.enabled AS is_enabled, p.enabled AND NOT p.deleted AS provider_is_enabled, {HAS_KEY} AS has_key
        FROM chat_model_configs c JOIN ai_providers p ON p.id = c.ai_provider_id
        WHERE c.id = %(id)s AND NOT c.deleted
        """,  # noqa: S608 - fixed text
        {"id": model_config_id, **keys_of(user_id, own_keys)},
    )
    return Fitness(**rows[0]) if rows else None


async def for_sub_agent(session: Session, user_id: UUID, context: str, *, own_keys: bool) -> UUID | None:
    """The model that was chosen for this kind of the person's sub-agents; None is their parent's.

    A choice that would not work is told in the log, and does not count.
    """
    found = await choices(session, user_id)
    wanted = model_choice.for_sub_agent(found.own[context], found.deployment[context], allowed=found.enabled)
    if not wanted:
        return None
    fit = await fitness(session, UUID(wanted), user_id, own_keys=own_keys)
    if fit is None or not fit.is_usable:
        log.warning("the model %s chosen for %s sub-agents of %s cannot be used: %s", wanted, context, user_id, fit)
        return None
    return UUID(wanted)
