"""`turnstone providers`: which model services there are, and with which keys."""

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnstone.cli.connection import HERE, AsJson, Failed, Place, Target, Token, Url, find, with_client

if TYPE_CHECKING:
    from turnstone.client import AsyncTurnstone

BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com/v1beta",
    "openrouter": "https://openrouter.ai/api/v1",
    "vercel": "https://ai-gateway.vercel.sh/v1",
}

providers = typer.Typer(help="List and add model providers (administrators).", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.add_typer(providers, name="providers")


@providers.command("add")
def add(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="TYPE", help="openai, anthropic, openai-compat, azure, google, bedrock, openrouter, vercel"
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Its name here; if not said, its type.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Where it is (openai-compat: with /v1); may be left out for a vendor's own.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(help="Its key; - reads it from stdin.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable that holds the key.")
    ] = None,
    display_name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    settings: Annotated[str | None, typer.Option(metavar="JSON", help="Settings of azure and bedrock.")] = None,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Add a model provider; its key is stored encrypted and never shown again."""

    async def work(client: "AsyncTurnstone", _: Target) -> Any:
        key = _key(api_key, api_key_env)
        address = base_url or BASE_URLS.get(kind)
        if address is None:
            raise Failed(f"--base-url is needed: {kind} has no address of its own")
        made = await client.providers.create(
            kind,
            name or kind,
            base_url=address,
            api_keys=[key] if key else [],
            display_name=display_name or "",
            settings=None if settings is None else json_object(settings, "--settings"),
        )
        return made.raw

    made = with_client(lambda: find(url, token, data_dir), work)
    if as_json:
        typer.echo(json.dumps(made, indent=2))
    else:
        typer.echo(made["id"])
        typer.echo(
            f"Provider {made['name']} is there. Next: turnstone models add MODEL --provider {made['name']}", err=True
        )


@providers.command("list")
def listing(url: Url = None, token: Token = None, data_dir: Place = HERE, as_json: AsJson = False) -> None:
    """List the model providers; keys are masked."""

    async def work(client: "AsyncTurnstone", _: Target) -> list[Any]:
        return [each.raw for each in await client.providers.list()]

    found = with_client(lambda: find(url, token, data_dir), work)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from turnstone.cli.tables import show

    rows = [
        (
            each["id"],
            each["name"],
            each["type"],
            "on" if each["enabled"] else "off",
            ", ".join(key["masked"] for key in each.get("api_keys") or ()) or "none",
            each["base_url"],
        )
        for each in found
    ]
    show(("Id", "Name", "Type", "State", "Keys", "Address"), rows, none="No providers: turnstone providers add openai")


Named = Annotated[str, typer.Argument(metavar="NAME|ID")]


@providers.command("test")
def try_out(name: Named, url: Url = None, token: Token = None, data_dir: Place = HERE, as_json: AsJson = False) -> None:
    """Is it there, and does it know its key? Exit code 1 if not."""

    async def work(client: "AsyncTurnstone", _: Target) -> Any:
        return (await client.providers.test(name)).raw

    found = with_client(lambda: find(url, token, data_dir), work)
    typer.echo(json.dumps(found, indent=2) if as_json else found["message"])
    raise typer.Exit(0 if found["ok"] else 1)


@providers.command("models")
def offered(name: Named, url: Url = None, token: Token = None, data_dir: Place = HERE, as_json: AsJson = False) -> None:
    """List the models that a provider has; `turnstone models add` lets chats use one."""

    async def work(client: "AsyncTurnstone", _: Target) -> Any:
        return (await client.providers.discover(name)).raw

    found = with_client(lambda: find(url, token, data_dir), work)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found["ok"]:
        from turnstone.cli.tables import show

        rows = [
            (
                each["id"],
                each.get("display_name", ""),
                str(each.get("context_limit", "")),
                "yes" if each["configured"] else "",
            )
            for each in found["models"]
        ]
        show(("Model", "Name", "Context", "Configured"), rows, none="It lists no models.")
    else:
        typer.echo(f"turnstone: {found['message']}", err=True)
    raise typer.Exit(0 if found["ok"] else 1)


def _key(given: str | None, variable: str | None) -> str | None:
    if given is not None and variable is not None:
        raise Failed("give --api-key or --api-key-env, not both")
    if variable is not None:
        if not os.environ.get(variable):
            raise Failed(f"the environment variable {variable} is empty or not set")
        return os.environ[variable].strip()
    if given == "-":
        return sys.stdin.readline().strip() or None
    return given


def json_object(text: str, option: str) -> dict[str, Any]:
    """The JSON object that an option holds; raises Failed."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Failed(f"{option} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Failed(f"{option} must be a JSON object")
    return value
