"""Signing in at an MCP server, against a real authorization server: found out, proven, renewed once, forgotten."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from activities.mcp.servers import Servers
from models.settings import Settings
from models.store.database import fetch
from tests.activities.mcp_place import allowing
from tests.api.conftest import Api, Person
from tests.api.test_mcp_servers import PLAIN, SERVERS
from tests.fakes.mcp_server import Running, running


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Servers of tests are on this machine."""
    return allowing(settings)


async def consent(response: httpx.Response) -> str:
    """Where the authorization server sends the browser back to, with the person's consent."""
    assert response.status_code == 307, response.text
    async with httpx.AsyncClient(timeout=60) as browser:
        answer = await browser.get(response.headers["location"])
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def connect(person: Person, server_id: str, **change: str) -> httpx.Response:
    """Out and back again, with what the browser keeps meanwhile."""
    going = await person.client.get(f"{SERVERS}/{server_id}/oauth2/connect")
    back = urlsplit(await consent(going))
    asked = {name: each[0] for name, each in parse_qs(back.query).items()} | change
    kept = going.cookies[f"mcp_oauth2_state_{server_id}"]
    cookie = {"Cookie": f"mcp_oauth2_state_{server_id}={kept}"}
    return await person.client.get(back.path, params=asked, headers=cookie)


async def guarded(owner: Person, server: Running) -> str:
    """The server, configured by nothing but its address."""
    plain = {**PLAIN, "tool_allow_list": [], "auth_type": "oauth2", "url": server.url}
    made = await owner.client.post(SERVERS, json=plain)
    assert made.status_code == 201, made.text
    assert made.json()["oauth2_client_id"]
    assert made.json()["oauth2_auth_url"].endswith("/authorize")
    found: str = made.json()["id"]
    return found


async def test_a_person_signs_in_and_their_chats_use_the_token_until_they_forget_it(
    api: Api, owner: Person, member: Person, outsider: Person, tmp_path: Path
) -> None:
    async with running(tmp_path, oauth=True) as server:
        server_id = await guarded(owner, server)
        resources = api.resources
        servers = Servers(resources.database, resources.cipher, resources.settings)
        chat: dict[str, Any] = {
            "id": member.id, "owner_id": member.id, "mcp_server_ids": [UUID(server_id)], "mode": None,
            "plan_mode": None, "parent_chat_id": None, "root_chat_id": None, "workspace_id": None,
        }  # fmt: skip

        async def connected(person: Person) -> Any:
            return (await person.client.get(f"{SERVERS}/{server_id}")).json()["auth_connected"]

        async def change(statement: str) -> None:
            async with resources.database.begin() as session:
                await fetch(session, f"UPDATE mcp_server_user_tokens SET {statement}", {})

        assert [name for name, _ in (await servers.offered(chat)).absent] == ["Tracker"]
        assert (await connect(member, server_id, state="another")).status_code == 400
        assert (await connect(member, server_id, code="guessed")).status_code == 502
        assert not await connected(member)
        done = await connect(member, server_id)
        assert (done.status_code, "mcp-oauth2-complete" in done.text) == (200, True)
        assert [await connected(each) for each in (member, outsider, owner)] == [True, False, False]
        assert "tracker__echo" in (await servers.offered(chat)).tools

        [configured] = await servers.configured()
        first = await servers.headers(configured, chat)
        async with resources.database.read() as session:
            stored = str(await fetch(session, "SELECT * FROM mcp_server_user_tokens", {}))
        assert first["Authorization"].removeprefix("Bearer ") not in stored

        await change("expiry = now() + interval '10 seconds'")
        renewed = await asyncio.gather(*(servers.headers(configured, chat) for _ in range(5)))
        assert len({each["Authorization"] for each in renewed}) == 1
        assert renewed[0] != first
        assert [each["grant"] for each in server.entries()].count("refresh_token") == 1
        assert {each["resource"] for each in server.entries() if "grant" in each} == {server.url}

        async with httpx.AsyncClient(timeout=60) as admin:
            await admin.post(server.url.replace("/mcp", "/revoke-all"))
        servers.changed(UUID(server_id))
        assert "tracker__echo" in (await servers.offered(chat)).tools, "a token that is refused is renewed, once"
        assert [each["grant"] for each in server.entries()].count("refresh_token") == 2

        stolen = resources.cipher.encrypt("stolen")
        await change(f"refresh_token = '{stolen}', expiry = now() - interval '1 second'")
        assert (await servers.offered(chat)).absent != ()
        assert not await connected(member), "who cannot be renewed must sign in anew"
        assert (await connect(member, server_id)).status_code == 200
        gone = await member.client.delete(f"{SERVERS}/{server_id}/oauth2/disconnect")
        again = await member.client.delete(f"{SERVERS}/{server_id}/oauth2/disconnect")
        assert (gone.status_code, again.status_code, await connected(member)) == (204, 204, False)

        assert (await connect(member, server_id)).status_code == 200
        moved = await owner.client.patch(f"{SERVERS}/{server_id}", json={"url": f"{server.url}/v2"})
        assert (moved.status_code, await connected(member)) == (200, False), "it was granted for another address"
        await servers.close()


async def test_nobody_comes_back_for_somebody_else_and_nothing_inside_is_found_out(
    owner: Person, member: Person, outsider: Person, tmp_path: Path
) -> None:
    async with running(tmp_path, oauth=True) as server:
        inside = f"http://[::1]:{server.port}/mcp"
        refused = await owner.client.post(SERVERS, json={**PLAIN, "auth_type": "oauth2", "url": inside})
        assert (refused.status_code, refused.json()["message"]) == (400, "OAuth2 auto-discovery failed.")
        assert (await owner.client.get(SERVERS)).json() == []
        server_id = await guarded(owner, server)
        going = await member.client.get(f"{SERVERS}/{server_id}/oauth2/connect")
        kept = going.headers["set-cookie"]
        assert all(word in kept for word in ("HttpOnly", "SameSite=lax", "Max-Age=600", f"{server_id}/oauth2/callback"))
        back = urlsplit(await consent(going))
        cookie = {"Cookie": kept.partition(";")[0]}
        member.client.cookies.clear()
        other = await outsider.client.get(f"{back.path}?{back.query}", headers=cookie)
        bare = await member.client.get(f"{back.path}?{back.query}")
        assert (other.status_code, bare.status_code) == (400, 400)
        assert (await member.client.get(f"{back.path}?{back.query}", headers=cookie)).status_code == 200
