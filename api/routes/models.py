"""Models that chats can use: what is offered, and how it is configured."""

from itertools import groupby
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Response

from api.answers import answer, nothing
from api.caller import Caller, DeploymentWriter
from api.errors import raises
from api.idempotency import OnlyOnce
from api.provider_forms import provider_type
from api.requests import Router
from api.resources import Opened
from api.schemas.call_config import CallConfig
from api.schemas.catalog import Catalog, CreateModelConfig, ModelConfigView, UpdateModelConfig
from api.schemas.catalog import model_config as view
from models.errors import Conflict, Forbidden, Gone, Invalid, NotFound, Precondition, Unprocessable
from models.rules.credentials import FIELDS, Lack, Policy, Source
from models.rules.profiles import KEYLESS, PROVIDER_TYPES
from models.store import catalog, deeds, providers, user_keys
from models.store.database import Row
from models.store.session import Session

router = Router(tags=["models"])

NO_ID = UUID(int=0)
DEFAULT_THRESHOLD = 70
LISTED = ("anthropic", "azure", "bedrock", "google", "openai", "openai-compat", "openrouter", "vercel", "demo")
GONE = "Legacy chat provider APIs were removed. Use AI provider APIs instead."
SEE = "See https://coder.com/docs/ai-coder/agents/models#providers for AI provider configuration."
SLASHED = "OpenRouter-like provider configured as type openai does not support slash-namespaced models."
SLASHED_DETAIL = (
    "The provider's base URL is a router's, which names models <vendor>/<model>. Under type openai such a name would "
    "be sent to the OpenAI API as it is: recreate the provider with type openrouter or openai-compat."
)


@router.get("/models", response_model=Catalog, summary="List the models on offer")
async def list_models(caller: Caller, resources: Opened) -> Response:
    """Enabled models of enabled providers, one entry for each type of provider. One's own keys count."""
    async with resources.database.read() as session:
        sources = [row for row in await providers.listed(session) if row["enabled"]]
        byok = resources.settings.allow_byok
        own = await user_keys.providers_with(session, caller.user_id) if byok else set()
        configs = await catalog.models(session, usable_only=True)
    offers = {kind: list(rows) for kind, rows in groupby(sorted(configs, key=_type), key=_type)}
    found: dict[str, set[Source | Lack]] = {}
    for row in sources:
        has_central = bool(row["api_keys"]) or row["type"] in KEYLESS
        policy = Policy(**{name: row[name] for name in FIELDS})
        source = policy.source(byok=byok, has_own=row["id"] in own, has_central=has_central)
        found.setdefault(row["type"], set()).add(source)
    entries = [_entry(kind, _lack(found[kind]), offers.get(kind, [])) for kind in LISTED if kind in found]
    return answer({"providers": entries})


def _lack(found: set[Source | Lack]) -> Lack | None:
    """What a type lacks of whose providers these are the sources; one that works is enough."""
    if found & {*Source}:
        return None
    # Who may bring a key can help themselves; anybody else has to ask an administrator.
    return Lack.USER_KEY if Lack.USER_KEY in found else Lack.KEY


def _type(row: Row) -> str:
    return str(row["provider"])


def _entry(kind: str, lacks: Lack | None, rows: list[Row]) -> dict[str, Any]:
    once = {row["model"].lower(): row for row in reversed(rows)}
    entry: dict[str, Any] = {"provider": kind, "available": lacks is None}
    if lacks is not None:
        entry["unavailable_reason"] = lacks
    entry["models"] = [
        {
            "id": f"{kind}:{row['model']}",
            "provider": kind,
            "model": row["model"],
            "display_name": row["display_name"] or row["model"],
        }
        for row in sorted(once.values(), key=lambda row: str(row["model"]).lower())
    ]
    return entry


@router.get("/model-configs", response_model=list[ModelConfigView], summary="List model configurations")
async def list_model_configs(caller: Caller, resources: Opened) -> Response:
    """All for those who may read the deployment's configuration, usable ones for everybody else."""
    reads_all = caller.may_read_deployment()
    async with resources.database.read() as session:
        rows = await catalog.models(session, usable_only=not reads_all)
    prices = await resources.prices.table() if reads_all else None
    return answer([view(row, prices) for row in rows])


@router.post(
    "/model-configs",
    response_model=ModelConfigView,
    status_code=201,
    responses=raises(Forbidden, Conflict, Precondition, Unprocessable),
    summary="Create a model configuration",
)
async def create_model_config(
    body: CreateModelConfig, caller: DeploymentWriter, once: OnlyOnce, resources: Opened
) -> Response:
    """The first one becomes the default by itself; `is_default` takes it from the others."""
    if body.ai_provider_id in (None, NO_ID):
        raise Invalid("AI provider ID is required.")
    prices = await resources.prices.table()
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        provider = await _provider(session, body.ai_provider_id)
        if not body.model:
            raise Invalid("Model is required.")
        _refuse_slash(provider, body.model)
        if body.context_limit is None:
            raise Invalid("Context limit is required.", "context_limit must be greater than zero.")
        _check_limit(body.context_limit, "Context limit is required.")
        threshold = DEFAULT_THRESHOLD if body.compression_threshold is None else body.compression_threshold
        _check_threshold(threshold)
        row = await catalog.create(
            session,
            ai_provider_id=provider["id"],
            model=body.model,
            display_name=body.display_name,
            enabled=body.enabled,
            is_default=body.is_default,
            context_limit=body.context_limit,
            compression_threshold=threshold,
            options=_options(body.call_config) or {},
            created_by=caller.user_id,
        )
        return await once.keep(session, answer(view(row, prices), 201))


@router.patch(
    "/model-configs/{model_config}",
    response_model=ModelConfigView,
    responses=raises(Forbidden, NotFound, Conflict, Precondition, Unprocessable),
    summary="Change a model configuration",
)
async def update_model_config(
    model_config: str, body: UpdateModelConfig, caller: DeploymentWriter, once: OnlyOnce, resources: Opened
) -> Response:
    """What is absent or empty stays. Taking the default from a model gives it to another one, if there is one."""
    config_id = _id(model_config)
    prices = await resources.prices.table()
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        await catalog.hold(session)
        row = await catalog.get(session, config_id)
        deeds.was(row)
        provider = await _new_provider(session, body, row)
        if provider is not None or body.model:
            source = provider or await providers.get(session, row["ai_provider_id"])
            _refuse_slash(source, body.model or row["model"])
        if body.context_limit is not None:
            _check_limit(body.context_limit, "Context limit must be greater than zero.")
        if body.compression_threshold is not None:
            _check_threshold(body.compression_threshold)
        row = await catalog.update(
            session,
            config_id,
            ai_provider_id=provider["id"] if provider else None,
            model=body.model or None,
            display_name=body.display_name or None,
            enabled=body.enabled,
            is_default=body.is_default,
            context_limit=body.context_limit,
            compression_threshold=body.compression_threshold,
            options=_options(body.call_config),
            updated_by=caller.user_id,
        )
        return await once.keep(session, answer(view(row, prices)))


@router.delete(
    "/model-configs/{model_config}",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound),
    summary="Delete a model configuration",
)
async def delete_model_config(model_config: str, caller: DeploymentWriter, resources: Opened) -> Response:
    """Chats that used it go on with the default, which moves on if it was this one."""
    async with resources.database.begin() as session:
        deeds.was(await catalog.get(session, _id(model_config)))
        await catalog.delete(session, _id(model_config))
    return nothing()


async def _legacy(caller: Caller) -> Response:
    """Provider configuration moved to `/api/v2/ai/providers`."""
    raise Gone(GONE, SEE)


for _path in (
    "/providers",
    "/providers/{provider_config}",
    "/providers/{rest:path}",
    "/user-provider-configs",
    "/user-provider-configs/{provider_config}",
    "/user-provider-configs/{rest:path}",
):
    router.add_api_route(
        _path,
        _legacy,
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        include_in_schema=False,
        responses=raises(Gone),
    )


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as wrong:
        raise Invalid("Invalid chat model config ID.", str(wrong)) from wrong


async def _provider(session: Session, provider_id: UUID | None) -> Row:
    try:
        row = await providers.get(session, str(provider_id))
    except NotFound as unknown:
        raise Precondition("AI provider is not configured.") from unknown
    if not row["enabled"]:
        raise Precondition("AI provider is disabled.")
    return row


async def _new_provider(session: Session, body: UpdateModelConfig, row: Row) -> Row | None:
    """The provider that the model moves to, if it moves."""
    kind = provider_type(body.provider or "")
    if kind and kind not in PROVIDER_TYPES:
        raise Invalid("Invalid provider.", f"Must be one of {', '.join(PROVIDER_TYPES)}.")
    if body.ai_provider_id in (None, NO_ID):
        if kind and kind != row["provider"]:
            raise Invalid("AI provider ID is required when updating provider.")
        return None
    return await _provider(session, body.ai_provider_id)


def _refuse_slash(provider: Row, model: str) -> None:
    host = urlsplit(provider["base_url"]).hostname or ""
    if provider["type"] == "openai" and "/" in model and (host == "openrouter.ai" or host.endswith(".openrouter.ai")):
        raise Invalid(SLASHED, SLASHED_DETAIL)


def _check_limit(limit: int, message: str) -> None:
    if limit <= 0:
        raise Invalid(message, "context_limit must be greater than zero.")


def _check_threshold(threshold: int) -> None:
    if not 0 <= threshold <= 100:
        raise Invalid("Invalid compression threshold.", "context_compression_threshold must be between 0 and 100")


def _options(given: CallConfig | None) -> dict[str, Any] | None:
    if given is None:
        return None
    given.check()
    return given.stored()
