"""What agents name as people do, found by id: organizations, models, templates, presets, workspaces."""

from typing import Any
from uuid import UUID

from api.mcp_server.inside import Refused, step
from api.mcp_server.tool import Call

V2 = "/api/v2"
MOST_NAMED = 50


def as_id(word: str) -> str:
    """The word, if it is an id; else nothing."""
    try:
        return str(UUID(word))
    except ValueError:
        return ""


async def organization(call: Call, word: str) -> str:
    """The id of an organization; without a word that of the caller's only one."""
    if word:
        return as_id(word) or str((await call.inside.get(f"{V2}/organizations/{step(word)}"))["id"])
    own = [*call.caller.organizations]
    if len(own) == 1:
        return str(own[0])
    named = await call.inside.get(f"{V2}/organizations")
    raise Refused(400, "Name the organization.", f"One of: {_names(named)}.")


async def model(call: Call, word: str) -> str | None:
    """The id of a model configuration; nothing is the default one."""
    if not word or as_id(word):
        return as_id(word) or None
    return _pick(await call.inside.get(f"{V2}/chats/model-configs"), word, "model", ("model", "display_name"))


async def template(call: Call, word: str, organization_word: str) -> dict[str, Any]:
    """A template, by id, or by its name in an organization."""
    if known := as_id(word):
        found: dict[str, Any] = await call.inside.get(f"{V2}/templates/{known}")
    else:
        where = await organization(call, organization_word)
        found = await call.inside.get(f"{V2}/organizations/{where}/templates/{step(word)}")
    return found


async def preset(call: Call, word: str, version_id: str) -> str | None:
    """The id of a preset of a template's version."""
    if not word or as_id(word):
        return as_id(word) or None
    return _pick(await call.inside.get(f"{V2}/templateversions/{version_id}/presets"), word, "preset", ("name",))


async def workspace(call: Call, word: str) -> dict[str, Any]:
    """A workspace, by id, or one of the caller's own by its name."""
    known = as_id(word)
    path = f"{V2}/workspaces/{known}" if known else f"{V2}/users/me/workspace/{step(word)}"
    found: dict[str, Any] = await call.inside.get(path)
    return found


def _pick(found: list[dict[str, Any]], word: str, kind: str, keys: tuple[str, ...]) -> str:
    fits = [each for each in found if word in (each.get(key) for key in keys)]
    if len(fits) == 1:
        return str(fits[0]["id"])
    trouble = "There is more than one" if fits else "There is no"
    known = _names(found, keys[0])
    raise Refused(400, f'{trouble} {kind} "{word[:100]}".', f"Known: {known}." if known else "")


def _names(found: list[dict[str, Any]], key: str = "name") -> str:
    return ", ".join(f"{each[key]} ({each['id']})" for each in found[:MOST_NAMED])
