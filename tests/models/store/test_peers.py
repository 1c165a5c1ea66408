"""Workers are there as long as they say so."""

from uuid import uuid4

from models.store.notices import WorkerNotice
from models.store.peers import SILENCE, Peers

ONE, OTHER = uuid4(), uuid4()


def test_a_worker_is_there_until_it_is_silent_or_says_goodbye() -> None:
    now = 100.0
    peers = Peers(lambda: now)
    assert peers.hear(WorkerNotice(ONE, room=True))
    assert peers.hear(WorkerNotice(OTHER, room=True))
    assert not peers.hear(WorkerNotice(OTHER, room=False))
    assert peers.living() == {ONE, OTHER}
    assert peers.with_room() == [ONE]
    assert not peers.hear(WorkerNotice(OTHER, room=False, gone=True))
    assert peers.living() == {ONE}
    now += SILENCE
    assert peers.living() == {ONE}
    now += 0.001
    assert peers.living() == set()
    assert peers.with_room() == []
