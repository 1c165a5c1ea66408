"""The laws of the retention settings on the wire."""

from typing import Any

import pytest

from tests.api.conftest import Person
from tests.api.talk import CHATS

SETTINGS = [
    ("retention-days", "retention_days", 30, "Retention days"),
    ("debug-retention-days", "debug_retention_days", 30, "Chat debug retention days"),
    ("auto-archive-days", "auto_archive_days", 0, "Auto-archive days"),
]


@pytest.mark.parametrize(("path", "field", "default", "_what"), SETTINGS)
async def test_everybody_may_know_and_administrators_decide(
    owner: Person, outsider: Person, path: str, field: str, default: int, _what: str
) -> None:
    url = f"{CHATS}/config/{path}"
    assert (await outsider.client.get(url)).json() == {field: default}
    assert (await outsider.client.put(url, json={field: 7})).status_code == 403
    for days in (7, 0, 3650):
        assert (await owner.client.put(url, json={field: days})).status_code == 204
        assert (await outsider.client.get(url)).json() == {field: days}


@pytest.mark.parametrize(("path", "field", "_default", "what"), SETTINGS)
@pytest.mark.parametrize("days", [-1, 3651, 2**40])
async def test_days_out_of_range_are_refused(
    owner: Person, path: str, field: str, _default: int, what: str, days: Any
) -> None:
    refused = await owner.client.put(f"{CHATS}/config/{path}", json={field: days})
    assert (refused.status_code, refused.json()) == (400, {"message": f"{what} must be between 0 and 3650."})
