"""OAuth 2 as a client of somebody else's server: discovery (RFC 9728, 8414), registration (7591), tokens."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from models.egress import Pinned, Refused
from models.rules.addresses import Network
from models.rules.oauth import Client, Failed, Grant, Registration

PATIENCE = 10.0  # seconds for one answer
MOST_BYTES = 256 * 1024  # of one
LONGEST_LIFE = 10 * 365 * 86_400  # seconds that a token may be said to live
_GONE = "invalid_grant"  # the person must consent anew; every other refusal is for the admin to mend


class Requests:
    """Asks authorization servers; no address inside is asked unless it is `allowed`."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed

    async def exchange(self, client: Client, code: str, code_verifier: str, redirect_uri: str) -> Grant:
        """Tokens for a code; raises Failed."""
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": code_verifier,
            "redirect_uri": redirect_uri,
        }
        return await self._token(client, given)

    async def renew(self, client: Client, refresh_token: str) -> Grant:
        """Tokens for a refresh token; raises Failed."""
        return await self._token(client, {"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def register(self, server_url: str, redirect_uri: str, client_name: str, scopes: str = "") -> Registration:
        """Find the server's authorization server and become a client of it; raises Failed, which says why not."""
        resource, issuers, wanted = await self._resource(server_url)
        found = await self._metadata(issuers)
        if "S256" not in (found.get("code_challenge_methods_supported") or ("S256",)):
            raise Failed("The authorization server does not support PKCE with S256.")
        registration = found.get("registration_endpoint")
        if not registration:
            raise Failed("The authorization server registers no clients by itself.")
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = next(
            (each for each in ("none", "client_secret_basic", "client_secret_post") if each in methods), "none"
        )
        scopes = scopes or wanted
        asked: dict[str, Any] = {
            "client_name": client_name,
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": method,
            **({"scope": scopes} if scopes else {}),
        }
        made = await self._document("POST", str(registration), json=asked)
        client_id = made.get("client_id")
        if not isinstance(client_id, str) or not client_id:
            raise Failed("The authorization server gave no client_id.")
        return Registration(
            client_id,
            _web(found.get("authorization_endpoint"), "authorization_endpoint"),
            _web(found.get("token_endpoint"), "token_endpoint"),
            scopes,
            resource,
            str(made.get("client_secret") or ""),
        )

    async def _resource(self, server_url: str) -> tuple[str, list[str], str]:
        """What the server calls itself, who authorizes for it, and which scopes it wants."""
        parts = urlsplit(server_url)
        origin = f"{parts.scheme}://{parts.netloc}"
        path = parts.path.rstrip("/")
        for place in dict.fromkeys((f"{path}", "")):
            found = await self._found(f"{origin}/.well-known/oauth-protected-resource{place}")
            if found is None:
                continue
            named = str(found.get("resource") or server_url)
            if urlsplit(named)[:2] != parts[:2]:
                raise Failed("The server's metadata are of another resource.", f"It names {named[:200]}.")
            issuers = [str(each) for each in found.get("authorization_servers") or ()]
            return named, issuers or [origin], " ".join(map(str, found.get("scopes_supported") or ()))
        return server_url, [origin], ""

    async def _metadata(self, issuers: Sequence[str]) -> dict[str, Any]:
        for issuer in issuers:
            parts = urlsplit(_web(issuer, "authorization_servers"))
            origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
            for place in dict.fromkeys(
                (
                    f"{origin}/.well-known/oauth-authorization-server{path}",
                    f"{origin}/.well-known/openid-configuration{path}",
                    f"{origin}{path}/.well-known/openid-configuration",
                )
            ):
                found = await self._found(place)
                if found is None:
                    continue
                if str(found.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
                    raise Failed("The authorization server's metadata name another issuer.")
                return found
        raise Failed("No metadata of an authorization server were found.")

    async def _found(self, url: str) -> dict[str, Any] | None:
        try:
            return await self._document("GET", url)
        except Failed:
            return None

    async def _document(self, method: str, url: str, **sent: Any) -> dict[str, Any]:
        status, document = await self._ask(method, url, **sent)
        if not 200 <= status < 300:
            raise Failed(f"{urlsplit(url).netloc} answered {status}.", _why(document))
        return document

    async def _token(self, client: Client, given: Mapping[str, str]) -> Grant:
        """Ask with the secret in a header, and if that is not how it is done there, in the form."""
        form = {**given, **({"resource": client.resource} if client.resource else {})}
        named = {**form, "client_id": client.client_id}
        if client.secret:
            word = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
            basic = {"Authorization": f"Basic {base64.b64encode(word.encode()).decode()}"}
            status, document = await self._ask("POST", client.token_url, data=form, headers=basic)
            if status == 401 or document.get("error") in ("invalid_client", "invalid_request"):
                named["client_secret"] = client.secret
                status, document = await self._ask("POST", client.token_url, data=named)
        else:
            status, document = await self._ask("POST", client.token_url, data=named)
        token = document.get("access_token")
        if not 200 <= status < 300 or not isinstance(token, str) or not token:
            raise Failed(detail=_why(document) or f"It answered {status}.", for_good=document.get("error") == _GONE)
        if str(document.get("token_type") or "bearer").lower() != "bearer":
            raise Failed(detail="It gave a token of an unknown type.")
        return Grant(token, str(document.get("refresh_token") or ""), "Bearer", _seconds(document.get("expires_in")))

    async def _ask(self, method: str, url: str, **sent: Any) -> tuple[int, dict[str, Any]]:
        """The answer's status and JSON object, empty where it is none; nothing is followed."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **sent.pop("headers", {})}
        try:
            async with (
                asyncio.timeout(2 * PATIENCE),
                httpx.AsyncClient(transport=Pinned(self._allowed), trust_env=False, timeout=PATIENCE) as http,
                http.stream(method, _web(url, "URL"), headers=headers, **sent) as response,
            ):
                body = bytearray()
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise Failed(f"{urlsplit(url).netloc} answered too much.")
        except Refused as refused:
            raise Failed(str(refused)) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as failed:
            raise Failed(f"{urlsplit(url).netloc} could not be asked.", str(failed) or type(failed).__name__) from None
        try:
            document = httpx.Response(200, content=bytes(body)).json()
        except ValueError:
            document = None
        return response.status_code, document if isinstance(document, dict) else {}


def _web(url: object, name: str) -> str:
    try:
        parts = urlsplit(str(url or ""))
    except ValueError:
        raise Failed(f"The {name} is not a URL.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Failed(f"The {name} is not an http or https URL.")
    return str(url)


def _why(document: Mapping[str, Any]) -> str:
    said = [str(document[name]) for name in ("error", "error_description") if document.get(name)]
    return ": ".join(said)[:500]


def _seconds(said: object) -> float | None:
    try:
        seconds = float(str(said))
    except ValueError:
        return None
    return min(seconds, LONGEST_LIFE) if seconds > 0 else None
