"""`ETag`, `If-None-Match` and `If-Match` of settings: what did not change is not sent, what did is not overwritten.

A setting's tag is a digest of what its GET answers, so it changes with whatever is shown there, whoever changed it.
Writers of one setting go one after the other: of two who have seen the same, the second is told that it is no more so.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Header
from starlette.responses import Response

from api.answers import answer
from models.errors import Stale
from models.store import deeds, preferences
from models.store.session import Session

Shown = Callable[[Session], Awaitable[Mapping[str, Any]]]
"""Reads what the GET of a setting answers."""

TAGGED: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"ETag": {"description": "Names this state of the setting.", "schema": {"type": "string"}}}},
    304: {"description": "The caller has it already: its ETag is one of If-None-Match."},
}
"""OpenAPI's `responses` of a GET whose answer has a tag."""


class Copy:
    """What the caller has of a setting already, if they say so."""

    def __init__(self, tags: str | None) -> None:
        self._tags = tags

    def answer(self, content: Mapping[str, Any]) -> Response:
        """The setting and its tag, or 304 and the tag alone."""
        response = answer(content)
        tag = _tag(response)
        if _names(self._tags, tag, weakly=True):
            return Response(status_code=304, headers={"ETag": tag})
        response.headers["ETag"] = tag
        return response


class Expectation:
    """The state in which the caller wants to change a setting; without one, any."""

    def __init__(self, tags: str | None) -> None:
        self._tags = tags

    async def hold(self, session: Session, setting: str, shown: Shown) -> None:
        """Keep others from changing the setting until the transaction ends; raises Stale if it is not as expected."""
        await preferences.hold(session, setting)
        try:
            now = await shown(session)
        except ValueError:  # what is stored makes no sense: who expects nothing may put it right
            if self._tags is not None:
                raise
            return
        if (kind := deeds.current().kind) is not None and kind.about:
            deeds.was(now)
        if self._tags is None:
            return
        tag = _tag(answer(now))
        if not _names(self._tags, tag):
            raise Stale(tag)

    def require(self, now: str | None) -> None:
        """Raises Stale unless what is there has one of the tags expected; None: there is nothing."""
        if self._tags is not None and (now is None or not _names(self._tags, now)):
            raise Stale(now or "none")


def tag_of(content: Mapping[str, Any]) -> str:
    """The tag of what is shown."""
    return _tag(answer(content))


def _tag(response: Response) -> str:
    return f'"{hashlib.sha256(bytes(response.body)).hexdigest()[:32]}"'


def _names(tags: str | None, tag: str, *, weakly: bool = False) -> bool:
    """Is the tag among these? Our tags hold no commas, so the list can be cut at them."""
    named = [each.strip() for each in (tags or "").split(",")]
    return "*" in named or tag in named or (weakly and f"W/{tag}" in named)


IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", description="ETags that the caller has; 304 if it is one of them.")
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The ETag of the GET that shows the setting: if it is another by now, nothing is changed (412).",
    ),
]


async def _copy(tags: IfNoneMatch = None) -> Copy:
    return Copy(tags)


async def _expectation(tags: IfMatch = None) -> Expectation:
    return Expectation(tags)


Kept = Annotated[Copy, Depends(_copy)]
Expected = Annotated[Expectation, Depends(_expectation)]
