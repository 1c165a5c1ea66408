"""The HTTP protocol with a bound on what comes before a request's body: httptools itself would read on for ever."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD = 64 * 1024  # bytes of request line and headers, or somewhat more: what is read at once counts as one
PATIENCE = 30.0  # seconds that a head may take


class BoundedProtocol(HttpToolsProtocol):
    """Hangs up on a client whose request line and headers do not end, for their size (431) or their slowness."""

    largest = LARGEST_HEAD
    patience = PATIENCE

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head: int | None = 0  # bytes so far; None: no head is being read
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head is not None and self._late is not None and not self.transport.is_closing():
            self._head += len(data)
            if self._head > self.largest:
                self._refuse()

    def on_message_begin(self) -> None:
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._have()
        super().on_headers_complete()

    def _wait(self) -> None:
        if self._late is None:
            self._head, self._late = 0, self.loop.call_later(self.patience, self._hang_up)

    def _have(self) -> None:
        self._head = None
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        self.transport.close()

    def _refuse(self) -> None:
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()
