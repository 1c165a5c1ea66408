"""An OpenID Connect provider: an HTTP server that signs real tokens, checks PKCE, and lies only where it is told to."""

import asyncio
import base64
import functools
import hashlib
import hmac
import itertools
import json
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from models.oidc import Tokens

CLIENT_ID, CLIENT_SECRET = "turnstone", "a secret: with %odd/signs"


@functools.cache
def key(number: int) -> RSAKey:
    """One of the provider's keys; they are made once, since that takes its time."""
    return RSAKey.generate_key(2048, parameters={"kid": f"key-{number}", "use": "sig", "alg": "RS256"})


@dataclass
class Asked:
    """What an authorization code was given for."""

    nonce: str
    challenge: str
    redirect_uri: str
    scope: str


@dataclass
class FakeProvider:
    """`claims` are of whoever is at the browser; `wrong` replaces some in ID tokens alone; None leaves one out."""

    claims: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    signing: str = "RS256"
    lifetime: int | None = 3600
    secret: str = CLIENT_SECRET
    signing_key: int = 1
    published: tuple[int, ...] = (1,)
    refresh_error: str = ""
    document: dict[str, Any] = field(default_factory=dict)
    down: bool = False
    requests: list[str] = field(default_factory=list)
    refreshes: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _codes: dict[str, Asked] = field(default_factory=dict)
    _refresh_tokens: set[str] = field(default_factory=set)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _server: asyncio.Server | None = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rotate(self) -> None:
        """Sign with a new key from now on, and publish no other."""
        self.signing_key += 1
        self.published = (self.signing_key,)

    async def __aenter__(self) -> Self:
        self.held.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name
            }
            body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
            address = urlsplit(head[0].split(" ")[1])
            self.requests.append(address.path)
            form = {name: values[0] for name, values in parse_qs(body or address.query).items()}
            status, answer, location = await self._answer(address.path, form, headers)
            content = json.dumps(answer).encode()
            where = f"Location: {location}\r\n" if location else ""
            writer.write(
                f"HTTP/1.1 {status} X\r\n{where}Content-Type: application/json\r\nConnection: close\r\n"
                f"Content-Length: {len(content)}\r\n\r\n".encode()
            )
            writer.write(content)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(
        self, path: str, form: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, dict[str, Any], str]:
        if self.down:
            return 503, {}, ""
        match path:
            case "/.well-known/openid-configuration":
                return 200, self._described(), ""
            case "/keys":
                return 200, {"keys": [key(each).as_dict(private=False) for each in self.published]}, ""
            case "/authorize":
                return 302, {}, self._authorized(form)
            case "/userinfo":
                known = headers.get("authorization", "").startswith("Bearer access-")
                return (200, self.userinfo or {}, "") if known else (401, {}, "")
            case "/token":
                status, answer = await self._token(form, headers)
                return status, answer, ""
        return 404, {}, ""

    def _described(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            **({"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.userinfo is not None else {}),
            **self.document,
        }

    def _authorized(self, form: dict[str, str]) -> str:
        assert (form["response_type"], form["client_id"], form["code_challenge_method"]) == ("code", CLIENT_ID, "S256")
        code = f"code-{next(self._numbers)}"
        self._codes[code] = Asked(form["nonce"], form["code_challenge"], form["redirect_uri"], form["scope"])
        return form["redirect_uri"] + "?" + urlencode({"code": code, "state": form["state"]})

    async def _token(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        given = base64.b64decode(headers.get("authorization", "").partition(" ")[2]).decode().split(":")
        if [unquote(each) for each in given] != [CLIENT_ID, self.secret]:
            return 401, {"error": "invalid_client"}
        if form["grant_type"] == "refresh_token":
            return await self._refreshed(form["refresh_token"])
        asked = self._codes.pop(form["code"], None)  # a code is good once
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            asked is None
            or proof.rstrip(b"=").decode() != asked.challenge
            or form["redirect_uri"] != asked.redirect_uri
        ):
            return 400, {"error": "invalid_grant"}
        return 200, {**self._granted(), "id_token": self.id_token(asked.nonce)}

    async def _refreshed(self, token: str) -> tuple[int, dict[str, Any]]:
        self.refreshes += 1
        await self.held.wait()
        if self.refresh_error:
            return 400, {"error": self.refresh_error}
        if token not in self._refresh_tokens:
            return 400, {"error": "invalid_grant"}
        self._refresh_tokens.remove(token)  # each is good once
        return 200, self._granted()

    def tokens(self, *, lifetime: int) -> Tokens:
        """What somebody has who signed in, with this many seconds to go."""
        given = self._granted()
        return Tokens(given["access_token"], given["refresh_token"], lifetime)

    def _granted(self) -> dict[str, Any]:
        number = next(self._numbers)
        self._refresh_tokens.add(f"refresh-{number}")
        lifetime = {} if self.lifetime is None else {"expires_in": self.lifetime}
        return {
            "access_token": f"access-{number}",
            "refresh_token": f"refresh-{number}",
            "token_type": "Bearer",
            **lifetime,
        }

    def id_token(self, nonce: str) -> str:
        """A token of whoever is at the browser, signed as `signing` says."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.claims,
            **self.wrong,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        signer = key(self.signing_key)
        if self.signing == "RS256":
            return jwt.encode({"alg": "RS256", "kid": signer.kid}, claims, signer)
        head = {"alg": self.signing, "kid": signer.kid, "typ": "JWT"}
        text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims))
        # The attack of old: the public key, which everybody has, taken for a secret.
        public = signer.as_pem(private=False)
        mark = hmac.digest(public, text, "sha256") if self.signing == "HS256" else b""
        return (text + b"." + base64.urlsafe_b64encode(mark).rstrip(b"=")).decode()
