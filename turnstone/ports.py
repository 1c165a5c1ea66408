"""Which TCP ports a stack takes: the wanted ones, or free ones for 0."""

import asyncio
import random
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

QUIET = (20_000, 32_000)  # below what Linux, macOS and Windows give to outgoing connections
TRIES = 20


@dataclass(frozen=True)
class Wish:
    """A port that somebody asked for, and the option that changes it."""

    flag: str
    host: str
    port: int


class PortTaken(Exception):
    """A wanted port is in use."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(
            f"port {wish.port} of {wish.host} is in use: stop what listens there, or choose another with {wish.flag} "
            "(0 takes a free one)"
        )


async def choose(wishes: Sequence[Wish], patience: float = 2.0) -> list[int]:
    """A port for each wish, all different; raises PortTaken when one stays in use (a dying stack may need a moment)."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return _bind_all(wishes)
        except PortTaken:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


def _bind_all(wishes: Sequence[Wish]) -> list[int]:
    with ExitStack() as held:  # all are held until the last is chosen, so that no free port is given twice
        ports: dict[int, int] = {}
        # The wanted ones first, so that no free one happens to be a wanted one.
        for index, wish in sorted(enumerate(wishes), key=lambda item: item[1].port == 0):
            family = socket.AF_INET6 if ":" in wish.host else socket.AF_INET
            taken = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                _bind(taken, wish)
            except OSError as busy:
                raise PortTaken(wish) from busy
            ports[index] = int(taken.getsockname()[1])
        return [ports[index] for index in range(len(wishes))]


def _bind(taken: socket.socket, wish: Wish) -> None:
    """Bind to the wish's port; for 0 to one that the system gives nobody for a connection of theirs, if there is one.

    A port is let go before its server takes it, and any process may connect to somewhere meanwhile.
    """
    if wish.port == 0:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # else two of ours could hold the same one
        for _ in range(TRIES):
            with suppress(OSError):
                taken.bind((wish.host, random.randint(*QUIET)))
                return
    taken.bind((wish.host, wish.port))
