"""Who and what the wire suite asks: one application with people in it, whose every answer the old client reads.

`World.ask` makes a request; `refused` says that an answer is a documented refusal, whole and exact.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from models.store import moves
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.contracts.wire import reading

NOWHERE = "6b1d7a52-3c1f-4a7e-9f2d-0d3f5a9c8e11"
NO_ID = "00000000-0000-0000-0000-000000000000"
NOT_FOUND = "Resource not found or you do not have access to this resource"
FORBIDDEN_DETAIL = (
    "You don't have permission to view this content. If you believe this is a mistake, please contact your "
    "administrator or try signing in with different credentials."
)
BAD_QUERY = "Query parameters have invalid values."
BAD_JSON = "Request body must be valid JSON."
ANY = "*"
"""A detail or list of validations that the document does not word."""


@dataclass(frozen=True)
class World:
    """The application and its people; `talk` speaks as the member."""

    api: Api
    owner: Person  # of the deployment
    boss: Person  # an organization admin
    auditor: Person
    member: Person
    other: Person  # another member with agents-access
    outsider: Person  # in the organization, without any role

    @property
    def talk(self) -> Talk:
        return Talk(self.api, self.member)

    @property
    def organization(self) -> str:
        return str(self.api.organization_id)

    async def ask(self, method: str, path: str, body: Any = None, *, by: Person | None = None, **more: Any) -> Any:
        """A request of the member's, or of somebody else's; paths are relative to the chats' prefix."""
        if body is not None:
            more["json"] = body
        address = path if path.startswith("/api/") else CHATS + path
        return await (by or self.member).client.request(method, address, **more)

    async def model(self) -> str:
        """The id of the default model config."""
        found = await self.ask("GET", "/model-configs", by=self.owner)
        return next(str(each["id"]) for each in found.json() if each["is_default"])

    async def commit(self, chat: UUID, *rows: StepRow) -> None:
        """A worker opens an attempt and commits these rows."""
        fence = await self.talk.begin(chat)
        async with self.api.resources.database.begin() as session:
            await moves.commit_step(session, fence, list(rows))

    async def newcomer(self, name: str) -> Talk:
        """Somebody with no chats yet."""
        person = await self.api.person(name, org_roles=("agents-access",))
        person.client.event_hooks = {"response": [reading.hook]}
        return Talk(self.api, person)

    async def adopt(self, root: UUID, child: UUID) -> None:
        """Make a chat a sub-agent's chat of another."""
        async with self.api.resources.database.begin() as session:
            await fetch(
                session,
                "UPDATE chats SET parent_chat_id = %(root)s, root_chat_id = %(root)s WHERE id = %(child)s",
                {"root": root, "child": child},
            )

    async def family(self, talk: Talk | None = None) -> tuple[UUID, UUID]:
        """A root chat and its child."""
        speaker = talk or self.talk
        root, child = await speaker.start("root"), await speaker.start("child")
        await self.adopt(root, child)
        return root, child

    async def upload(self, data: bytes = b"words", name: str = "notes.txt", kind: str = "text/plain") -> str:
        """A file of the member's; its id."""
        headers = {"Content-Type": kind, "Content-Disposition": f'attachment; filename="{name}"'}
        query = {"organization": self.organization}
        made = await self.ask("POST", "/files", params=query, content=data, headers=headers)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def new(self, **change: Any) -> dict[str, Any]:
        """A body that creates a chat, with these changes."""
        return {"organization_id": self.organization, "content": said("hello there"), **change}


async def inhabited(api: Api, owner: Person) -> World:
    """The world, its clients reading every answer as the reference client does."""
    agents = ("agents-access",)
    world = World(
        api,
        owner,
        boss=await api.person("boss", org_roles=("organization-admin",)),
        auditor=await api.person("auditor", site_roles=("auditor",)),
        member=await api.person("member", org_roles=agents),
        other=await api.person("other", org_roles=agents),
        outsider=await api.person("outsider"),
    )
    for person in (world.owner, world.boss, world.auditor, world.member, world.other, world.outsider):
        person.client.event_hooks = {"response": [reading.hook]}
    api.stranger.event_hooks = {"response": [reading.hook]}
    return world


def refused(
    response: httpx.Response,
    status: int,
    message: str,
    detail: str | None = None,
    validations: list[tuple[str, str]] | str | None = None,
) -> None:
    """The answer is this refusal, with nothing missing and nothing added."""
    body = response.json()
    said = (response.status_code, body["message"])
    assert said == (status, message), f"{said} {body}"
    if detail == ANY:
        assert body["detail"]
    else:
        assert body.get("detail") == detail
    if validations == ANY:
        assert body["validations"]
    else:
        expected = [{"field": field, "detail": text} for field, text in validations or ()]
        assert body.get("validations", []) == expected


def not_found(response: httpx.Response) -> None:
    refused(response, 404, NOT_FOUND)


def forbidden(response: httpx.Response) -> None:
    refused(response, 403, "Forbidden.", FORBIDDEN_DETAIL)
