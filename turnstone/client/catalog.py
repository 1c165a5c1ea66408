"""`client.models`, `.providers`, `.users`, `.organizations`: what chats are made with, and by whom."""

from collections.abc import Mapping, Sequence
from typing import Any

from turnstone.client.asking import fetched, given, path, word
from turnstone.client.methods import D, Resource, method
from turnstone.client.objects import listed
from turnstone.client.steps import Program, Request
from turnstone.client.types import ModelConfig, Organization, Provider, ProviderKey, ProviderTest, User

# In a class that has a method `list`, no annotation can say list[...].
ModelConfigs = list[ModelConfig]
ListOfProviders = list[Provider]
ListOfOrganizations = list[Organization]
ListOfKeys = list[ProviderKey]

PROVIDERS = "/api/v2/ai/providers"


class Models(Resource[D]):
    """`client.models`: the models that chats may use."""

    @method
    def list(self) -> Program[ModelConfigs]:
        """All that the caller may see; the id of one is a `model_config_id`."""
        found = yield from fetched(self._service, Request("GET", path("model-configs")))
        return listed(ModelConfig, found)

    @method
    def create(
        self,
        provider_id: str,
        model: str,
        *,
        display_name: str = "",
        is_default: bool = False,
        context_limit: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Program[ModelConfig]:
        """Let chats use a model of a provider (administrators)."""
        body = given(
            ai_provider_id=provider_id,
            model=model,
            display_name=display_name,
            enabled=True,
            is_default=is_default,
            context_limit=context_limit,
            model_config=None if options is None else dict(options),
        )
        return ModelConfig.read((yield from fetched(self._service, Request("POST", path("model-configs"), json=body))))


class Providers(Resource[D]):
    """`client.providers`: where models come from (administrators)."""

    @method
    def list(self) -> Program[ListOfProviders]:
        """All providers; keys are masked."""
        found = yield from fetched(self._service, Request("GET", PROVIDERS))
        return listed(Provider, found)

    @method
    def create(
        self,
        type: str,  # noqa: A002 - its name on the wire
        name: str,
        *,
        base_url: str,
        api_keys: Sequence[str] = (),
        display_name: str = "",
        settings: Mapping[str, Any] | None = None,
    ) -> Program[Provider]:
        """Add a provider; its keys are stored encrypted and never shown again."""
        body = given(
            type=type,
            name=name,
            display_name=display_name,
            enabled=True,
            base_url=base_url,
            api_keys=[*api_keys],
            settings=None if settings is None else dict(settings),
        )
        return Provider.read((yield from fetched(self._service, Request("POST", PROVIDERS, json=body))))

    @method
    def test(self, provider: str) -> Program[ProviderTest]:
        """Is it there, and does it know its key? By id or name; costs nothing."""
        return ProviderTest.read((yield from fetched(self._service, Request("POST", _provider(provider, "test")))))

    @method
    def discover(self, provider: str) -> Program[ProviderTest]:
        """The same, with the models that it lists."""
        return ProviderTest.read((yield from fetched(self._service, Request("GET", _provider(provider, "models")))))


class Users(Resource[D]):
    """`client.users`; `user` is an id, a username, or "me"."""

    @method
    def me(self) -> Program[User]:
        """Whose token this is."""
        return User.read((yield from fetched(self._service, Request("GET", "/api/v2/users/me"))))

    @method
    def provider_keys(self, *, user: str = "me") -> Program[ListOfKeys]:
        """For each provider, whether this user has a key of their own for it, and whether it needs one."""
        return listed(ProviderKey, (yield from fetched(self._service, Request("GET", _keys(user)))))

    @method
    def set_provider_key(self, provider_id: str, api_key: str, *, user: str = "me") -> Program[ProviderKey]:
        """Use this key with the provider in this user's chats; it is stored encrypted and never shown again."""
        request = Request("PUT", _keys(user, provider_id), json={"api_key": api_key})
        return ProviderKey.read((yield from fetched(self._service, request)))

    @method
    def delete_provider_key(self, provider_id: str, *, user: str = "me") -> Program[None]:
        """Forget this user's key for the provider."""
        yield from fetched(self._service, Request("DELETE", _keys(user, provider_id)))


class Organizations(Resource[D]):
    """`client.organizations`."""

    @method
    def list(self) -> Program[ListOfOrganizations]:
        """The organizations that the caller may see."""
        found = yield from fetched(self._service, Request("GET", "/api/v2/organizations"))
        return listed(Organization, found)


def _provider(provider: str, what: str) -> str:
    return f"{PROVIDERS}/{word(provider)}/{what}"


def _keys(user: str, *provider: str) -> str:
    return "/".join([f"/api/v2/users/{word(user)}/ai-provider-keys", *(word(each) for each in provider)])
