"""Whose answers we read ourselves, and what litellm reads for a while because we could not place it once."""

import logging
from collections.abc import Callable
from time import monotonic

from activities.meters import Meters
from activities.providers.answer import Answer
from activities.providers.anthropic_stream import AnthropicAnswer
from activities.providers.openai_stream import OpenAIAnswer
from activities.providers.provider import ModelRequest
from models.errors import FailureFacts, ProviderFailed

OPENAI = frozenset({"openai", "azure", "openai-compat", "openrouter", "vercel"})
ANTHROPIC = frozenset({"anthropic"})
AVOIDED = 600.0  # seconds that a model is left to litellm

log = logging.getLogger(__name__)


class FastPath:
    """The readings of our own, unless switched off, and what they gave up on; one per process."""

    def __init__(self, enabled: bool, meters: Meters | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._enabled = enabled
        self._gave_up = (meters or Meters()).fast_path_gave_up
        self._clock = clock
        self._avoided: dict[tuple[str, str, str], float] = {}

    def reader(self, request: ModelRequest, family: str, count_tokens: Callable[[str], int]) -> Answer | None:
        """What reads this request's answer, if it is not litellm."""
        if not self._enabled or request.cautious or self._avoids(request):
            return None
        if request.provider in OPENAI:
            return OpenAIAnswer(request.provider, family)
        if request.provider in ANTHROPIC:
            return AnthropicAnswer(request.provider, family, count_tokens)
        return None

    def give_up(self, request: ModelRequest, what: str) -> ProviderFailed:
        """Count it and remember the model; the failure that ends the attempt, so that litellm takes the next one."""
        self._gave_up.labels(request.provider).inc()
        self._avoided[_key(request)] = self._clock() + AVOIDED
        log.warning(
            "%s, model %s: an event that the fast path cannot place: %s; litellm reads its answers for %.0f s",
            request.provider,
            request.model,
            what,
            AVOIDED,
        )
        text = "The provider sent an event that is read in another way at the next attempt."
        return ProviderFailed(FailureFacts(request.provider, text=text, signal="stream_cut"))

    def _avoids(self, request: ModelRequest) -> bool:
        until = self._avoided.get(_key(request)) if self._avoided else None
        if until is not None and until <= self._clock():
            del self._avoided[_key(request)]
            return False
        return until is not None


def _key(request: ModelRequest) -> tuple[str, str, str]:
    return request.provider, request.base_url, request.model
