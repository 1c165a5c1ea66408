"""Ids as models write them."""

from uuid import UUID

from activities.tools.endings import ToolFailed


def read(text: str, name: str = "template_id") -> UUID:
    """The id; raises ToolFailed for what is none."""
    try:
        return UUID(text.strip())
    except ValueError:
        raise ToolFailed(f"invalid {name}: {text.strip()!r} is not a UUID") from None
