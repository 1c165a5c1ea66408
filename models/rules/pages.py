"""Which stretch of a list a reader asks for, and which way it runs (wire-api.md 1.4, 3.6)."""

from dataclasses import dataclass
from uuid import UUID

from models.errors import Invalid

DEFAULT_LIMIT = 50
MAX_MESSAGES = 200
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ChatPage:
    """A stretch of the list of chats: `after_id` is the last chat of the page before."""

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    after_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A stretch of a chat's messages, strictly between the two cursors where they are given."""

    before_id: int | None = None
    after_id: int | None = None
    limit: int = DEFAULT_LIMIT

    @property
    def ascending(self) -> bool:
        """Only a reader who follows with `after_id` alone reads forwards."""
        return self.after_id is not None and self.before_id is None

    @property
    def has_cursor(self) -> bool:
        return self.after_id is not None or self.before_id is not None


def chats(limit: int | None, offset: int | None, after_id: UUID | None) -> ChatPage:
    """The page of chats that these parameters ask for; no limit, or 0, means 50."""
    return ChatPage(limit or DEFAULT_LIMIT, offset or 0, after_id)


def messages(before_id: int | None, after_id: int | None, limit: int | None) -> MessagePage:
    """The page of messages that these parameters ask for; raises Invalid for a bad limit or crossed cursors."""
    if limit is None:
        limit = DEFAULT_LIMIT
    if not 1 <= limit <= MAX_MESSAGES:
        raise Invalid(f"Invalid limit parameter (1-{MAX_MESSAGES}).")
    if before_id is not None and after_id is not None and after_id >= before_id:
        raise Invalid("after_id must be less than before_id.")
    return MessagePage(before_id, after_id, limit)
