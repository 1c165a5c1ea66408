"""The delivery effect: one signed request to a webhook, or one message to a browser, and what came of it."""

import asyncio
import time
from datetime import timedelta

import httpx
import orjson

from activities.attempt import heartbeats
from activities.performs import performs
from activities.providers.http import wished_delay
from activities.push import Pushing
from activities.resources import Resources
from models.egress import Refused
from models.rules import webhooks as rules
from models.rules.moments import rfc3339
from models.steps import DeliveryReply, DeliveryRequest, Note
from models.store import inbox, webhooks
from models.store.database import Row
from models.store.inbox import Notice
from models.store.push import PUSH
from models.store.secrets import SecretUnreadable
from models.store.webhooks import Attempt
from workflows import effects

PATIENCE = 10.0  # seconds for all of it
MOST_READ = 4096  # bytes of an answer
MOST_KEPT = 500  # characters of it in the log
USER_AGENT = "Turnstone (webhooks)"
GONE = 410
TEMPLATE = "webhook-disabled"
ANSWERED_GONE = "It answered 410 Gone."
TOOK_NOTHING = f"It took nothing for {rules.PATIENCE.days} days."


class Delivering:
    """Performs the effect `deliver`."""

    def __init__(self, resources: Resources, *, patience: float = PATIENCE) -> None:
        self._resources = resources
        self._patience = patience
        self._pushing = Pushing(resources)

    @performs(effects.deliver)
    async def deliver(self, request: DeliveryRequest) -> DeliveryReply:
        async with heartbeats():
            if request.kind == PUSH:
                return await self._pushing.deliver(request)
            async with self._resources.database.read() as session:
                row = await webhooks.to_deliver(session, request)
            if row is None:
                return DeliveryReply(Note.NOTHING_TO_DELIVER)
            if (why := _unwanted(row)) is not None:
                async with self._resources.database.begin() as session:
                    await webhooks.refuse(session, request, why)
                return DeliveryReply(Note.DISABLED)
            made = await self._attempt(row)
            self._resources.failpoints.hit("worker.after_delivery")
            async with self._resources.database.begin() as session:
                await webhooks.attempted(session, request, made)
                gone = made.status_code == GONE
                if not made.delivered:
                    why = ANSWERED_GONE if gone else TOOK_NOTHING
                    disabled = await webhooks.disable(session, request.endpoint_id, why, at_once=gone)
                    if disabled is not None:
                        await inbox.post(session, [_told(disabled)])
            note = Note.DELIVERED if made.delivered else Note.UNDELIVERED
            wait = made.wait.total_seconds() if made.wait is not None else None
            return DeliveryReply(note, wait, made.status_code)

    async def _attempt(self, row: Row) -> Attempt:
        attempts = row["attempts"] + 1
        last = row["event"] == rules.TEST
        try:
            status, text, wish = await self._send(row)
        except SecretUnreadable as unreadable:
            return Attempt(False, error=unreadable.message, wait=None if last else rules.wait_after(attempts))
        except (Refused, httpx.HTTPError, httpx.InvalidURL, OSError) as failed:
            error = str(failed) or type(failed).__name__
            return Attempt(False, error=error[:MOST_KEPT], wait=None if last else rules.wait_after(attempts))
        if 200 <= status < 300:
            return Attempt(True, status, response=text)
        wait = None if last or status == GONE else rules.wait_after(attempts, wish)
        return Attempt(False, status, f"It answered {status}.", text, wait)

    async def _send(self, row: Row) -> tuple[int, str, timedelta | None]:
        """The status of the answer, the beginning of its text, and when to come again; nothing is followed."""
        body = orjson.dumps(rules.message(row))
        secrets = [self._resources.cipher.decrypt(each) for each in (row["secret"], row["previous_secret"]) if each]
        name, now = rules.message_id(row["endpoint_id"], row["id"]), int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            "webhook-id": name,
            "webhook-timestamp": str(now),
            "webhook-signature": rules.signature(secrets, name, now, body),
        }
        client = self._resources.receivers.client
        try:
            async with (
                asyncio.timeout(self._patience),
                client.stream("POST", row["url"], content=body, headers=headers, timeout=self._patience) as response,
            ):
                read = bytearray()
                async for piece in response.aiter_raw():
                    read += piece
                    if len(read) >= MOST_READ:
                        break
                text = bytes(read[:MOST_READ]).decode("utf-8", "replace")[:MOST_KEPT]
                return response.status_code, text, wished_delay(response.headers)
        except TimeoutError:
            raise httpx.ReadTimeout(f"It did not answer within {self._patience:g} seconds.") from None


def _unwanted(row: Row) -> str | None:
    """Why the delivery is not to be made at all; it stays in the log, and can be made again later."""
    if row["is_barred"]:
        return "The webhook's owner is suspended."
    return "The webhook is disabled." if not row["enabled"] and row["event"] != rules.TEST else None


def _told(endpoint: Row) -> Notice:
    details = {"webhook_id": str(endpoint["id"]), "url": endpoint["url"], "reason": endpoint["disabled_reason"]}
    return Notice(
        user_id=endpoint["created_by"],
        template=TEMPLATE,
        occasion=f"{endpoint['id']} {rfc3339(endpoint['updated_at'])}",
        title="A webhook was disabled",
        content=f"{endpoint['url']} gets no more events. {endpoint['disabled_reason']}",
        details=details,
    )
