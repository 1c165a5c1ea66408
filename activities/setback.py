"""What a model step comes to when there is no model to be had, or when the model fails: a retry or an error."""

from datetime import timedelta

from activities.attempt import Attempt
from activities.catalog import ReadyModel
from activities.draft import clock
from activities.reserving import error as refusal
from activities.resources import Resources
from models.errors import FailureFacts, Precondition
from models.rules import backoff, failures
from models.steps import StepReply
from models.store import moves
from models.store.moves import Opened
from models.store.reserving import Refused

NO_MODEL = {
    "message": "No chat model is configured. Ask an administrator to add one.",
    "kind": failures.ErrorKind.CONFIG.value,
    "retryable": False,
}


async def model_or_error(resources: Resources, attempt: Attempt, opened: Opened) -> ReadyModel | StepReply:
    """The model that the turn runs on; where there is none the turn has ended with an error."""
    wanted = (opened.model_config_id, opened.chat["last_model_config_id"])
    error = NO_MODEL
    try:
        model = await resources.catalog.resolve(wanted, opened.chat["owner_id"])
    except Precondition as unreadable:  # no configured key opens the provider's secrets, or its policy allows none
        model = None
        error = {**NO_MODEL, "kind": failures.ErrorKind.MISSING_KEY.value, "message": unreadable.message}
    if model is not None:
        return model
    return await attempt.commit(lambda session, fence: moves.finish_error(session, fence, error))


async def unaffordable(attempt: Attempt, refused: Refused) -> StepReply:
    """End the turn because no budget has room for its next call; nothing was asked, so nothing was paid."""
    return await attempt.commit(lambda session, fence: moves.finish_error(session, fence, refusal(refused), paid=0))


async def failed(
    resources: Resources, attempt: Attempt, model: ReadyModel, facts: FailureFacts, *, said: bool = False
) -> StepReply:
    """Judge the failure, and commit that the step is tried again later or that the turn ends with an error.

    A provider that refused before it `said` anything is paid nothing; what others are paid is estimated.
    """
    paid = 0 if facts.status is not None and not said else None
    verdict = failures.classify(facts, model.provider_name)
    settings = resources.settings
    number = attempt.number
    if not verdict.retryable or number >= settings.max_attempts:
        resources.meters.errors.labels(verdict.kind.value).inc()
        return await attempt.commit(
            lambda session, fence: moves.finish_error(session, fence, verdict.error(), paid=paid)
        )
    resources.meters.retries.labels(verdict.kind.value).inc()
    pause = backoff.delay(number, base=settings.retry_base, cap=settings.retry_cap, retry_after=verdict.retry_after)
    retry = verdict.retry(number, pause, clock() + pause)
    return await attempt.commit(
        lambda session, fence: moves.record_retry(session, fence, retry, pause / timedelta(seconds=1), paid=paid)
    )
