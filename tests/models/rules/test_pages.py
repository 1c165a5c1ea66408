"""Which stretch of a list a reader asks for."""

from uuid import UUID

import pytest

from models.errors import Invalid
from models.rules import pages


def test_no_limit_and_zero_mean_fifty_chats() -> None:
    assert pages.chats(None, None, None) == pages.chats(0, 0, None) == pages.ChatPage(50, 0, None)
    assert pages.chats(7, 3, UUID(int=1)) == pages.ChatPage(7, 3, UUID(int=1))


@pytest.mark.parametrize("limit", [0, 201, -1])
def test_a_page_of_messages_has_1_to_200(limit: int) -> None:
    with pytest.raises(Invalid, match=r"Invalid limit parameter \(1-200\)\."):
        pages.messages(None, None, limit)


def test_only_after_id_alone_reads_forwards() -> None:
    assert pages.messages(None, 5, None).ascending
    assert not pages.messages(9, 5, None).ascending
    assert not pages.messages(9, None, None).ascending
    assert not pages.messages(None, None, None).ascending


def test_a_zero_cursor_is_a_cursor() -> None:
    assert pages.messages(None, 0, None).ascending
    assert pages.messages(None, 0, None).has_cursor
    assert not pages.messages(None, None, 1).has_cursor


@pytest.mark.parametrize(("before", "after"), [(5, 5), (4, 5), (0, 0)])
def test_crossed_cursors_are_refused(before: int, after: int) -> None:
    with pytest.raises(Invalid, match="after_id must be less than before_id"):
        pages.messages(before, after, None)
