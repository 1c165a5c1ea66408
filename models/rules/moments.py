"""How a moment is written on the wire: RFC 3339 in UTC, without trailing zeros (wire-api.md 1.3)."""

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """The moment as `2026-05-20T10:00:00.25Z`; whole seconds carry no fraction."""
    text = moment.isoformat()
    if not text.endswith("+00:00"):
        text = moment.astimezone(UTC).isoformat()
    text = text[:-6]
    if "." in text:
        text = text.rstrip("0")
    return f"{text}Z"
