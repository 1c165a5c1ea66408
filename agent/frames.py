"""Words of the protocol: frames, their fields, and the errors that a job may end in."""

from collections.abc import Mapping

Frame = dict[str, object]

PROTOCOL = 1
VERSION = "0.1.0"


class Refused(Exception):
    """A job that ends in an error which the model may read; `kind` is one of the protocol's."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    def outcome(self) -> Frame:
        """What a `result` frame says of it."""
        return {"error": {"message": self.message, "kind": self.kind}}


def text(request: Mapping[str, object], name: str, default: str | None = None) -> str:
    """A field that is text; refused when missing without a default, or empty where it has none."""
    value = request.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (default is None and not value):
        raise Refused("invalid", f"{name} is required" if value in {None, ""} else f"{name} must be text")
    return value


def whole(request: Mapping[str, object], name: str, default: int, *, low: int = 0, high: int = 2**53) -> int:
    """A field that is a whole number, drawn into its bounds."""
    value = request.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused("invalid", f"{name} must be a whole number")
    return max(low, min(high, value))


def flag(request: Mapping[str, object], name: str) -> bool:
    """A field that is true or false; false when missing."""
    return request.get(name) is True


def record(request: Mapping[str, object], name: str) -> Frame:
    """A field that is an object; empty when missing."""
    value = request.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused("invalid", f"{name} must be an object")
    return value


def records(request: Mapping[str, object], name: str) -> list[Frame]:
    """A field that is a list of objects; refused when missing or empty."""
    value = request.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise Refused("invalid", f"{name} must be a list of objects, with at least one in it")
    return value


def strings(request: Mapping[str, object], name: str) -> dict[str, str]:
    """A field that maps text to text; what is not text in it is left out."""
    return {key: value for key, value in record(request, name).items() if isinstance(value, str)}
