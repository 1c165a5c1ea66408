"""`client.costs`, `.limits`, `.insights`: what was spent, what may be, and what came of it. Money is micro-dollars."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from turnstone.client.asking import fetched, given, path, query
from turnstone.client.methods import D, Resource, emits, loop, method
from turnstone.client.objects import NEVER, Object
from turnstone.client.steps import Emit, Program, Request

PAGE = 100
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Spent(Object):
    """Tokens, time and money."""

    message_count: int = 0
    total_cost_micros: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    total_cache_read_tokens: int = 0
    total_cache_creation_tokens: int = 0
    total_runtime_ms: int = 0


class SpentOnModel(Spent):
    """What a model cost."""

    model_config_id: str = ""
    display_name: str = ""
    provider: str = ""
    model: str = ""


class SpentOnChat(Spent):
    """What a chat and those below it cost."""

    root_chat_id: str = ""
    chat_title: str = ""


class SpentByPerson(Spent):
    """What a person spent, in how many chats."""

    user_id: str = ""
    username: str = ""
    name: str = ""
    avatar_url: str = ""
    chat_count: int = 0


class LimitStatus(Object):
    """What the caller has spent in this period, and may: `spend_limit_micros` None is as much as they like."""

    is_limited: bool = False
    period: str | None = None
    spend_limit_micros: int | None = None
    current_spend: int = 0
    period_start: datetime = NEVER
    period_end: datetime = NEVER


class CostSummary(Spent):
    """What a person spent from `start_date` to just before `end_date`."""

    start_date: datetime = NEVER
    end_date: datetime = NEVER
    priced_message_count: int = 0
    unpriced_message_count: int = 0
    by_model: tuple[SpentOnModel, ...] = ()
    by_chat: tuple[SpentOnChat, ...] = ()
    usage_limit: LimitStatus | None = None


class PageOfPeople(Object):
    """Some of those who spent something, dearest first."""

    count: int = 0
    users: tuple[SpentByPerson, ...] = ()


class UserLimit(Object):
    """What one person may spend, instead of what everybody may."""

    user_id: str = ""
    username: str = ""
    name: str = ""
    avatar_url: str = ""
    spend_limit_micros: int = 0


class GroupLimit(Object):
    """What each member of a group may spend."""

    group_id: str = ""
    group_name: str = ""
    group_display_name: str = ""
    group_avatar_url: str = ""
    member_count: int = 0
    spend_limit_micros: int = 0


class UsageLimits(Object):
    """What everybody may spend in a period, and who may more or less; None is no limit."""

    spend_limit_micros: int | None = None
    period: str = ""
    updated_at: datetime = NEVER
    unpriced_model_count: int = 0
    overrides: tuple[UserLimit, ...] = ()
    group_overrides: tuple[GroupLimit, ...] = ()


class PullRequestInsights(Object):
    """What chats did to pull requests."""

    summary: Mapping[str, Any] = _NOTHING
    time_series: tuple[Mapping[str, Any], ...] = ()
    by_model: tuple[Mapping[str, Any], ...] = ()
    recent_prs: tuple[Mapping[str, Any], ...] = ()


class Costs(Resource[D]):
    """`client.costs`; a period is the last 30 days unless `start` and `end` (with a time zone) say otherwise."""

    @method
    def summary(
        self, *, user: str = "me", start: datetime | None = None, end: datetime | None = None
    ) -> Program[CostSummary]:
        """What one spent, by model and by chat; somebody else for owners of the deployment."""
        asked = Request("GET", path("cost", user, "summary"), _period(start, end))
        return CostSummary.read((yield from fetched(self._service, asked)))

    @loop
    def people(
        self, *, username: str | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> emits[SpentByPerson]:
        """Everybody who spent something, dearest first, page after page (owners); `username` is part of a name."""

        def pages() -> Program[None]:
            offset = 0
            while True:
                asked = [*_period(start, end), *query(username=username, limit=PAGE, offset=offset)]
                found = yield from fetched(self._service, Request("GET", path("cost", "users"), asked))
                page = PageOfPeople.read(found)
                for person in page.users:
                    yield Emit(person)
                offset += len(page.users)
                if not page.users or offset >= page.count:
                    return

        return emits(pages())


class Limits(Resource[D]):
    """`client.limits`: what may be spent (administrators; `status` is anybody's own)."""

    @method
    def status(self) -> Program[LimitStatus]:
        """What one has spent, and may, in this period."""
        return LimitStatus.read((yield from fetched(self._service, Request("GET", path("usage-limits", "status")))))

    @method
    def get(self) -> Program[UsageLimits]:
        """The limit of everybody, of groups and of people."""
        return UsageLimits.read((yield from fetched(self._service, Request("GET", path("usage-limits")))))

    @method
    def set(self, spend_limit_micros: int | None, *, period: str | None = None) -> Program[UsageLimits]:
        """What everybody may spend each day, week or month; None ends the limit."""
        body = {"spend_limit_micros": spend_limit_micros, **given(period=period)}
        return UsageLimits.read((yield from fetched(self._service, Request("PUT", path("usage-limits"), json=body))))

    @method
    def set_user(self, user_id: str, spend_limit_micros: int) -> Program[UserLimit]:
        """What this person may spend instead."""
        return UserLimit.read((yield from fetched(self._service, _override("overrides", user_id, spend_limit_micros))))

    @method
    def clear_user(self, user_id: str) -> Program[None]:
        """Let the other limits hold for this person."""
        yield from fetched(self._service, Request("DELETE", path("usage-limits", "overrides", user_id)))

    @method
    def set_group(self, group_id: str, spend_limit_micros: int) -> Program[GroupLimit]:
        """What each member of this group may spend."""
        request = _override("group-overrides", group_id, spend_limit_micros)
        return GroupLimit.read((yield from fetched(self._service, request)))

    @method
    def clear_group(self, group_id: str) -> Program[None]:
        """Let the other limits hold for its members."""
        yield from fetched(self._service, Request("DELETE", path("usage-limits", "group-overrides", group_id)))


class Insights(Resource[D]):
    """`client.insights`."""

    @method
    def pull_requests(
        self, *, start: datetime | None = None, end: datetime | None = None
    ) -> Program[PullRequestInsights]:
        """What came of pull requests, of chats created in a period (owners)."""
        asked = Request("GET", path("insights", "pull-requests"), _period(start, end))
        return PullRequestInsights.read((yield from fetched(self._service, asked)))


def _period(start: datetime | None, end: datetime | None) -> list[tuple[str, str]]:
    moments = {"start_date": start, "end_date": end}
    return query(**{name: None if moment is None else moment.isoformat() for name, moment in moments.items()})


def _override(kind: str, name: str, spend_limit_micros: int) -> Request:
    return Request("PUT", path("usage-limits", kind, name), json={"spend_limit_micros": spend_limit_micros})
