"""JSON as it goes onto the wire: one document, a newline, nothing a browser could take for markup."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from models.rules.moments import rfc3339

MEDIA_TYPE = "application/json; charset=utf-8"
# These bytes can only stand inside strings of a JSON document, so replacing them blindly is safe.
_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


def price(value: Decimal) -> str:
    """A decimal without exponent and trailing zeros."""
    return format(value.normalize(), "f")


def _plain(value: object) -> Any:
    match value:
        case datetime():
            return rfc3339(value)
        case Decimal():
            return price(value)
        case BaseModel():
            return value.model_dump(exclude_none=True)
        case frozenset() | set() | tuple():
            return list(value)
        case Mapping():
            return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be answered as JSON")


def encode(content: Any) -> bytes:
    """The JSON document: datetimes as `moment`, decimals as strings, models without their absent fields."""
    document = orjson.dumps(content, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS)
    for raw, escaped in _ESCAPES:
        if raw in document:
            document = document.replace(raw, escaped)
    return document


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that bypasses FastAPI's serialisation: what is given is what is sent."""
    return Response(encode(content) + b"\n", status, headers, MEDIA_TYPE)


def nothing() -> Response:
    """204: done, and there is nothing to say."""
    return Response(status_code=204)
