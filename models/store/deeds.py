"""What a request is doing, for the audit log: known around it, so that every entry says by whom, from where and how."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

_NO_ID = UUID(int=0)
_NAMES = ("username", "name", "model")


@dataclass(frozen=True, slots=True)
class Kind:
    """What is told of a route's requests: `of` is the path parameter that names the resource, `about` a setting."""

    action: str
    resource_type: str
    of: str = ""
    about: str = ""


@dataclass(slots=True)
class Deed:
    """One request that may change something. What its handler finds out on the way is added to it."""

    user_id: UUID | None = None
    request_id: str = ""
    ip: str = ""
    user_agent: str = ""
    kind: Kind | None = None
    status_code: int = 200
    path: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    is_told: bool = False

    @property
    def resource_id(self) -> UUID:
        """The id of what it is about; nil where that has none, as settings have none."""
        kind = self.kind or Kind("", "")
        rows = (self.made, self.before) if kind.action == "create" else (self.before, self.made)
        for known in (*(row.get("id") for row in rows), self.path.get(kind.of)):
            if (found := _uuid(known)) is not None:
                return found
        return _NO_ID

    @property
    def target(self) -> str:
        """What people call it; else the beginning of its id, or what the path says."""
        kind = self.kind or Kind("", "")
        named = self.path.get(kind.of, "")
        if kind.about:
            return f"{kind.about}/{named}" if named else kind.about
        rows = (self.made, self.before) if kind.action == "create" else (self.before, self.made)
        found = next((str(row[name]) for row in rows for name in _NAMES if row.get(name)), "")
        return found or (str(self.resource_id)[:8] if self.resource_id.int else named)

    @property
    def organization_id(self) -> UUID | None:
        """The organization that it happens in, if any."""
        for known in (self.before, self.made, {**self.path, **self.body}):
            found = known.get("organization_id", known.get("organization"))
            if (read := _uuid(found)) is not None:
                return read
        return self.resource_id if self.kind is not None and self.kind.resource_type == "organization" else None


_NOBODYS = Deed(is_told=True)
_DEED: ContextVar[Deed] = ContextVar("deed", default=_NOBODYS)


def current() -> Deed:
    """The deed of the request that runs here and now; outside of one, a deed of nobody's."""
    return _DEED.get()


@contextmanager
def doing(deed: Deed) -> Iterator[None]:
    """What is recorded in the block is this deed's."""
    token = _DEED.set(deed)
    try:
        yield
    finally:
        _DEED.reset(token)


@contextmanager
def unnoticed() -> Iterator[None]:
    """What is written in the block is not what the request at hand is about."""
    with doing(_NOBODYS):
        yield


def by(user_id: UUID) -> None:
    """Note who does it."""
    if (deed := _DEED.get()) is not _NOBODYS:
        deed.user_id = user_id


def was(row: Mapping[str, Any]) -> None:
    """Note what is about to be changed, as it is: whom or what it is, and the values that the entry compares with."""
    if (deed := _DEED.get()) is not _NOBODYS:
        deed.before = dict(row)


def asks(body: Mapping[str, Any]) -> None:
    """Note all that is asked for, also what the request leaves to be understood."""
    if (deed := _DEED.get()) is not _NOBODYS:
        deed.body = dict(body)


def made(row: Mapping[str, Any]) -> None:
    """Note what has been made."""
    if (deed := _DEED.get()) is not _NOBODYS:
        deed.made = row


def nothing() -> None:
    """Note that this request does nothing that should be told: it repeats one that was."""
    if (deed := _DEED.get()) is not _NOBODYS:
        deed.is_told = True


def _uuid(value: Any) -> UUID | None:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
