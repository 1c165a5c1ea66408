"""`Idempotency-Key`: the same request again gets the first one's answer (design §9).

A handler claims the key in the transaction of its work and stores its answer there before the commit, so a crash
leaves either both or neither. Of two requests at once the second is told 409. Answers of 2xx are kept, refusals are
not: they changed nothing, and the request may be tried again.

An answer that holds a secret is not kept, only that it was given: its request under the same key is refused. Signing
in and creating the first user have no caller, hence no keys; the latter works once anyway.
"""

from typing import Annotated

import orjson
from fastapi import Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from api.answers import MEDIA_TYPE
from api.caller import Caller
from api.requests import JsonRequest
from api.resources import Opened, Resources
from models.errors import Conflict, Invalid, Validation
from models.principal import Principal
from models.store import deeds, idempotency
from models.store.session import Session

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_LENGTH = 255


class Once:
    """A request's key, or its absence, which costs nothing."""

    def __init__(self, claim: idempotency.Claim | None) -> None:
        self._claim = claim

    async def replay(self, session: Session) -> Response | None:
        """The answer given before, if any; then nothing is to be done. Claims the key until the transaction ends.

        Raises Unprocessable (another request had this key) and Conflict (it is still running).
        """
        if self._claim is None:
            return None
        kept = await idempotency.claim(session, self._claim)
        if kept is None:
            return None
        deeds.nothing()
        return Response(kept.body, kept.status, {REPLAYED: "true"}, MEDIA_TYPE if kept.body else None)

    async def refuse_again(self, session: Session, message: str, detail: str) -> None:
        """Instead of `replay`, where the answer holds a secret: raises Conflict when it was given before."""
        if self._claim is not None and await idempotency.claim(session, self._claim) is not None:
            raise Conflict(message, detail)

    async def spend(self, session: Session, status: int) -> None:
        """Instead of `keep`, where the answer holds a secret: store only that it was given."""
        if self._claim is not None:
            await idempotency.keep(session, self._claim, status, b"")

    async def keep(self, session: Session, response: Response) -> Response:
        """Store the answer of the work that this transaction did; gives it back."""
        if deeds.current().kind is not None and response.body:
            deeds.made(orjson.loads(response.body))
        if self._claim is not None:
            await idempotency.keep(session, self._claim, response.status_code, bytes(response.body))
        return response


Key = Annotated[
    str | None,
    Header(
        alias=HEADER,
        description="1 to 255 printable ASCII characters. The same key with the same request replays its answer.",
        examples=["5f0c9a2e-send-1"],
    ),
]


async def _once(request: Request, caller: Caller, resources: Opened, key: Key = None) -> Once:
    # A route that takes no body does not read one, whatever its size.
    return once(request, caller, resources, key, await request.body() if isinstance(request, JsonRequest) else b"")


def once(request: Request, caller: Principal, resources: Resources, key: str | None, body: bytes) -> Once:
    """The request's key, for handlers that read the body themselves; raises Invalid for a malformed one."""
    if key is None:
        return Once(None)
    if not (1 <= len(key) <= MAX_LENGTH and all(" " <= character <= "~" for character in key)):
        detail = f"must be 1 to {MAX_LENGTH} printable ASCII characters"
        raise Invalid("Invalid Idempotency-Key.", validations=[Validation(HEADER, detail)])
    fingerprint, *older = resources.cipher.fingerprints(_asked(request, body))
    ttl = resources.settings.idempotency_ttl
    return Once(idempotency.Claim(caller.user_id, key, fingerprint, ttl, tuple(older)))


def _asked(request: Request, body: bytes) -> bytes:
    path = request.scope["path"].encode("utf-8", "surrogateescape")
    return b"%s %s?%s\n" % (request.method.encode(), path, request.scope["query_string"]) + body


OnlyOnce = Annotated[Once, Depends(_once)]
