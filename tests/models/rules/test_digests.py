"""What an owner reads of chats that were archived for their age."""

from datetime import UTC, datetime, timedelta

import pytest

from models.rules import digests
from models.rules.digests import Archived

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=6), "6 days ago"),
        (timedelta(days=8), "1 week ago"),
        (timedelta(days=95), "3 months ago"),
        (timedelta(days=800), "2 years ago"),
    ],
)
def test_an_age_is_told_in_its_largest_whole_unit(age: timedelta, words: str) -> None:
    assert digests.ago(age) == words


def chats(count: int) -> list[Archived]:
    return [Archived(f"chat {number}", NOW - timedelta(days=91)) for number in range(count)]


def test_a_digest_names_25_chats_and_counts_the_rest() -> None:
    told = digests.details(chats(25), 40, NOW, auto_archive_days=90, retention_days=30)
    assert len(told["archived_chats"]) == 25
    assert told["archived_chats"][0] == {"title": "chat 0", "last_activity_humanized": "3 months ago"}
    assert (told["additional_archived_count"], told["auto_archive_days"], told["retention_days"]) == ("15", "90", "30")
    assert "and 15 more" in digests.content(told)


def test_a_digest_of_few_counts_no_others() -> None:
    told = digests.details(chats(2), 2, NOW, auto_archive_days=1, retention_days=30)
    assert "additional_archived_count" not in told
    assert digests.content(told).startswith("These chats were archived after 1 day without activity:")


def test_a_digest_warns_of_deletion_where_chats_are_deleted() -> None:
    kept = digests.content(digests.details(chats(1), 1, NOW, auto_archive_days=9, retention_days=0))
    gone = digests.content(digests.details(chats(1), 1, NOW, auto_archive_days=9, retention_days=30))
    assert "deleted" not in kept
    assert "deleted after 30 days" in gone
