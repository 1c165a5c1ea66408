"""The workers there are, by their own signs of life: who may begin an answer, and who is gone."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from models.store.notices import WorkerNotice

SILENCE = 3.0  # seconds after which a worker that says nothing counts as dead


@dataclass(slots=True)
class _Peer:
    room: bool
    heard: float


class Peers:
    """The workers that were heard of lately; what one process knows of them."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._peers: dict[UUID, _Peer] = {}

    def hear(self, notice: WorkerNotice) -> bool:
        """A worker is there, or gone. Is it one that was not known?"""
        known = self._peers.pop(notice.worker, None) is not None
        if not notice.gone:
            self._peers[notice.worker] = _Peer(notice.room, self._clock())
        return not known and not notice.gone

    def living(self) -> set[UUID]:
        """Those that spoke within the last three seconds."""
        since = self._clock() - SILENCE
        for worker in [worker for worker, peer in self._peers.items() if peer.heard < since]:
            del self._peers[worker]
        return set(self._peers)

    def with_room(self) -> list[UUID]:
        """Those of them that may begin an answer."""
        return [worker for worker in self.living() if self._peers[worker].room]
