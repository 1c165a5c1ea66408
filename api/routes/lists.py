"""Lists of chats: one's own, with those that are shared, as a search asks for them; and the chats of workspaces."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.responses import Response

from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.parameters import Absent, Count
from api.requests import Router
from api.resources import Opened
from api.schemas.chats import Chat
from models.errors import Invalid
from models.rules import labels, pages, search
from models.store import chats, listing

router = Router(tags=["chats"])

MOST_WORKSPACES = 25

Q = """\
Terms `key:value`, all of which must hold; a value with a space or a colon is put in double quotes.

* `title:` part of the title; `%` and `_` stand for anything
* `archived:` true, false (default) or any
* `has_unread:` true or false
* `status:` waiting, pending, running, interrupting, requires_action, error; several with commas
* `source:` created_by_me (default), shared_with_me; both with a comma
* `search:` words, all of which one message says; the chats that answer best come first
* `pr_status:` draft, open, merged, closed, none; several with commas
* `pr:` number of the pull request
* `pr_title:` part of its title
* `repo:` part of the remote or the pull request's address
* `diff_url:` address of the pull request, of the chat or one below it
"""


@router.get("", response_model=list[Chat], responses=raises(Invalid), summary="List chats")
async def list_chats(
    caller: Caller,
    resources: Opened,
    q: Annotated[
        str,
        Query(
            description=Q,
            openapi_examples={
                "words": {"value": 'search:"deadlock mutex" archived:any'},
                "pull requests": {"value": "pr_status:open,draft repo:acme/site"},
            },
        ),
    ] = "",
    label: Annotated[list[str] | None, Query(description="`key:value`; each one given must match.")] = None,
    limit: Annotated[Count, Query(description="0 means 50.")] = None,
    offset: Annotated[Count, Query()] = None,
    after_id: Annotated[UUID | None, Absent, Query(description="The last chat of the page before.")] = None,
) -> Response:
    """Root chats, one's own that are not archived unless `q` says otherwise: pinned ones first, then the newest.

    Each comes with its sub-agent chats, and in a `search:` with a message that says it. A search ranks the first 50
    chats that say it: those whose title says all the words, then those that say them side by side, then those that say
    them more often and in shorter messages; of equal ones the first of the list. The others follow in the list's order.
    """
    asked = search.parse(q)
    wanted = labels.wanted(label or ())
    page = pages.chats(limit, offset, after_id)
    async with resources.database.read() as session:
        found = await listing.list_for(session, caller, page, asked, labels=wanted)
    return answer([chats.as_seen(caller, chat) for chat in found])


@router.get(
    "/by-workspace",
    response_model=dict[UUID, UUID],
    responses=raises(Invalid),
    summary="Find the chats of workspaces",
)
async def list_chats_by_workspace(
    caller: Caller,
    resources: Opened,
    workspace_ids: Annotated[str, Query(description="Up to 25, with commas.")] = "",
) -> Response:
    """Of each workspace the chat that was used last; those without one that the caller sees are left out."""
    named = workspace_ids.split(",") if workspace_ids else []
    if len(named) > MOST_WORKSPACES:
        raise Invalid(f"Too many workspace IDs, maximum is {MOST_WORKSPACES}.")
    wanted = [_workspace(each.strip()) for each in named]
    if not wanted:
        return answer({})
    async with resources.database.read() as session:
        found = await chats.of_workspaces(session, caller, wanted)
    return answer({str(workspace): chat for workspace, chat in found.items()})


def _workspace(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as wrong:
        raise Invalid(f'Invalid workspace ID "{text}": {wrong}') from wrong
