"""The words of messages, kept apart: to index a message while it is stored would cost more than to store it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlmodel import Field, SQLModel

from models.tables.rows import moment


class MessageWords(SQLModel, table=True):
    """A visible message's words, with one word more for its chat and one for the chat's owner (store/words.py).

    No foreign key: checking it would write into the message's row. What deletes chats deletes these as well.
    """

    __tablename__ = "chat_message_words"
    __table_args__ = (
        # What was added last is read whole by each look into the index: so little, yet enough to be sorted in at once.
        Index(
            "ix_chat_message_words_words",
            "words",
            postgresql_using="gin",
            postgresql_with={"gin_pending_list_limit": 512},
        ),
    )

    message_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    chat_id: UUID
    words: Any = Field(sa_type=TSVECTOR, nullable=False)


class WordsMark(SQLModel, table=True):
    """One row: how far messages have been read. Up to `candidate_id` all were there to be read at `candidate_at`."""

    __tablename__ = "chat_message_words_mark"
    __table_args__ = (CheckConstraint("single", name="single"),)

    single: bool = Field(
        default=True, sa_type=Boolean, primary_key=True, sa_column_kwargs={"server_default": text("true")}
    )
    message_id: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    candidate_id: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    candidate_at: datetime | None = moment()
