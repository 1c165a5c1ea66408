"""uvicorn around the application: its knobs, its signals, and an end without a crash."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.app import create_app
from api.heads import BoundedProtocol
from models.settings import Settings

log = logging.getLogger(__name__)

# A stream that ends leaves no cycles, and thousands of open ones are hundreds of thousands of objects: a search through
# all of them stops every stream for as long as it takes, and finds nothing. Young cycles are found as ever.
COLLECT = (20_000, 5, 1000)


class _Own(uvicorn.Config):
    """Of a process that serves and does nothing else."""

    def load(self) -> None:
        super().load()
        gc.freeze()  # what is loaded by now stays: collections need not walk it, and stop streams while they do
        gc.set_threshold(*COLLECT)


class Server(uvicorn.Server):
    """A server that says when it listens, and lets live streams say goodbye before it stops."""

    def __init__(self, config: uvicorn.Config, ready: Path | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            addresses = [each.getsockname()[:2] for server in self.servers for each in server.sockets]
            where = "http://{}:{}".format(*addresses[0])
            log.info("listening on %s", where)
            if self._ready is not None:
                self._ready.write_text(where + "\n")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        resources = self.lifespan.state.get("resources")
        if resources is not None:
            resources.live.stop()
            resources.watchers.stop()
            for _ in range(20):
                if not any(isinstance(each, WebSocketsSansIOProtocol) for each in self.server_state.connections):
                    break
                await asyncio.sleep(0.05)
        await super().shutdown(sockets)


# Clients say next to nothing; a workspace agent tells diffs, files and instructions, some MiB of text as JSON.
LARGEST_FRAME = 16 * 1024 * 1024


def main(settings: Settings, *, ready: str | None = None) -> None:
    """Serve until SIGTERM or SIGINT; create the file `ready` once listening. Does not return."""
    config = _Own(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=LARGEST_FRAME,
        ws_ping_interval=settings.stream_ping_interval.total_seconds(),
        ws_ping_timeout=settings.stream_ping_interval.total_seconds(),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_grace.total_seconds())),
    )
    # uvicorn logs each WebSocket's whole path, and a token may be in its query.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = Server(config, Path(ready) if ready else None)
    # uvicorn raises the signal that stopped it once more when it is done: that must not end us by force.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)
    server.run()
    code = 0 if server.started else 3
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # The Temporal SDK's threads can abort an interpreter that finalises under them (sdk-python#300).
    os._exit(code)
