"""What each provider's models take, as data: the prompt is written for one of these."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

PROVIDER_TYPES = ("openai", "anthropic", "azure", "bedrock", "google", "openai-compat", "openrouter", "vercel", "demo")
KEYLESS = ("bedrock", "openai-compat", "demo")
"""These work without a key: ambient credentials, a server that asks for none, no server at all."""
MEGABYTE = 1024 * 1024

IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
PDF = "application/pdf"


@dataclass(frozen=True, slots=True)
class Profile:
    """What may be sent. Byte limits are of a file as it is, before it is encoded; 0: none of that kind."""

    family: str
    """Whose signatures and provider-run calls are understood: what another family made is not sent back."""
    image_bytes: int = 0
    pdf_bytes: int = 0
    total_bytes: int = 20 * MEGABYTE
    """Of all files together, those whose text is written out among them."""
    alternates: bool = True
    """Neighbours of one role are refused, and so is a conversation that an assistant begins."""
    joins_system: bool = False
    """One system message, at the start: chat templates of open models raise at a second."""
    caches: bool = False
    keeps_thinking: bool = False
    pictures_in_results: bool = False
    """A tool's result may hold a picture; else it follows in a message of the user's."""
    runs_tools: bool = False
    """It ran tools itself, and wants those calls and results back where they were."""

    def limit(self, media_type: str) -> int:
        """How large a file of this type may be to be sent as it is."""
        if media_type in IMAGES:
            return self.image_bytes
        return self.pdf_bytes if media_type == PDF else 0


# Limits: providers' documents, rounded down; a whole request must fit as well.
_ANTHROPIC = Profile(
    "anthropic",
    image_bytes=5_000_000,
    pdf_bytes=20 * MEGABYTE,
    caches=True,
    keeps_thinking=True,
    pictures_in_results=True,
    runs_tools=True,
)
_BEDROCK = replace(_ANTHROPIC, image_bytes=3_750_000, pdf_bytes=4_500_000, runs_tools=False)
_OPENAI = Profile("openai", image_bytes=20 * MEGABYTE, pdf_bytes=20 * MEGABYTE, alternates=False)
_ROUTER = replace(_OPENAI, family="router")

PROFILES: Mapping[str, Profile] = {
    "anthropic": _ANTHROPIC,
    "bedrock": _BEDROCK,
    "openai": _OPENAI,
    "azure": _OPENAI,
    "google": Profile("google", image_bytes=14 * MEGABYTE, pdf_bytes=14 * MEGABYTE, total_bytes=14 * MEGABYTE),
    "openrouter": _ROUTER,
    "vercel": replace(_ROUTER, pdf_bytes=0),
    "openai-compat": Profile("open", image_bytes=20 * MEGABYTE, joins_system=True),
    "demo": Profile("demo", alternates=False),
}
UNKNOWN = Profile("unknown")

BLIND = ("gpt-3.5", "gpt-4-0", "o1-mini", "o1-preview", "o3-mini", "deepseek/", "deepseek-")
"""Beginnings of the names of models that take no files, under providers that do."""


def profile_for(provider: str, model: str = "") -> Profile:
    """The profile of a model, by its provider's type and its name."""
    profile = PROFILES.get(provider, UNKNOWN)
    if provider == "bedrock" and model and not _is_claude(model):
        profile = replace(profile, family="bedrock", caches=False, keeps_thinking=False)
    if provider == "openrouter" and _is_claude(model):
        profile = replace(profile, caches=True)
    if model.startswith(BLIND):
        profile = replace(profile, image_bytes=0, pdf_bytes=0)
    return profile


def _is_claude(model: str) -> bool:
    return "claude" in model.lower()
