"""People: users, organizations, members, groups, tokens."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from models.tables.rows import identity, moment, now


def _words() -> Any:
    return Field(
        default_factory=list, sa_type=ARRAY(Text), nullable=False, sa_column_kwargs={"server_default": text("'{}'")}
    )


class User(SQLModel, table=True):
    __tablename__ = "users"
    __table_args__ = (
        Index(
            "uq_users_username_lower", func.lower(text("username")), unique=True, postgresql_where=text("NOT deleted")
        ),
        Index(
            "uq_users_email_lower",
            func.lower(text("email")),
            unique=True,
            postgresql_where=text("NOT deleted AND email <> ''"),
        ),
    )

    id: UUID = identity()
    username: str
    email: str = Field(description="empty for service accounts")
    name: str = Field(default="", sa_column_kwargs={"server_default": ""})
    avatar_url: str = Field(default="", sa_column_kwargs={"server_default": ""})
    password_hash: str = Field(default="", sa_column_kwargs={"server_default": ""})
    login_type: str = Field(default="password", sa_column_kwargs={"server_default": "password"})
    status: str = Field(default="active", sa_column_kwargs={"server_default": "active"})
    roles: list[str] = _words()
    is_service_account: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    deleted: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    chat_spend_limit_micros: int | None = Field(default=None, sa_type=BigInteger)
    created_at: datetime = now()
    updated_at: datetime = now()
    last_seen_at: datetime | None = moment()


class Organization(SQLModel, table=True):
    __tablename__ = "organizations"

    id: UUID = identity()
    name: str = Field(unique=True)
    display_name: str = Field(default="", sa_column_kwargs={"server_default": ""})
    description: str = Field(default="", sa_column_kwargs={"server_default": ""})
    icon: str = Field(default="", sa_column_kwargs={"server_default": ""})
    is_default: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    created_at: datetime = now()
    updated_at: datetime = now()


class Member(SQLModel, table=True):
    __tablename__ = "organization_members"
    __table_args__ = (Index("ix_organization_members_user_id", "user_id"),)

    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE", primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", primary_key=True)
    roles: list[str] = _words()
    created_at: datetime = now()
    updated_at: datetime = now()


class CustomRole(SQLModel, table=True):
    """A role that an organization made for its members: what it lets them do with all chats there, and with their own.

    Members have it by its name, as they have the roles that are built in.
    """

    __tablename__ = "custom_roles"
    __table_args__ = (
        Index("uq_custom_roles_organization_id_name_lower", "organization_id", func.lower(text("name")), unique=True),
    )

    id: UUID = identity()
    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE")
    name: str
    display_name: str = Field(default="", sa_column_kwargs={"server_default": ""})
    everywhere: list[str] = _words()
    own: list[str] = _words()
    created_at: datetime = now()
    updated_at: datetime = now()


class Group(SQLModel, table=True):
    """Members of an organization. The group Everyone has its organization's id, and no rows of members."""

    __tablename__ = "groups"
    __table_args__ = (UniqueConstraint("organization_id", "name", name="uq_groups_organization_id_name"),)

    id: UUID = identity()
    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE")
    name: str
    display_name: str = Field(default="", sa_column_kwargs={"server_default": ""})
    avatar_url: str = Field(default="", sa_column_kwargs={"server_default": ""})
    source: str = Field(default="user", sa_column_kwargs={"server_default": "user"})
    chat_spend_limit_micros: int | None = Field(default=None, sa_type=BigInteger)
    created_at: datetime = now()
    updated_at: datetime = now()


class GroupMember(SQLModel, table=True):
    __tablename__ = "group_members"
    __table_args__ = (Index("ix_group_members_user_id", "user_id"),)

    group_id: UUID = Field(foreign_key="groups.id", ondelete="CASCADE", primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", primary_key=True)


class UserConfig(SQLModel, table=True):
    """A person's own setting."""

    __tablename__ = "user_configs"

    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", primary_key=True)
    key: str = Field(primary_key=True)
    value: str
    updated_at: datetime = now()


class Token(SQLModel, table=True):
    """An API key or a login session: only the SHA-256 of the secret is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_user_id", "user_id"),
        Index("uq_api_keys_hashed_secret", "hashed_secret", unique=True),
    )

    id: str = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    hashed_secret: bytes
    kind: str = Field(description="session or token")
    token_name: str = Field(default="", sa_column_kwargs={"server_default": ""})
    scopes: list[str] = _words()
    lifetime_seconds: int
    ip_address: str = Field(default="", sa_column_kwargs={"server_default": ""})
    user_agent: str = Field(default="", sa_column_kwargs={"server_default": ""})
    created_at: datetime = now()
    updated_at: datetime = now()
    expires_at: datetime = now()
    last_used: datetime | None = moment()


class SignInFailure(SQLModel, table=True):
    """How often signing in has failed lately, for an account or an address; which one, only its hash tells."""

    __tablename__ = "sign_in_failures"
    __table_args__ = (Index("ix_sign_in_failures_updated_at", "updated_at"),)

    key: str = Field(primary_key=True)
    failures: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    locked_until: datetime | None = moment()
    updated_at: datetime = now()
