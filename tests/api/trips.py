"""Counts the round trips that a database's connections make, from libpq's own trace of the protocol."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.pq import Trace

from models.store.database import Database


class Trips:
    """`count` is known when the block has ended."""

    count = 0


@contextmanager
def trips(database: Database) -> Iterator[Trips]:
    """Count the waits for an answer of every pooled connection; those used inside the block are open before it."""
    counted = Trips()
    with tempfile.TemporaryFile("w+") as log:
        traced = [connection._pq for connection in database.pool._idle]
        assert traced
        for protocol in traced:
            protocol.trace(log.fileno())
            protocol.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        try:
            yield counted
        finally:
            for protocol in traced:
                protocol.untrace()
        log.seek(0)
        # A client waits once for each simple query and for each Sync; a pipeline has one Sync.
        sent = [line.split("\t")[2].strip() for line in log if line.startswith("F\t")]
        counted.count = sent.count("Query") + sent.count("Sync")
