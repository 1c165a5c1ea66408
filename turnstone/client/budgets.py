"""`client.budgets`: what an organization, its groups, members and chats may spend, and how far they are."""

from collections.abc import Sequence
from datetime import datetime

from turnstone.client.asking import fetched, given, query, word
from turnstone.client.methods import D, Resource, method
from turnstone.client.objects import NEVER, Object, listed
from turnstone.client.steps import Program, Request


class Budget(Object):
    """What may be spent at most, and how far that is; amounts are micro-dollars.

    `scope` is organization, group, user or chat, `period` day, week, month or total. `settled_micros` is what calls
    have cost, `reserved_micros` what those under way may cost at most.
    """

    id: str = ""
    organization_id: str = ""
    scope: str = ""
    scope_id: str = ""
    scope_name: str | None = None
    limit_micros: int = 0
    period: str = ""
    warn_percents: tuple[int, ...] = ()
    settled_micros: int = 0
    estimated_micros: int = 0
    reserved_micros: int = 0
    overrun_micros: int = 0
    remaining_micros: int = 0
    period_start: datetime | None = None
    period_end: datetime | None = None
    created_at: datetime = NEVER
    updated_at: datetime = NEVER
    etag: str = ""


Found = list[Budget]  # in the class below `list` is its method


class Budgets(Resource[D]):
    """`client.budgets` (organization admins; `status` is anybody's own)."""

    @method
    def status(self) -> Program[Found]:
        """Those that count what oneself spends."""
        return listed(Budget, (yield from fetched(self._service, Request("GET", "/api/v2/budgets/status"))))

    @method
    def list(self, organization: str) -> Program[Found]:
        """All of an organization, the widest first."""
        return listed(Budget, (yield from fetched(self._service, Request("GET", _of(organization)))))

    @method
    def everywhere(self, *, limit: int | None = None, offset: int | None = None) -> Program[Found]:
        """Those of all organizations, for who may read the deployment's settings; 200 at once unless said."""
        request = Request("GET", "/api/v2/budgets", query=query(limit=limit, offset=offset))
        return listed(Budget, (yield from fetched(self._service, request)))

    @method
    def get(self, organization: str, scope: str, scope_id: str) -> Program[Budget]:
        """One budget."""
        request = Request("GET", f"{_of(organization)}/{word(scope)}/{word(scope_id)}")
        return Budget.read((yield from fetched(self._service, request)))

    @method
    def set(
        self,
        organization: str,
        scope: str,
        scope_id: str,
        limit_micros: int,
        *,
        period: str | None = None,
        warn_percents: Sequence[int] | None = None,
        seen: Budget | None = None,
    ) -> Program[Budget]:
        """What may be spent at most on the organization's chats, by whom or in which family of chats.

        With `seen` only if it still allows the same, else it raises PreconditionFailed.
        """
        percents = None if warn_percents is None else [*warn_percents]
        body = {"limit_micros": limit_micros, **given(period=period, warn_percents=percents)}
        request = Request("PUT", f"{_of(organization)}/{word(scope)}/{word(scope_id)}", json=body, headers=_if(seen))
        return Budget.read((yield from fetched(self._service, request)))

    @method
    def delete(self, organization: str, scope: str, scope_id: str, *, seen: Budget | None = None) -> Program[None]:
        """Take a budget away; the others still hold. `seen` as for `set`."""
        where = f"{_of(organization)}/{word(scope)}/{word(scope_id)}"
        yield from fetched(self._service, Request("DELETE", where, headers=_if(seen)))


def _if(seen: Budget | None) -> dict[str, str]:
    return {} if seen is None else {"If-Match": seen.etag}


def _of(organization: str) -> str:
    return f"/api/v2/organizations/{word(organization)}/budgets"
