"""The laws of a delivery's run: attempt after attempt, as far apart as it is told, until there is none."""

from uuid import uuid4

from temporalio.client import Client

from models.steps import DeliveryReply, DeliveryRequest, Note
from tests.workflows.performers import Script, worker
from workflows.delivery import WebhookDelivery


async def test_it_is_tried_again_until_the_reply_says_that_it_is_over(temporal: Client, task_queue: str) -> None:
    script = Script(
        deliver=[
            DeliveryReply(Note.UNDELIVERED, 0.01),
            DeliveryReply(Note.UNDELIVERED, 0.01),
            DeliveryReply(Note.DELIVERED),
        ]
    )
    request = DeliveryRequest(uuid4(), 7)
    async with worker(temporal, task_queue, script):
        done = await temporal.execute_workflow(WebhookDelivery.run, request, id=f"d-{uuid4()}", task_queue=task_queue)
    assert done == "delivered"
    assert script.calls == ["deliver 7"] * 3
