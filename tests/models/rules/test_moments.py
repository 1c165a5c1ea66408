"""How a moment is written on the wire."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from models.rules.moments import rfc3339


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 5, 20, 10, tzinfo=UTC), "2026-05-20T10:00:00Z"),
        (datetime(2026, 5, 20, 10, 0, 0, 250000, tzinfo=UTC), "2026-05-20T10:00:00.25Z"),
        (datetime(2026, 5, 20, 10, 0, 0, 1, tzinfo=UTC), "2026-05-20T10:00:00.000001Z"),
        (datetime(2026, 5, 20, 10, 30, 10, tzinfo=timezone(timedelta(hours=2))), "2026-05-20T08:30:10Z"),
    ],
)
def test_moments_are_utc_without_trailing_zeros(moment: datetime, written: str) -> None:
    assert rfc3339(moment) == written
