"""Counts the round trips that a database's connections make, from libpq's own trace of the protocol."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.pq import Trace
from sqlalchemy import event

from models.store.database import Database


class Trips:
    """`count` is known when the block has ended."""

    count = 0


@contextmanager
def trips(database: Database) -> Iterator[Trips]:
    """Count the waits for an answer of every pooled connection that is used inside the block."""
    counted = Trips()
    engine = database._engine.sync_engine
    with tempfile.TemporaryFile("w+") as log:
        traced: list[Any] = []

        def checkout(connection: Any, _record: object, _proxy: object) -> None:
            protocol = connection.driver_connection.pgconn
            if protocol not in traced:
                protocol.trace(log.fileno())
                protocol.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
                traced.append(protocol)

        event.listen(engine, "checkout", checkout)
        try:
            yield counted
        finally:
            event.remove(engine, "checkout", checkout)
            for protocol in traced:
                protocol.untrace()
        log.seek(0)
        # A client waits once for each simple query and for each Sync; a pipeline has one Sync.
        sent = [line.split("\t")[2].strip() for line in log if line.startswith("F\t")]
        counted.count = sent.count("Query") + sent.count("Sync")
