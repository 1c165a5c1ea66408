"""`client.webhooks`: who is told of what happens to chats; and `verify`, for those who are told."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from turnstone.client.asking import fetched, given, query, word
from turnstone.client.errors import NotGenuine
from turnstone.client.methods import D, Resource, emits, loop, method
from turnstone.client.objects import NEVER, Object, listed
from turnstone.client.steps import Emit, Program, Request
from turnstone.client.types import Chat

PAGE = 100
TOLERANCE = 300.0  # seconds between the clocks of who sends and who is told
_PREFIX = "whsec_"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Webhook(Object):
    """Where events go; `events` empty means all of them."""

    id: str = ""
    organization_id: str | None = None
    url: str = ""
    description: str = ""
    events: tuple[str, ...] = ()
    enabled: bool = False
    disabled_reason: str = ""
    failing_since: datetime | None = None
    created_at: datetime = NEVER
    updated_at: datetime = NEVER


class WebhookWithSecret(Webhook):
    """With its secret, which is shown this once."""

    secret: str = ""


class Delivery(Object):
    """An event for a webhook, and what became of it: pending, delivered or failed."""

    id: int = 0
    webhook_id: str = ""
    message_id: str = ""
    event: str = ""
    chat_id: str | None = None
    status: str = ""
    attempts: int = 0
    next_attempt_at: datetime | None = None
    status_code: int | None = None
    error: str = ""
    response: str = ""
    payload: Mapping[str, Any] = _NOTHING
    created_at: datetime = NEVER
    finished_at: datetime | None = None


class PageOfDeliveries(Object):
    """Some of the log, newest first."""

    deliveries: tuple[Delivery, ...] = ()
    has_more: bool = False


class WebhookEvent(Object):
    """What a webhook was told. `id` is the same at every attempt: who has it already should leave it."""

    id: str = ""
    type: str = ""
    timestamp: datetime = NEVER
    data: Mapping[str, Any] = _NOTHING

    @property
    def chat(self) -> Chat | None:
        """The chat it is about, as it stood then; None for a test."""
        about = self.data.get("chat")
        return None if about is None else Chat.read(about)


Hooks = list[Webhook]


class Webhooks(Resource[D]):
    """`client.webhooks`: one's own, or with `organization` (id or name) those of an organization one administers."""

    @method
    def create(
        self, url: str, *, events: Sequence[str] = (), description: str = "", organization: str | None = None
    ) -> Program[WebhookWithSecret]:
        """Tell this URL of these events, of all if there are none; keep the answer's `secret`.

        Events of what begins after it returned are told. Raises Conflict if it was made and the answer was lost: it is
        in `list` then, and `rotate_secret` gives it a secret that one knows.
        """
        body = given(url=url, events=[*events], description=description)
        asked = Request("POST", _path(organization), json=body)
        return WebhookWithSecret.read((yield from fetched(self._service, asked)))

    @method
    def list(self, *, organization: str | None = None) -> Program[Hooks]:
        """All of them, oldest first."""
        return listed(Webhook, (yield from fetched(self._service, Request("GET", _path(organization)))))

    @method
    def get(self, webhook_id: str, *, organization: str | None = None) -> Program[Webhook]:
        """One of them; why it was disabled, if it was."""
        asked = Request("GET", _path(organization, webhook_id))
        return Webhook.read((yield from fetched(self._service, asked)))

    @method
    def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
        organization: str | None = None,
    ) -> Program[Webhook]:
        """Change what is given; enabling one forgets its failures."""
        told = None if events is None else [*events]
        body = given(url=url, events=told, description=description, enabled=enabled)
        asked = Request("PATCH", _path(organization, webhook_id), json=body)
        return Webhook.read((yield from fetched(self._service, asked)))

    @method
    def delete(self, webhook_id: str, *, organization: str | None = None) -> Program[None]:
        """Forget it, its log, and what is on its way."""
        yield from fetched(self._service, Request("DELETE", _path(organization, webhook_id)))

    @method
    def rotate_secret(self, webhook_id: str, *, organization: str | None = None) -> Program[WebhookWithSecret]:
        """Give it a new `secret`; for a day, messages are signed with the old one too."""
        asked = Request("POST", _path(organization, webhook_id, "rotate-secret"))
        return WebhookWithSecret.read((yield from fetched(self._service, asked)))

    @method
    def test(self, webhook_id: str, *, organization: str | None = None) -> Program[Delivery]:
        """Send it `webhook.test`, once, even while it is disabled."""
        asked = Request("POST", _path(organization, webhook_id, "test"))
        return Delivery.read((yield from fetched(self._service, asked)))

    @loop
    def deliveries(self, webhook_id: str, *, organization: str | None = None) -> emits[Delivery]:
        """What it was sent and what came of it, newest first, page after page."""

        def pages() -> Program[None]:
            before: int | None = None
            while True:
                asked = query(before_id=before, limit=PAGE)
                request = Request("GET", _path(organization, webhook_id, "deliveries"), asked)
                page = PageOfDeliveries.read((yield from fetched(self._service, request)))
                for delivery in page.deliveries:
                    yield Emit(delivery)
                if not page.has_more or not page.deliveries:
                    return
                before = page.deliveries[-1].id

        return emits(pages())

    @method
    def replay(self, webhook_id: str, delivery_id: int, *, organization: str | None = None) -> Program[Delivery]:
        """Send an event again under the same id, with all attempts anew."""
        asked = Request("POST", _path(organization, webhook_id, "deliveries", delivery_id, "replay"))
        return Delivery.read((yield from fetched(self._service, asked)))


def verify(
    payload: bytes | str,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> WebhookEvent:
    """The event that a request holds; raises NotGenuine unless it was signed with `secret`, or one of several.

    `payload` is the body exactly as it came. What was sent more than `tolerance` seconds from `now` (the present) is
    refused as well: somebody may send again what they overheard. Within that time it is for `id` to tell.
    """
    body = payload.encode() if isinstance(payload, str) else payload
    lower = {str(name).lower(): value for name, value in headers.items()}
    try:
        name, sent, signatures = (lower[f"webhook-{each}"] for each in ("id", "timestamp", "signature"))
    except KeyError as missing:
        raise NotGenuine(f"there is no header {missing.args[0]}") from None
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 15):
        raise NotGenuine("webhook-timestamp is no number of seconds")
    if abs((time.time() if now is None else now) - int(sent)) > tolerance:
        raise NotGenuine("it was sent too long ago, or a clock is wrong")
    signed = f"{name}.{sent}.".encode() + body
    made = [
        hmac.digest(_key(each), signed, hashlib.sha256) for each in ([secret] if isinstance(secret, str) else secret)
    ]
    if not any(hmac.compare_digest(one, other) for one in _macs(signatures) for other in made):
        raise NotGenuine("it was not signed with this secret")
    try:
        said = json.loads(body)
    except ValueError:
        raise NotGenuine("it is no JSON") from None
    return WebhookEvent.read({**said, "id": name} if isinstance(said, Mapping) else said)


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a webhook's secret is {_PREFIX} and base64") from None


def _macs(signatures: str) -> list[bytes]:
    """What is given as a signature of version 1; anything else is left."""
    found = []
    for each in signatures.split(" "):
        version, _, text = each.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _path(organization: str | None, *words: object) -> str:
    top = "/api/v2/webhooks" if organization is None else f"/api/v2/organizations/{word(organization)}/webhooks"
    return "/".join([top, *(word(each) for each in words)])
