"""`turnstone agent`: the workspace agent, for hosts where the whole of us is installed."""

import typer


def add_to(app: typer.Typer) -> None:
    """Register the command; what it takes is the agent's own business."""
    everything = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=everything)(agent)


def agent(context: typer.Context) -> None:
    """Run the workspace agent on this host (docs/agent.md)."""
    from agent.__main__ import main

    raise typer.Exit(main(context.args))
