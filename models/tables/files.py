"""Uploaded files, and which chats use them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlmodel import Field, SQLModel

from models.tables.rows import identity, now


class File(SQLModel, table=True):
    __tablename__ = "chat_files"
    __table_args__ = (
        Index("ix_chat_files_owner_id", "owner_id"),
        Index("ix_chat_files_organization_id", "organization_id"),
        Index("ix_chat_files_created_at", "created_at"),
    )

    id: UUID = identity()
    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE")
    name: str = Field(default="", sa_column_kwargs={"server_default": ""})
    mimetype: str
    size: int = Field(sa_type=BigInteger)
    data: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = now()


class FileLink(SQLModel, table=True):
    """A chat uses a file: one of its messages names it."""

    __tablename__ = "chat_file_links"
    __table_args__ = (Index("ix_chat_file_links_file_id", "file_id"),)

    chat_id: UUID = Field(foreign_key="chats.id", ondelete="CASCADE", primary_key=True)
    file_id: UUID = Field(foreign_key="chat_files.id", ondelete="CASCADE", primary_key=True)
    created_at: datetime = now()
