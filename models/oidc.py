"""The OpenID Connect provider, as we speak with it: where to send people, whom a code stands for, fresh tokens.

The code flow with PKCE. What it answers is believed as far as its signature goes: the issuer is the operator's choice,
keys come from it over TLS, and only asymmetric signatures count, so that neither an unsigned token nor one "signed"
with a public key as if it were a secret is ever good.
"""

import asyncio
import base64
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from models.errors import Unauthenticated, Unavailable
from models.rules.sign_in import claim
from models.settings import Settings

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

log = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
LEEWAY = 60  # seconds that clocks may differ
PATIENCE = 10.0  # seconds that the provider may take for all of one errand
DOCUMENT_LIFE = 3600.0  # seconds
_TOLD = 200  # characters of the provider's own words that are passed on
_SUBJECT = re.compile(r"[\x20-\x7e]{1,255}")
_T = TypeVar("_T")


class Away(Unavailable):
    default_message = "The identity provider does not answer."


class NotAccepted(Unauthenticated):
    """A code, a refresh token or an ID token that is not good."""

    default_message = "The identity provider's answer was not accepted."


@dataclass(frozen=True, slots=True)
class Tokens:
    """What acts at the provider in a person's name; `lifetime` seconds from now, None where it does not say."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    lifetime: int | None


@dataclass(frozen=True, slots=True)
class Granted:
    """Whom a code stood for."""

    claims: Mapping[str, Any]
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Secrets:
    """What one attempt to sign in is recognised by when it comes back."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


class Provider:
    """The provider of the settings. Its document and keys are kept; new keys are fetched when a token needs them.

    Its libraries are large: they are loaded here, before anybody waits for them, where there is a provider at all.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._issuer = settings.oidc_issuer
        self._http: httpx.AsyncClient | None = None
        self._document: dict[str, Any] = {}
        self._document_until = 0.0
        self._keys: KeySet | None = None
        self._asking = asyncio.Lock()
        if self.configured:
            import joserfc.jwt  # noqa: F401

    @property
    def configured(self) -> bool:
        return bool(self._issuer)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def address(self, secrets: Secrets, redirect_uri: str) -> str:
        """Where to send the browser; raises Away."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        document = await _in_time(self._described)
        sent: str = prepare_grant_uri(
            document["authorization_endpoint"],
            self._settings.oidc_client_id,
            "code",
            redirect_uri,
            self._settings.oidc_scopes.replace(",", " "),
            secrets.state,
            nonce=secrets.nonce,
            code_challenge=create_s256_code_challenge(secrets.verifier),
            code_challenge_method="S256",
        )
        return sent

    async def redeem(self, code: str, secrets: Secrets, redirect_uri: str) -> Granted:
        """Whom the code stands for; raises NotAccepted, Away."""

        async def redeem() -> Granted:
            answer = await self._tokens(
                grant_type="authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=secrets.verifier
            )
            tokens = _read(answer)
            claims = await self._verified(answer.get("id_token"), secrets.nonce, tokens.access)
            return Granted(await self._completed(claims, tokens.access), tokens)

        return await _in_time(redeem)

    async def refresh(self, refresh_token: str) -> Tokens:
        """New tokens for the old; without a new refresh token the old stays. Raises NotAccepted, Away."""

        async def refresh() -> Tokens:
            return _read(await self._tokens(grant_type="refresh_token", refresh_token=refresh_token))

        found = await _in_time(refresh)
        return Tokens(found.access, found.refresh or refresh_token, found.lifetime)

    async def issuer(self) -> str:
        """The issuer as it calls itself, which is what its tokens say."""
        return str((await _in_time(self._described))["issuer"])

    async def _verified(self, token: object, nonce: str, access_token: str) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError

        document = await self._described()
        if not isinstance(token, str):
            raise NotAccepted(detail="There was no ID token.")
        try:
            try:
                found = jwt.decode(token, await self._keys_of(document), algorithms=ALGORITHMS)
            except (InvalidKeyIdError, BadSignatureError):
                # The provider has changed its keys since we looked, or somebody else has signed.
                found = jwt.decode(token, await self._keys_of(document, anew=True), algorithms=ALGORITHMS)
            claims = CodeIDToken(
                found.claims,
                found.header,
                options={
                    "iss": {"essential": True, "value": document["issuer"]},
                    "aud": {"essential": True, "value": self._settings.oidc_client_id},
                },
                params={"nonce": nonce, "client_id": self._settings.oidc_client_id, "access_token": access_token},
            )
            claims.validate(leeway=LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as wrong:
            log.warning("an ID token was not accepted: %s", wrong)
            raise NotAccepted(detail=f"Its ID token is not good: {type(wrong).__name__}.") from wrong
        if not _SUBJECT.fullmatch(str(claims.get("sub"))):
            raise NotAccepted(detail="Its ID token names nobody.")
        return dict(claims)

    async def _completed(self, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """The claims, with those of the userinfo endpoint where we need some that the ID token lacks.

        If that fails nobody signs in: else they would lose what the missing claims give them.
        """
        settings = self._settings
        needed = (
            settings.oidc_email_claim,
            settings.oidc_groups_claim,
            settings.oidc_roles_claim,
            settings.oidc_organizations_claim,
        )
        endpoint = str((await self._described()).get("userinfo_endpoint", ""))
        if not self._is_safe(endpoint) or all(claim(claims, name) is not None for name in needed if name):
            return claims
        answer = await self._ask("GET", endpoint, headers={"Authorization": f"Bearer {access_token}"})
        more = _document(answer)
        if answer.status_code != 200 or more.get("sub") != claims["sub"]:
            raise NotAccepted(detail="Its userinfo is not that of who signs in.")
        # An address and whether it is verified come from the same place.
        return {**more, **claims} if "email" in claims else {**claims, **more}

    async def _tokens(self, **form: str) -> dict[str, Any]:
        document = await self._described()
        client_id, secret = self._settings.oidc_client_id, self._settings.oidc_client_secret.get_secret_value()
        headers = {"Accept": "application/json"}
        if secret and "client_secret_basic" in document.get(
            "token_endpoint_auth_methods_supported", ["client_secret_basic"]
        ):
            word = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(word.encode()).decode()}"
        else:
            form |= {"client_id": client_id, **({"client_secret": secret} if secret else {})}
        answer = await self._ask("POST", document["token_endpoint"], data=form, headers=headers)
        found = _document(answer)
        if answer.status_code != 200:
            said = str(found.get("error", answer.status_code))[:_TOLD]
            log.warning("the identity provider refused our %s: %s", form["grant_type"], said)
            # Anything else (a wrong client secret, say) is between the provider and us, and no fault of the token.
            raise (NotAccepted if said == "invalid_grant" else Away)(detail=f"It answered: {said}.")
        return found

    async def _described(self) -> dict[str, Any]:
        async with self._asking:
            if time.monotonic() >= self._document_until:
                self._document = await self._described_anew()
                self._document_until = time.monotonic() + DOCUMENT_LIFE
            return self._document

    async def _described_anew(self) -> dict[str, Any]:
        from authlib.oidc.discovery import get_well_known_url

        answer = await self._ask("GET", str(get_well_known_url(self._issuer, external=True)))
        found = _document(answer)
        endpoints = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        # It must be what it was asked as: else it could speak for another. A last slash is easily forgotten.
        same = str(found.get("issuer", "")).rstrip("/") == self._issuer.rstrip("/")
        if answer.status_code != 200 or not same or not all(self._is_safe(found.get(name)) for name in endpoints):
            log.error("the OpenID Connect issuer is not described where it should be, or not as we asked for it")
            raise Away(detail="Its description is not good.")
        return found

    def _is_safe(self, address: object) -> bool:
        """Is this address as safe to ask as the issuer's?"""
        return isinstance(address, str) and urlsplit(address).scheme in ("https", urlsplit(self._issuer).scheme)

    async def _keys_of(self, document: Mapping[str, Any], *, anew: bool = False) -> "KeySet":
        from joserfc.jwk import KeySet

        if self._keys is None or anew:
            answer = await self._ask("GET", document["jwks_uri"])
            found = _document(answer)
            if answer.status_code != 200 or not isinstance(found.get("keys"), list):
                raise Away(detail="Its keys are not where it says.")
            self._keys = KeySet.import_key_set({"keys": found["keys"]})
        return self._keys

    async def _ask(self, method: str, address: str, **request: Any) -> httpx.Response:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=PATIENCE, follow_redirects=False)
        try:
            answer = await self._http.request(method, address, **request)
        except httpx.HTTPError as away:
            log.warning("the identity provider does not answer: %s", away)
            raise Away from away
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Away(detail=f"It answered {answer.status_code}.")
        return answer


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _read(answer: Mapping[str, Any]) -> Tokens:
    access, refresh, lifetime = (answer.get(name) for name in ("access_token", "refresh_token", "expires_in"))
    if not isinstance(access, str) or not access:
        raise NotAccepted(detail="There was no access token.")
    try:
        seconds = None if lifetime is None else max(0, min(int(lifetime), 10 * 366 * 86400))
    except (TypeError, ValueError, OverflowError):
        seconds = None
    return Tokens(access, refresh if isinstance(refresh, str) and refresh else None, seconds)


async def _in_time(errand: Callable[[], Awaitable[_T]]) -> _T:
    try:
        async with asyncio.timeout(PATIENCE):
            return await errand()
    except TimeoutError as late:
        raise Away from late
