"""What went over the wire for one model call, kept in memory as it happens; it judges and writes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

KEPT = 128 * 1024  # bytes of a body: more than is stored, so that a cut falls where nothing is left of it


@dataclass(slots=True)
class Exchanged:
    """One HTTP request, and its answer as far as it came."""

    method: str
    url: str
    request_headers: Mapping[str, str]
    request_body: bytes
    request_whole: bool
    started_at: datetime
    finished_at: datetime | None = None
    status: int | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: bytearray = field(default_factory=bytearray)
    response_whole: bool = True
    error: str = ""


class Tape:
    """Listens to the exchanges of one model call."""

    def __init__(self) -> None:
        self.exchanges: list[Exchanged] = []

    def asked(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> None:
        """A request is about to be sent."""
        whole = len(content) <= KEPT
        self.exchanges.append(
            Exchanged(method, url, dict(headers), content if whole else content[:KEPT], whole, datetime.now(UTC))
        )

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The answer's head is there."""
        if self.exchanges:
            self.exchanges[-1].status, self.exchanges[-1].response_headers = status, dict(headers)

    def heard(self, data: bytes) -> None:
        """A piece of the answer's body came."""
        if not self.exchanges:
            return
        last = self.exchanges[-1]
        room = KEPT - len(last.response_body)
        last.response_body += data[:room]
        last.response_whole = last.response_whole and len(data) <= room

    def failed(self, reason: str) -> None:
        """The exchange came to nothing, for this reason."""
        if self.exchanges:
            self.exchanges[-1].error = reason

    def ended(self) -> None:
        """The connection was given back or closed."""
        if self.exchanges and self.exchanges[-1].finished_at is None:
            self.exchanges[-1].finished_at = datetime.now(UTC)
