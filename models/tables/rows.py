"""What every table shares: its metadata with named constraints, and column kinds."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, MetaData, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

metadata = SQLModel.metadata
metadata.naming_convention = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
).naming_convention


def identity() -> Any:
    """A primary key: uuid7, so that newer rows sort later and inserts stay local in the index."""
    return Field(default_factory=uuid7, primary_key=True)


def now() -> Any:
    """A timestamp that the database's clock fills on insert."""
    return Field(
        default=None,
        sa_type=DateTime(timezone=True),
        nullable=False,
        sa_column_kwargs={"server_default": func.now()},
    )


def moment() -> Any:
    """A timestamp that may be absent."""
    return Field(default=None, sa_type=DateTime(timezone=True), nullable=True)


def document(default: str | None = None) -> Any:
    """A JSONB column; `default` is its SQL default, absent means nullable."""
    if default is None:
        return Field(default=None, sa_type=JSONB(none_as_null=True), nullable=True)
    return Field(default=None, sa_type=JSONB, nullable=False, sa_column_kwargs={"server_default": default})


__all__ = ["SQLModel", "datetime", "document", "identity", "metadata", "moment", "now"]
