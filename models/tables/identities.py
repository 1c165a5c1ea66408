"""Who our users are elsewhere: at the provider that they sign in with."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from models.tables.rows import moment, now


class UserLink(SQLModel, table=True):
    """A subject of an issuer, and the one user it is."""

    __tablename__ = "user_links"
    __table_args__ = (UniqueConstraint("user_id", name="uq_user_links_user_id"),)

    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    access_token: str = Field(description="encrypted")
    refresh_token: str | None = Field(default=None, description="encrypted")
    expires_at: datetime | None = moment()
    refreshing_until: datetime | None = moment()
    created_at: datetime = now()
    updated_at: datetime = now()
