"""Which of a deployment's models works at a desktop: one of the chosen provider that sees pictures and takes tools."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from models.rules.profiles import IMAGES, profile_for

OFF = "The virtual desktop is switched off. An administrator can switch it on."
NO_MODEL = (
    "There is no model for computer use: an administrator must add or enable a model of the provider {provider} that "
    "can see pictures, or choose the other provider."
)
NO_KEY = (
    "There is no key with which the models of the provider {provider} could be used for computer use: add one of your "
    "own, or ask an administrator."
)

# Of these providers, but made for something else, or not to be asked at the address where we ask.
_UNFIT = re.compile(r"computer-use-preview|audio|realtime|search|transcribe|tts|image|embed|instruct|moderation|codex")
# Those that were taught to point at what they see, as far as names say so.
_KNOWN = {"anthropic": re.compile(r"claude-"), "openai": re.compile(r"^(gpt-([5-9]|\d\d)|gpt-4\.1|o[34]|gpt-4o)")}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enabled model of an enabled provider; `has_key` as far as the person's chats are concerned."""

    id: UUID
    provider: str
    model: str
    is_default: bool
    has_key: bool


class NoneFits(ValueError):
    """No model can be used; the text says what is missing."""


def chosen(provider: str, candidates: Iterable[Candidate]) -> UUID:
    """The first that fits, a known name and then the default before others; raises NoneFits."""
    fit = [each for each in candidates if each.provider == provider and _fits(each)]
    if not fit:
        raise NoneFits(NO_MODEL.format(provider=provider))
    usable = [each for each in fit if each.has_key]
    if not usable:
        raise NoneFits(NO_KEY.format(provider=provider))
    return min(usable, key=lambda each: (_KNOWN[provider].search(each.model) is None, not each.is_default)).id


def _fits(candidate: Candidate) -> bool:
    profile = profile_for(candidate.provider, candidate.model)
    return bool(_UNFIT.search(candidate.model) is None and min(profile.limit(kind) for kind in IMAGES))
