"""What is said in builds, line by line."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from models.parts import to_rest
from models.store.builds import changed
from models.store.database import Row, fetch
from models.store.session import Session

LONGEST_LINE = 8192
MOST_LINES = 20_000  # of one build


async def write(session: Session, build_id: UUID, lines: Sequence[tuple[str, str, str]]) -> None:
    """Add lines (level, stage, output) to the build's log."""
    rows = await fetch(
        session,
        """
        INSERT INTO workspace_build_logs (build_id, level, stage, output)
        SELECT b.id, l.level, l.stage, l.output
        FROM workspace_builds b,
            unnest(%(levels)s::text[], %(stages)s::text[], %(outputs)s::text[]) WITH ORDINALITY
                AS l(level, stage, output, place)
        WHERE b.id = %(id)s ORDER BY l.place RETURNING (SELECT workspace_id FROM workspace_builds WHERE id = %(id)s)
        """,
        {
            "id": build_id,
            "levels": [level for level, _, _ in lines],
            "stages": [to_rest(stage) for _, stage, _ in lines],
            "outputs": [to_rest(output[:LONGEST_LINE].replace("\0", "\ufffd")) for _, _, output in lines],
        },
    )
    if rows:
        changed(session, rows[0]["workspace_id"])


async def read(session: Session, build_id: UUID, *, after: int = 0, before: int = 0, limit: int = 1000) -> list[Row]:
    """The build's log, oldest first."""
    return await fetch(
        session,
        """SELECT id, created_at, level, stage, output FROM workspace_build_logs
           WHERE build_id = %(id)s AND id > %(after)s AND (%(before)s = 0 OR id < %(before)s)
           ORDER BY id LIMIT %(limit)s""",
        {"id": build_id, "after": after, "before": before, "limit": limit},
    )


async def purge(session: Session, age: timedelta, batch: int = 5000) -> int:
    """Forget what was said long ago in builds that are not their workspace's latest; how many lines."""
    rows = await fetch(
        session,
        """
        DELETE FROM workspace_build_logs WHERE id IN (
            SELECT l.id FROM workspace_build_logs l JOIN workspace_builds b ON b.id = l.build_id
            WHERE l.created_at < now() - %(age)s::interval AND b.completed_at IS NOT NULL AND EXISTS (
                SELECT FROM workspace_builds later
                WHERE later.workspace_id = b.workspace_id AND later.build_number > b.build_number)
            LIMIT %(batch)s)
        RETURNING id
        """,
        {"age": age, "batch": batch},
    )
    return len(rows)
