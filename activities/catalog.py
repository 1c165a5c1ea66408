"""Which model a step runs on, with its secrets opened: resolved once, and again when the catalogue changes."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from activities.providers.provider import Usage
from models.errors import Precondition
from models.rules import compaction, pricing
from models.rules.credentials import Lack, Policy, Source
from models.store import audit, catalog, preferences, user_keys
from models.store.database import Database
from models.store.secrets import Cipher

log = logging.getLogger(__name__)

LACKING = {
    Lack.USER_KEY: "an API key of your own is needed. Add one in your settings.",
    Lack.KEY: "no API key may be used. Ask an administrator.",
}
STALE_AFTER = 30.0  # seconds, should a notice of a change be lost
MOST_PEOPLE = 10_000


@dataclass(frozen=True, slots=True)
class ReadyModel:
    """A model that can be called."""

    model_config_id: UUID
    ai_provider_id: UUID
    provider: str
    provider_name: str
    model: str
    base_url: str
    options: dict[str, Any]
    context_limit: int
    compression_threshold: int
    has_user_keys: bool
    policy: Policy
    api_key: str = field(repr=False)
    settings: dict[str, Any] = field(repr=False)

    def cost_micros(self, usage: Usage | None) -> int | None:
        """What this usage costs at the model's prices. Zero throughout is a provider that told nothing: unpriced."""
        counts = asdict(usage) if usage else {}
        return pricing.cost_micros(pricing.prices(self.options), counts) if any(counts.values()) else None


class Use(NamedTuple):
    """A key at work for somebody: the provider's, or their own."""

    provider_id: UUID
    provider_name: str
    owner_id: UUID
    own: bool


class Catalog:
    """The worker's memory of the catalogue."""

    def __init__(self, database: Database, cipher: Cipher, *, own_keys: bool) -> None:
        self._database = database
        self._cipher = cipher
        self._with_own_keys = own_keys
        self._known: dict[tuple[UUID | None, ...], tuple[float, ReadyModel | None]] = {}
        self._thresholds: dict[tuple[UUID, UUID], tuple[float, int]] = {}
        self._keys: dict[tuple[UUID, UUID], tuple[float, str]] = {}
        self._used_on = date.min
        self._used: set[Use] = set()
        self._errands: set[asyncio.Task[None]] = set()

    def forget(self) -> None:
        """Something in the catalogue changed."""
        self._known = {}
        self._thresholds = {}
        self._keys = {}

    async def provider_types(self) -> list[str]:
        """The types of the providers that a step could be given to."""
        async with self._database.read() as session:
            return await catalog.provider_types(session)

    async def resolve(self, wanted: Sequence[UUID | None], owner_id: UUID) -> ReadyModel | None:
        """The first usable of `wanted`, else the default, with the key that its provider's policy says.

        Raises SecretUnreadable when no key of the settings opens its secrets, Precondition when the policy allows none.
        """
        model = await self._resolve(wanted)
        if model is None:
            return None
        own = ""
        if model.has_user_keys and model.policy.takes_own(self._with_own_keys):
            own = await self._own_key(owner_id, model.ai_provider_id)
        # Is there a central key? If not, the provider says so in its own words: some need none.
        source = model.policy.source(byok=self._with_own_keys, has_own=bool(own), has_central=True)
        if source is Source.USER:
            # The provider's own credentials stay away from what is done in a person's name.
            settings = {name: value for name, value in model.settings.items() if name not in catalog.SECRET_SETTINGS}
            model = replace(model, api_key=own, settings=settings)
        elif source is not Source.CENTRAL:
            raise Precondition(f"{model.provider_name}: {LACKING[source]}")
        self._note_use(Use(model.ai_provider_id, model.provider_name, owner_id, source is Source.USER), model.api_key)
        return model

    def _note_use(self, use: Use, key: str) -> None:
        """Tell the audit log of the first use of a key for an owner on a day, beside the step."""
        today = datetime.now(UTC).date()
        if today != self._used_on or len(self._used) >= MOST_PEOPLE:
            self._used_on, self._used = today, set()
        if key and use not in self._used:
            self._used.add(use)
            errand = asyncio.create_task(self._tell_use(use, today))
            self._errands.add(errand)
            errand.add_done_callback(self._errands.discard)

    async def _tell_use(self, use: Use, day: date) -> None:
        try:
            async with self._database.begin() as session:
                await audit.key_used(session, use.provider_id, use.provider_name, use.owner_id, day, own=use.own)
        except psycopg.Error:
            self._used.discard(use)  # the next step tells
            log.warning("the use of a key of %s was not told to the audit log", use.provider_name, exc_info=True)

    async def _resolve(self, wanted: Sequence[UUID | None]) -> ReadyModel | None:
        key = tuple(wanted)
        now = asyncio.get_running_loop().time()
        known = self._known
        if key in known and now - known[key][0] < STALE_AFTER:
            return known[key][1]
        async with self._database.read() as session:
            found = await catalog.resolve(session, None, wanted)
        ready = None if found is None else self._opened(found)
        # Into the memory that was current when we asked: a change in the meantime has thrown that one away.
        known[key] = (now, ready)
        return ready

    async def _own_key(self, owner_id: UUID, provider_id: UUID) -> str:
        key = (owner_id, provider_id)
        now = asyncio.get_running_loop().time()
        known = self._keys
        if key in known and now - known[key][0] < STALE_AFTER:
            return known[key][1]
        async with self._database.read() as session:
            stored = await user_keys.stored(session, owner_id, provider_id)
        own = self._cipher.decrypt(stored) if stored else ""
        if len(known) >= MOST_PEOPLE:
            known.clear()
        known[key] = (now, own)
        return own

    async def threshold(self, owner_id: UUID, model: ReadyModel) -> int:
        """How full, in percent, this person's chats may fill the model's context before they are summarised."""
        key = (owner_id, model.model_config_id)
        now = asyncio.get_running_loop().time()
        known = self._thresholds
        if key in known and now - known[key][0] < STALE_AFTER:
            return known[key][1]
        name = compaction.threshold_key(model.model_config_id)
        async with self._database.read() as session:
            own = await preferences.user(session, owner_id, name)
        percent = compaction.threshold(own.get(name), model.compression_threshold)
        if len(known) >= MOST_PEOPLE:
            known.clear()
        known[key] = (now, percent)
        return percent

    def _opened(self, found: catalog.ResolvedModel) -> ReadyModel:
        return ReadyModel(
            model_config_id=found.model_config_id,
            ai_provider_id=found.ai_provider_id,
            provider=found.provider,
            provider_name=found.provider_name,
            model=found.model,
            base_url=found.base_url,
            options=found.options,
            context_limit=found.context_limit,
            compression_threshold=found.compression_threshold,
            has_user_keys=found.has_user_keys,
            policy=found.policy,
            api_key=found.api_key(self._cipher),
            settings=found.provider_settings(self._cipher),
        )
