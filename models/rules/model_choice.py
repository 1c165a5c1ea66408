"""Which model an administrator or a person chose for a purpose: how it is read, and what holds without one.

A person's choice is kept as one word: a mode, or the id of the model.
"""

from dataclasses import dataclass
from uuid import UUID

ROOT, GENERAL, EXPLORE = "root", "general", "explore"
PERSONAL = (ROOT, GENERAL, EXPLORE)
"""The purposes for which people choose: their own chats, and two kinds of sub-agents."""
DEPLOYMENT = (GENERAL, EXPLORE, "title_generation")
"""The purposes for which an administrator chooses."""

DEPLOYMENT_DEFAULT, CHAT_DEFAULT, MODEL = "deployment_default", "chat_default", "model"
GATE = "agents_chat_personal_model_overrides_enabled"
"""The key of the deployment's leave for people to choose."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose for a purpose; `model_config_id` is empty unless the mode is `model`."""

    context: str
    mode: str
    model_config_id: str = ""
    is_set: bool = False
    is_malformed: bool = False


@dataclass(frozen=True, slots=True)
class Override:
    """What an administrator chose for a purpose; `model_config_id` is empty if nothing."""

    context: str
    model_config_id: str = ""
    is_malformed: bool = False


def deployment_key(context: str) -> str:
    """Under which key an administrator's choice is kept."""
    return f"agents_chat_{context}_model_override"


def personal_key(context: str) -> str:
    """Under which key a person's choice is kept."""
    return f"chat_personal_model_override:{context}"


def for_sub_agent(own: Choice, deployment: Override, *, allowed: bool) -> str:
    """The id of the model that was chosen for a kind of sub-agents; empty is their parent's.

    A person's own choice, if it is `allowed` to count, comes before the administrator's.
    """
    if allowed and own.mode != DEPLOYMENT_DEFAULT:
        return own.model_config_id
    return deployment.model_config_id


def model_id(text: str) -> UUID | None:
    """The id that the text is, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def override(context: str, stored: str) -> Override:
    """What an administrator's stored choice says; what is no id counts as none, and is said to."""
    chosen = model_id(stored)
    return Override(context, str(chosen or ""), is_malformed=bool(stored) and chosen is None)


def choice(context: str, stored: str | None) -> Choice:
    """What a person's stored choice says; what makes no sense counts as unset, and is said to."""
    unset = Choice(context, CHAT_DEFAULT if context == ROOT else DEPLOYMENT_DEFAULT)
    if stored is None:
        return unset
    if stored == CHAT_DEFAULT or (stored == DEPLOYMENT_DEFAULT and context != ROOT):
        return Choice(context, stored, is_set=True)
    chosen = model_id(stored)
    if chosen is None:
        return Choice(context, unset.mode, is_malformed=True)
    return Choice(context, MODEL, str(chosen), is_set=True)
