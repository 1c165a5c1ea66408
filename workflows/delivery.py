"""An event on its way to a webhook or a browser: one attempt after the other, until it is taken or given up."""

from temporalio import workflow

from models.steps import DeliveryRequest
from workflows import effects


@workflow.defn(name="WebhookDelivery")
class WebhookDelivery:
    """At least once: an attempt whose worker died is made again under the same message id."""

    @workflow.run
    async def run(self, request: DeliveryRequest) -> str:
        while True:
            reply = await effects.deliver.start(request, summary=f"delivery {request.delivery_id}")
            if reply.wait_seconds is None:
                return reply.note
            workflow.set_current_details(f"{reply.note} {reply.status_code or ''}".strip())
            await workflow.sleep(reply.wait_seconds)
