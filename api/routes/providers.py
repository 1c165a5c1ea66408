"""AI providers: where models come from. For those who run the deployment."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import Response

from api import provider_forms as forms
from api.answers import answer, nothing
from api.author import By
from api.caller import DeploymentReader, DeploymentWriter
from api.errors import raises
from api.idempotency import OnlyOnce
from api.probe import Credentials, Probed, probe
from api.requests import Router
from api.resources import Opened
from api.schemas.catalog import CreateProvider, DiscoveredModels, ProviderTest, ProviderView, UpdateProvider
from models.errors import Conflict, Forbidden, Invalid, NotFound, Precondition, Unprocessable
from models.rules.credentials import FIELDS, Policy
from models.store import catalog, providers
from models.store.database import Row
from models.store.secrets import Cipher

router = Router(tags=["providers"])


def _view(row: Row, cipher: Cipher) -> dict[str, Any]:
    shown = dict(row)
    shown["settings"] = forms.settings_to_show(cipher.decrypt_document(row["settings"]))
    # Postgres writes moments into JSON in its own way.
    shown["api_keys"] = [{**key, "created_at": datetime.fromisoformat(key["created_at"])} for key in row["api_keys"]]
    return shown


@router.get("", response_model=list[ProviderView], responses=raises(Forbidden), summary="List AI providers")
async def list_providers(caller: DeploymentReader, resources: Opened) -> Response:
    """By name; keys are masked."""
    async with resources.database.read() as session:
        rows = await providers.listed(session)
    return answer([_view(row, resources.cipher) for row in rows])


@router.post(
    "",
    response_model=ProviderView,
    status_code=201,
    responses=raises(Forbidden, Conflict, Unprocessable),
    summary="Create an AI provider",
)
async def create_provider(
    body: CreateProvider, caller: DeploymentWriter, by: By, once: OnlyOnce, resources: Opened
) -> Response:
    """Its keys are encrypted at rest and never shown again."""
    kind = forms.provider_type(body.type)
    if kind == "bedrock" and body.api_keys:
        raise Invalid(forms.NO_KEYS)
    policy = forms.policy_of(body, providers.ANY_KEY)
    forms.refuse(
        [
            *forms.check_type(kind),
            *forms.check_name(body.name),
            *forms.check_base_url(body.base_url, kind),
            *forms.check_keys(body.api_keys),
            *forms.check_settings(body.settings, kind),
            *forms.check_policy(policy),
        ]
    )
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await providers.create(
            session,
            resources.cipher,
            kind=kind,
            name=body.name,
            display_name=body.display_name,
            enabled=body.enabled,
            base_url=body.base_url,
            api_keys=[key.strip() for key in body.api_keys],
            settings=forms.settings_to_store(body.settings, {}, kind),
            policy=policy,
        )
        providers.told(session, None, row, by)
        return await once.keep(session, answer(_view(row, resources.cipher), 201))


@router.get(
    "/{id_or_name}", response_model=ProviderView, responses=raises(Forbidden, NotFound), summary="Get an AI provider"
)
async def get_provider(id_or_name: str, caller: DeploymentReader, resources: Opened) -> Response:
    """By id or name."""
    async with resources.database.read() as session:
        row = await providers.get(session, id_or_name)
    return answer(_view(row, resources.cipher))


@router.patch(
    "/{id_or_name}",
    response_model=ProviderView,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Change an AI provider",
)
async def update_provider(
    id_or_name: str, body: UpdateProvider, caller: DeploymentWriter, by: By, once: OnlyOnce, resources: Opened
) -> Response:
    """What is absent stays. `api_keys` replaces the list: `{id}` keeps a key, `{api_key}` adds one, `[]` clears."""
    if not body.model_fields_set:
        raise Invalid("At least one field must be provided.")
    cipher = resources.cipher
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await providers.get(session, id_or_name, lock=True)
        kind = row["type"]
        if kind == "bedrock" and body.api_keys:
            raise Invalid(forms.NO_KEYS)
        policy = forms.policy_of(body, Policy(**{name: row[name] for name in FIELDS}))
        complaints = [*forms.check_settings(body.settings, kind), *forms.check_policy(policy)]
        if body.base_url is not None:
            complaints += forms.check_base_url(body.base_url, kind)
        forms.refuse(complaints)
        settings = None
        if body.settings is not None:
            stored = cipher.decrypt_document(row["settings"])
            settings = cipher.encrypt_document(forms.settings_to_store(body.settings, stored, kind))
        await providers.update(
            session,
            row["id"],
            display_name=body.display_name,
            enabled=body.enabled,
            base_url=body.base_url,
            settings=settings,
            policy=policy,
        )
        if body.api_keys is not None:
            known = frozenset(str(key["id"]) for key in row["api_keys"])
            await providers.replace_keys(session, cipher, row["id"], forms.keys_to_store(body.api_keys, known))
        before, row = row, await providers.get(session, row["id"])
        providers.told(session, before, row, by)
        return await once.keep(session, answer(_view(row, cipher)))


@router.post(
    "/{id_or_name}/test",
    response_model=ProviderTest,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Test the connection to an AI provider",
)
async def try_provider(id_or_name: str, caller: DeploymentWriter, once: OnlyOnce, resources: Opened) -> Response:
    """Asks it for its models, which costs nothing, also while it is disabled. Says what failed, and never a key."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await providers.get(session, id_or_name)
        key = await providers.key_in_use(session, row["id"])
    found = await _probed(resources.cipher, row, key)
    async with resources.database.begin() as session:
        return await once.keep(session, answer(_told(found)))


@router.get(
    "/{id_or_name}/models",
    response_model=DiscoveredModels,
    responses=raises(Forbidden, NotFound),
    summary="List the models that an AI provider has",
)
async def discover_models(id_or_name: str, caller: DeploymentWriter, resources: Opened) -> Response:
    """By name, as the provider lists them now: what chats may use are its model configurations."""
    async with resources.database.read() as session:
        row = await providers.get(session, id_or_name)
        key = await providers.key_in_use(session, row["id"])
        configured = {
            each["model"]
            for each in await catalog.models(session, usable_only=False)
            if each["ai_provider_id"] == row["id"]
        }
    found = await _probed(resources.cipher, row, key)
    models = [
        {**{name: value for name, value in asdict(each).items() if value}, "configured": each.id in configured}
        for each in found.models
    ]
    return answer({**_told(found), "models": models})


async def _probed(cipher: Cipher, row: Row, key: str | None) -> Probed:
    if not row["central_api_key_enabled"]:
        return Probed("Only people's own keys are used with it; there is nothing to ask it with.", "key")
    try:
        credentials = Credentials(cipher.decrypt(key) if key else "", cipher.decrypt_document(row["settings"]))
    except Precondition as unreadable:
        return Probed(f"{unreadable.message} {unreadable.detail}".strip(), "secret")
    return await probe(row["type"], row["base_url"], credentials)


def _told(found: Probed) -> dict[str, Any]:
    facts = {name: value for name in ("failed", "status_code") if (value := getattr(found, name)) is not None}
    counts = {"latency_ms": found.latency_ms, "model_count": len(found.models)}
    return {"ok": found.failed is None, "message": found.message, **facts, **counts}


@router.delete(
    "/{id_or_name}",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound),
    summary="Delete an AI provider",
)
async def delete_provider(id_or_name: str, caller: DeploymentWriter, by: By, resources: Opened) -> Response:
    """Its models go with it, its keys are forgotten, and the default moves on."""
    async with resources.database.begin() as session:
        row = await providers.get(session, id_or_name, lock=True)
        await providers.delete(session, row["id"])
        providers.told(session, row, None, by)
    return nothing()
