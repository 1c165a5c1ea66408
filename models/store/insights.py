"""What the pull requests that came out of chats are, and what they cost (wire-api.md 2.18, admin.md 8.4).

One pull request is one address, however many chats know of it; what is told of it is what the newest of them knows.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

from models.parts import from_rest
from models.store.database import Row, fetch
from models.store.session import Session

MOST_RECENT = 20

_MOST = 2**63 - 1

# The window and the one just before it, in one reading. A chat below one of them counts with it, unless it has a pull
# request of its own.
_PULL_REQUESTS: LiteralString = """
    WITH linked AS MATERIALIZED (
        SELECT c.id, c.created_at AS chat_created_at, c.last_model_config_id, c.created_at >= %(start)s AS current,
            coalesce(nullif(d.url, ''), c.id::text) AS pull_request
        FROM chat_diff_statuses d JOIN chats c ON c.id = d.chat_id
        WHERE d.pull_request_state IS NOT NULL AND c.created_at >= %(before)s AND c.created_at < %(end)s),
    family AS (
        SELECT current, pull_request, id FROM linked
        UNION SELECT l.current, l.pull_request, k.id FROM linked l JOIN chats k ON k.parent_chat_id = l.id
        WHERE NOT EXISTS (
            SELECT FROM chat_diff_statuses o WHERE o.chat_id = k.id AND o.pull_request_state IS NOT NULL)),
    costs AS (
        SELECT f.current, f.pull_request, least(sum(m.total_cost_micros), 9223372036854775807)::bigint AS cost_micros
        FROM family f JOIN chat_messages m ON m.chat_id = f.id
        WHERE m.total_cost_micros IS NOT NULL GROUP BY f.current, f.pull_request),
    newest AS (
        SELECT DISTINCT ON (current, pull_request) * FROM linked
        ORDER BY current, pull_request, chat_created_at DESC, id DESC)
    SELECT d.*, n.current, n.chat_created_at, n.last_model_config_id AS model_config_id,
        coalesce(costs.cost_micros, 0) AS cost_micros,
        coalesce(nullif(k.display_name, ''), k.model, 'Unknown') AS display_name, coalesce(p.type, '') AS provider
    FROM newest n JOIN chat_diff_statuses d ON d.chat_id = n.id
        LEFT JOIN costs ON costs.current = n.current AND costs.pull_request = n.pull_request
        LEFT JOIN chat_model_configs k ON k.id = n.last_model_config_id
        LEFT JOIN ai_providers p ON p.id = k.ai_provider_id
    ORDER BY n.chat_created_at DESC, n.id DESC
"""


async def of_pull_requests(session: Session, start: datetime, end: datetime) -> dict[str, Any]:
    """PRInsightsResponse of the chats that were created from `start` to just before `end`."""
    rows = await fetch(session, _PULL_REQUESTS, {"before": _before(start, end), "start": start, "end": end})
    now = [row for row in rows if row["current"]]
    then = [row for row in rows if not row["current"]]
    return {
        "summary": _summary(now, then),
        "time_series": _by_day(now),
        "by_model": _by_model(now),
        "recent_prs": [_pull_request(row) for row in now[:MOST_RECENT]],
    }


def _before(start: datetime, end: datetime) -> datetime:
    """Where the window of equal length begins that ends at `start`."""
    try:
        return start - max(end - start, start - start)
    except OverflowError:
        return datetime(1, 1, 1, tzinfo=UTC)


def _summary(now: Sequence[Row], then: Sequence[Row]) -> dict[str, Any]:
    told, before = _totals(now), _totals(then)
    return {
        "total_prs_created": told["total_prs"],
        "total_prs_merged": told["merged_prs"],
        "merge_rate": told["merge_rate"],
        "total_additions": told["total_additions"],
        "total_deletions": told["total_deletions"],
        "total_cost_micros": told["total_cost_micros"],
        "cost_per_merged_pr_micros": told["cost_per_merged_pr_micros"],
        "approval_rate": 0,
        "prev_total_prs_created": before["total_prs"],
        "prev_total_prs_merged": before["merged_prs"],
        "prev_merge_rate": before["merge_rate"],
        "prev_cost_per_merged_pr_micros": before["cost_per_merged_pr_micros"],
    }


def _totals(rows: Sequence[Row]) -> dict[str, Any]:
    merged = [row for row in rows if row["pull_request_state"] == "merged"]
    return {
        "total_prs": len(rows),
        "merged_prs": len(merged),
        "merge_rate": len(merged) / len(rows) if rows else 0,
        "total_additions": sum(row["additions"] for row in rows),
        "total_deletions": sum(row["deletions"] for row in rows),
        "total_cost_micros": _cost(rows),
        "cost_per_merged_pr_micros": _cost(merged) // len(merged) if merged else 0,
    }


def _cost(rows: Iterable[Row]) -> int:
    """What they cost; what the wire cannot carry is the most it can."""
    return min(sum(int(row["cost_micros"]) for row in rows), _MOST)


def _by_day(rows: Sequence[Row]) -> list[dict[str, Any]]:
    days: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        days[row["chat_created_at"].astimezone(UTC).date().isoformat()].append(row["pull_request_state"])
    return [
        {
            "date": day,
            "prs_created": len(states),
            "prs_merged": states.count("merged"),
            "prs_closed": states.count("closed"),
        }
        for day, states in sorted(days.items())
    ]


def _by_model(rows: Sequence[Row]) -> list[dict[str, Any]]:
    models: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        models[row["model_config_id"]].append(row)
    told = [
        {**{key: of[0][key] for key in ("model_config_id", "display_name", "provider")}, **_totals(of)}
        for of in models.values()
    ]
    return sorted(told, key=lambda each: (-each["total_prs"], each["display_name"], str(each["model_config_id"])))


def _pull_request(row: Row) -> dict[str, Any]:
    optional = {
        "pr_url": row["url"] or None,
        "pr_number": row["pr_number"],
        "commits": row["commits"],
        "approved": row["approved"],
        "reviewer_count": row["reviewer_count"],
        "author_login": row["author_login"],
        "author_avatar_url": row["author_avatar_url"],
    }
    shown = {
        "chat_id": row["chat_id"],
        "pr_title": row["pull_request_title"],
        **{key: value for key, value in optional.items() if value is not None},
        "state": row["pull_request_state"],
        "draft": row["pull_request_draft"],
        "additions": row["additions"],
        "deletions": row["deletions"],
        "changed_files": row["changed_files"],
        "changes_requested": row["changes_requested"],
        "base_branch": row["base_branch"] or "",
        "model_display_name": row["display_name"],
        "cost_micros": row["cost_micros"],
        "created_at": row["chat_created_at"],
    }
    return {key: from_rest(value) for key, value in shown.items()}
