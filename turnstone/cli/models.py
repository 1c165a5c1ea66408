"""`turnstone models`: which models chats may use."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnstone.cli.connection import HERE, AsJson, Failed, Place, Target, Token, Url, find, with_client
from turnstone.cli.providers import json_object

if TYPE_CHECKING:
    from turnstone.client import AsyncTurnstone
    from turnstone.client.types import Provider

DEFAULT_CONTEXT = 128_000

models = typer.Typer(help="List and add models.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.add_typer(models, name="models")


@models.command("add")
def add(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Its name at the provider.")],
    provider: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Provider that has it; may be left out where there is one.")
    ] = None,
    is_default: Annotated[bool, typer.Option("--default", help="New chats use it.")] = False,
    context_limit: Annotated[int, typer.Option(min=1, help="Tokens it can read at once.")] = DEFAULT_CONTEXT,
    display_name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    options: Annotated[
        str | None,
        typer.Option(metavar="JSON", help='Call options, as {"temperature": 0.2, "max_output_tokens": 8000}.'),
    ] = None,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Let chats use a model of a provider."""

    async def work(client: "AsyncTurnstone", _: Target) -> Any:
        made = await client.models.create(
            await _provider(client, provider),
            model,
            display_name=display_name or "",
            is_default=is_default,
            context_limit=context_limit,
            options=None if options is None else json_object(options, "--options"),
        )
        return made.raw

    made = with_client(lambda: find(url, token, data_dir), work)
    if as_json:
        typer.echo(json.dumps(made, indent=2))
    else:
        typer.echo(made["id"])
        default = " It is the default." if made["is_default"] else ""
        typer.echo(
            f'Model {made["model"]} is there.{default} Next: turnstone chat --model {made["model"]} "hello"', err=True
        )


@models.command("list")
def listing(url: Url = None, token: Token = None, data_dir: Place = HERE, as_json: AsJson = False) -> None:
    """List the models that chats may use; * marks the default."""

    async def work(client: "AsyncTurnstone", _: Target) -> list[Any]:
        return [each.raw for each in await client.models.list()]

    found = with_client(lambda: find(url, token, data_dir), work)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from turnstone.cli.tables import show

    rows = [
        (
            each["id"],
            f"{each['model']}{' *' if each['is_default'] else ''}",
            each["provider"],
            "on" if each["enabled"] else "off",
            each["context_limit"],
            each["display_name"],
        )
        for each in found
    ]
    heads = ("Id", "Model", "Provider", "State", "Context", "Name")
    show(heads, rows, none="No models: turnstone providers add, then turnstone models add")


async def _provider(client: "AsyncTurnstone", wanted: str | None) -> str:
    found = await client.providers.list()
    if wanted is not None:
        for each in found:
            if wanted in (each.id, each.name):
                return each.id
        raise Failed(f"there is no provider {wanted!r}; there is {_names(found)}")
    real = [each for each in found if each.type != "demo"]
    if len(real) == 1:
        return real[0].id
    raise Failed(f"--provider is needed; there is {_names(found)}")


def _names(found: "list[Provider]") -> str:
    return ", ".join(each.name for each in found) or "none: `turnstone providers add` makes one"
