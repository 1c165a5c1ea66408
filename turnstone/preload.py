"""What our processes have in common is loaded once, by one that forks the others: they share its memory."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from turnstone.processes import leave_after, tie_to

LOOK_PATIENCE = 2.0  # seconds for a look into a database that should be there


@contextmanager
def loading() -> Iterator[None]:
    """Import without looking for garbage: what modules make stays, and the search is a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def load(role: str) -> None:
    """Import all that a process of this role imports."""
    with loading():
        _main_of(role)


def has_providers() -> bool:
    """Whether the part that speaks to providers is loaded."""
    return "activities.providers.litellm" in sys.modules


def load_providers(patience: float = LOOK_PATIENCE) -> None:
    """Load what the providers in the database need.

    A child looks which those are: who is going to fork must hold no connection and no thread.
    """
    if kinds := _seen_by_a_child(patience):
        with loading():
            from activities.providers.litellm import warm_up

            for kind in kinds:
                warm_up(kind)


def settle() -> None:
    """Make what is loaded fit to be shared: garbage is gone, and no collection writes into the rest."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)
    gc.freeze()


def fork(run: Callable[[], int | None]) -> int:
    """Fork a child that runs this and ends; the child's process id. Only for a process without other threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        tie_to(parent)
        leave_after(run)
    return pid


def become(role: str, ready: str | None, **own: object) -> NoReturn:
    """Be a process of this role until told to stop; `own` are the settings in which it differs from its siblings."""
    from models.settings import load_settings
    from turnstone import logs

    settings = load_settings().model_copy(update=own)
    logs.configure(settings.log_level, settings.log_format)
    _main_of(role)(settings, ready=ready)
    raise AssertionError("a role does not return")


def _main_of(role: str) -> Callable[..., None]:
    if role == "api":
        from api.serve import main as api

        return api
    from activities.serve import main as worker

    return worker


def _seen_by_a_child(patience: float) -> list[str]:
    """The types of providers in the database, known ones; none if it does not answer."""
    reading, writing = os.pipe()
    pid = fork(lambda: _look(writing, patience))
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read().split()
    os.waitpid(pid, 0)
    return told


def _look(writing: int, patience: float) -> None:
    from activities.providers.options import PROVIDERS
    from models.settings import load_settings

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, patience + 2)  # whatever it waits for
    kinds = asyncio.run(_provider_types(load_settings().database_url, patience))
    os.write(writing, " ".join(sorted(kinds & PROVIDERS.keys())).encode())


async def _provider_types(database_url: str, patience: float) -> set[str]:
    from activities.patience import AWAY
    from models.store import catalog
    from models.store.database import Database

    database = Database(database_url, 1)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while True:
                with contextlib.suppress(*AWAY):
                    async with database.read() as session:
                        return set(await catalog.provider_types(session))
                await asyncio.sleep(0.1)
    return set()
