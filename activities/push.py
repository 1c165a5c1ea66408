"""Tells a browser by web push: one message, and what came of it. Endpoints are secrets: no log or history has them."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import httpx

from activities import small_models, web_push
from activities.providers.http import wished_delay
from activities.resources import Resources
from models.egress import Refused
from models.rules import push as rules
from models.steps import DeliveryReply, DeliveryRequest, Note
from models.store import push
from models.store.database import Row
from models.store.secrets import SecretUnreadable

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds for all of it
GONE = (404, 410)
AGAIN = (408, 425, 429)


class Pushing:
    """Performs the effect `deliver` for browsers."""

    def __init__(self, resources: Resources, *, patience: float = PATIENCE) -> None:
        self._resources = resources
        self._patience = patience

    async def deliver(self, request: DeliveryRequest) -> DeliveryReply:
        """Send it, or say when: a turn that may yet be labelled is told with its label."""
        database = self._resources.database
        async with database.read() as session:
            row = await push.to_deliver(session, request)
        told = rules.message(row) if row is not None else None
        if row is None or told is None:
            async with database.begin() as session:
                await push.done(session, request)
            return DeliveryReply(Note.NOTHING_TO_DELIVER)
        wait = rules.wait_first(row)
        if wait is not None and await self._is_worth_waiting(row):
            async with database.begin() as session:
                await push.again(session, request, wait, attempted=False)
            return DeliveryReply(Note.UNLABELLED_YET, wait.total_seconds())
        status, why, wish = await self._attempt(row, told)
        self._resources.failpoints.hit("worker.after_delivery")
        final = 200 <= status < 300 or (400 <= status < 500 and status not in AGAIN)
        wait = None if final else rules.wait_after(row["attempts"] + 1, wish)
        async with database.begin() as session:
            if wait is None:
                await push.done(session, request, gone=status in GONE)
            else:
                await push.again(session, request, wait, attempted=True)
        told_it = 200 <= status < 300
        if not told_it:
            log.info("browser %s was not told: %s", request.endpoint_id, why)
        seconds = wait.total_seconds() if wait is not None else None
        return DeliveryReply(Note.DELIVERED if told_it else Note.UNDELIVERED, seconds, status or None)

    async def _is_worth_waiting(self, row: Row) -> bool:
        """Is there a model that may label the turn?"""
        if row["kind"] != rules.FINISHED:
            return True
        resources = self._resources
        choice = await small_models.for_labels(resources.settings, resources.database, row["last_model_config_id"])
        return bool(choice.models)

    async def _attempt(self, row: Row, told: dict[str, Any]) -> tuple[int, str, timedelta | None]:
        """The status of the answer (0: there was none), why (without secrets), and when to come again."""
        try:
            status, wish = await self._send(row, rules.payload(told))
        except (SecretUnreadable, Refused, httpx.InvalidURL) as wrong:
            return 0, type(wrong).__name__, None
        except (httpx.HTTPError, OSError, TimeoutError) as failed:
            return 0, type(failed).__name__, None
        return status, f"It answered {status}.", wish

    async def _send(self, row: Row, data: bytes) -> tuple[int, timedelta | None]:
        endpoint = self._resources.cipher.decrypt(row["endpoint"])
        body = web_push.encrypted(data, row["p256dh_key"], self._resources.cipher.decrypt(row["auth_key"]))
        private = self._resources.cipher.decrypt(row["private_key"])
        settings = self._resources.settings
        headers = {
            "Authorization": web_push.authorization(endpoint, private, row["public_key"], settings.push_subject),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(int(rules.LIFE.total_seconds())),
            "Urgency": "normal",
        }
        if row["subject_id"] is not None:  # news of the same chat take the place of those that were not read yet
            headers["Topic"] = row["subject_id"].hex
        client = self._resources.receivers.client
        async with (
            asyncio.timeout(self._patience),
            client.stream("POST", endpoint, content=body, headers=headers, timeout=self._patience) as response,
        ):
            return response.status_code, wished_delay(response.headers)
