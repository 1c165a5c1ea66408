"""`turnstone dev`: the whole service on one machine, without Docker or network, in seconds."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from turnstone.data_dir import DEFAULT, DataDir, InUse
from turnstone.embedded_postgres import PostgresFailed
from turnstone.stack import Options, Stack, StartFailed
from turnstone.terminal import Terminal

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.command()(dev)


def dev(
    data_dir: Annotated[Path, typer.Option(help="Where everything is kept.")] = DEFAULT,
    host: Annotated[str, typer.Option(envvar="TURNSTONE_HOST", help="Address that the API listens on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            envvar="TURNSTONE_PORT", min=0, max=65535, help="Port of the API; further ones follow it. 0: free."
        ),
    ] = 8080,
    temporal_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of Temporal. 0: free.")] = 7233,
    temporal_ui_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of Temporal's UI. 0: free.")] = 8233,
    apis: Annotated[int, typer.Option(min=1, max=64, help="How many API processes.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many worker processes.")] = 1,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write addresses, token and process ids there, as JSON, when ready.")
    ] = None,
) -> None:
    """Run PostgreSQL, Temporal, the API and a worker; Ctrl-C stops them."""
    options = Options(
        data_dir=data_dir,
        host=host,
        port=port,
        temporal_port=temporal_port,
        temporal_ui_port=temporal_ui_port,
        apis=apis,
        workers=workers,
        ready_file=ready_file.expanduser().resolve() if ready_file else None,
    )
    place = DataDir(data_dir)
    terminal = Terminal()
    try:
        place.open()
    except InUse as holder:
        terminal.fail(
            f"turnstone: another `turnstone dev` (process {holder}) runs on {place.root}: "
            "stop it, or choose another directory with --data-dir"
        )
        raise typer.Exit(1) from None
    except OSError as error:
        terminal.fail(f"turnstone: cannot use {place.root}: {error.strerror}: choose another with --data-dir")
        raise typer.Exit(1) from None
    code = asyncio.run(_run(options, place, terminal))
    place.close()
    raise typer.Exit(code)


async def _run(options: Options, place: DataDir, terminal: Terminal) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    stack = Stack(options, place, terminal.warn)

    def on_signal() -> None:
        if stopping.is_set():
            terminal.warn("killing everything")
            stack.supervisor.kill()
        stopping.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    terminal.say(terminal.dim(f"Starting PostgreSQL, Temporal, API and worker on {place.root} …"))
    starting = asyncio.create_task(stack.start())
    stopped = asyncio.create_task(stopping.wait())
    code = 0
    try:
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _welcome(stack, terminal)
            kept = asyncio.create_task(stack.supervisor.failure())
            await asyncio.wait((kept, stopped), return_when=asyncio.FIRST_COMPLETED)
            if kept.done():
                kept.result()
            kept.cancel()
    except (StartFailed, PostgresFailed, OSError) as failed:
        terminal.fail(f"turnstone: {failed}")
        code = failed.code if isinstance(failed, StartFailed) else 1
    starting.cancel()
    stopped.cancel()
    if code == 0:
        terminal.say(terminal.dim("Stopping …"))
    stopping.set()  # from here on a Ctrl-C kills
    await asyncio.gather(starting, return_exceptions=True)
    await stack.stop()
    return code


def _welcome(stack: Stack, terminal: Terminal) -> None:
    if os.environ.get("TURNSTONE_ADMIN_TOKEN"):
        where = "the one in TURNSTONE_ADMIN_TOKEN"
    elif stack.created:
        where = f"{stack.admin_token}  (shown once; kept in {stack.place.token_file})"
    else:
        where = f"in {stack.place.token_file}"
    terminal.say(f"\n{terminal.bold('Turnstone is ready.')}")
    for name, value in (
        ("API", "  ".join(stack.api_urls)),
        ("Admin token", where),
        ("Temporal UI", stack.temporal_ui_url),
        ("PostgreSQL", stack.postgres.url),
        ("Logs", str(stack.place.logs)),
    ):
        terminal.say(f"  {name:<12} {value}")
    hello = terminal.bold('turnstone chat "hello"')
    terminal.say(f"\n  Say something:  {hello}")
    terminal.say("  Stop:           Ctrl-C\n")
