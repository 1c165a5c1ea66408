"""Asks a provider whether it is there, knows its key, and which models it has: what fails is said, no key ever is."""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

import orjson

from models.rules import listings
from models.rules.listings import Offered, Question
from models.rules.profiles import KEYLESS

PATIENCE = 15.0  # seconds for all that is asked
MOST_BYTES = 8 * 1024 * 1024
LONGEST = 300  # characters of what the provider says
SECRETS = ("access_key", "access_key_secret", "session_token")

Failure = Literal["secret", "key", "address", "tls", "timeout", "credentials", "answer"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a provider is asked with."""

    key: str
    settings: Mapping[str, Any]

    def cleaned(self, text: str) -> str:
        """The text, short and without any of them."""
        for secret in (self.key, *(str(self.settings.get(name, "")) for name in SECRETS)):
            if secret:
                text = text.replace(secret, "[key]")
        return " ".join(text.split())[:LONGEST]


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of it: `failed` says where it ended, None that all went well."""

    message: str
    failed: Failure | None = None
    status_code: int | None = None
    models: tuple[Offered, ...] = ()
    latency_ms: int = 0


class _Failed(Exception):
    def __init__(self, failed: Failure, message: str, status: int | None = None) -> None:
        self.probed = Probed(message, failed, status)
        super().__init__(message)


async def probe(kind: str, base_url: str, credentials: Credentials, patience: float = PATIENCE) -> Probed:
    """Ask for the models, as turns would ask for answers: same address, same credentials."""
    if kind == "demo":
        return Probed("The demo provider is part of this service.", models=(Offered("demo", "Demo"),))
    if not credentials.key and kind not in KEYLESS:
        return Probed("It has no API key, and was not asked.", "key")
    began = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            probed = await _ask(kind, base_url, credentials)
    except _Failed as failed:
        probed = failed.probed
    except TimeoutError:
        probed = Probed(f"It did not answer within {patience:g} seconds.", "timeout")
    return replace(
        probed, message=credentials.cleaned(probed.message), latency_ms=round((time.monotonic() - began) * 1000)
    )


async def _ask(kind: str, base_url: str, credentials: Credentials) -> Probed:
    import aiohttp  # 20 MB that a process needs when somebody tests a provider, and not before

    status, document = 0, None
    async with aiohttp.ClientSession(auto_decompress=True) as session:
        for question in listings.questions(kind, base_url, credentials.key, credentials.settings):
            headers = await _headers(question, credentials)
            try:
                status, document = await _get(session, question.url, headers)
            except aiohttp.ClientError as error:
                _explain(error)
    try:
        models = listings.offered(kind, document)
    except listings.NoList:
        raise _Failed("answer", _not_a_list(base_url), status) from None
    count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
    return Probed(f"It answered, and lists {count}.", status_code=status, models=tuple(models))


async def _get(session: Any, url: str, headers: Mapping[str, str]) -> tuple[int, Any]:
    """The answer to one question; raises _Failed for a refusal."""
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        body = b""
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MOST_BYTES:
                raise _Failed("answer", "Its answer is too long for a list of models.", response.status)
        status: int = response.status
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if status in (401, 403):
        raise _Failed("credentials", _quoted(f"It refused the credentials with {status}", document), status)
    if 300 <= status < 400:
        raise _Failed(
            "answer", f"It answered {status}, which sends elsewhere: set the base URL to that address.", status
        )
    if status == 404:
        raise _Failed("answer", f"It answered 404: {_not_a_list(url)}", status)
    if status != 200:
        raise _Failed("answer", _quoted(f"It answered {status}", document), status)
    return status, document


async def _headers(question: Question, credentials: Credentials) -> Mapping[str, str]:
    own = {"accept": "application/json", "user-agent": "turnstone", **question.headers}
    if not question.is_signed:
        return own
    from botocore.exceptions import BotoCoreError

    try:
        return {**own, **await asyncio.to_thread(_signed, question.url, credentials.settings)}
    except BotoCoreError as error:
        raise _Failed("key", f"The AWS credentials of this server cannot be used: {type(error).__name__}") from None


def _signed(url: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """AWS's signature by the provider's credentials, else by those that this server finds around itself."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Keys
    from botocore.session import Session

    session = Session()
    region = settings.get("region") or session.get_config_variable("region")
    if not region:
        raise _Failed("key", "No region is set, neither in its settings nor on this server.")
    if settings.get("access_key"):
        keys = Keys(settings["access_key"], settings.get("access_key_secret", ""), settings.get("session_token"))
    else:
        keys = session.get_credentials()
    if keys is None:
        raise _Failed("key", "There are no AWS credentials, neither in its settings nor on this server.")
    request = AWSRequest("GET", url)
    SigV4Auth(keys.get_frozen_credentials(), "bedrock", region).add_auth(request)
    return dict(request.headers.items())


def _explain(error: Exception) -> NoReturn:
    """Which part of the way was not possible."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            inner = getattr(cause, "os_error", None) or getattr(cause, "certificate_error", None) or cause
            words = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or type(inner).__name__
            raise _Failed("tls", f"The connection could not be secured: {words}") from None
        if isinstance(cause, socket.gaierror):
            raise _Failed("address", "The host of its base URL is not known.") from None
        if isinstance(cause, ConnectionRefusedError):
            raise _Failed("address", "Nothing listens at its base URL: the connection was refused.") from None
        cause = getattr(cause, "os_error", None) or cause.__cause__
    raise _Failed("address", f"It cannot be reached: {type(error).__name__}") from None


def _quoted(sentence: str, document: Any) -> str:
    words = listings.said(document)
    return f"{sentence}: {words}" if words else f"{sentence}."


def _not_a_list(url: str) -> str:
    hint = "" if "/v1" in url else " Is /v1 missing from its base URL?"
    return f"there is no list of models at this address.{hint} Chats may work all the same."
