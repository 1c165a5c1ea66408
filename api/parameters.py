"""Parameters that chat routes share, with the readings that the wire format asks for (wire-api.md 1.4)."""

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BeforeValidator, Field, WithJsonSchema

from models.errors import Invalid
from models.rules.pages import MAX_ID

_INT32 = 2**31 - 1


def _blank_is_absent(value: Any) -> Any:
    return None if value == "" else value


Absent = BeforeValidator(_blank_is_absent)
"""An empty value in the query string equals no value."""

Count = Annotated[Annotated[int, Field(ge=0, le=_INT32)] | None, Absent]
MessageCursor = Annotated[Annotated[int, Field(ge=0, le=MAX_ID)] | None, Absent, Query()]

# Read as text: which complaint comes first depends on the chat, so the handler judges the number.
RowId = Annotated[str, Path(), WithJsonSchema({"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID})]


def row_id(text: str, message: str, detail: str = "") -> int:
    """The id in a path; raises Invalid(message, detail) for anything but a positive 64-bit integer."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID)) and 0 < int(text) <= MAX_ID:
        return int(text)
    raise Invalid(message, detail or f'parsing "{text[:40]}": invalid syntax')
