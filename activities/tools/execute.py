"""The tool `execute`: a command in the chat's workspace, run at most once whatever happens to whoever waits for it."""

import time
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field

from activities.tools import commands
from activities.tools.endings import Event, Pause, Paused, ToolFailed
from activities.tools.tool import EVERYWHERE, ToolContext, Where, tool, where
from models.rules.executions import Policy

SLACK = timedelta(seconds=30)  # that the agent has to say that time is up
OVERDUE = timedelta(seconds=30)


class Arguments(BaseModel):
    """Run a shell command in the workspace with `sh -c`, without a terminal and without standard input.

    Look for a repository or a program before you clone or install it: it may be there.

    It is waited for until it ends or the timeout is over. Then it goes on in the background: read on with
    process_output. What it started, it started once: do not repeat a command whose outcome is unknown without looking.
    """

    command: str = Field(description="The command.")
    model_intent: str = Field(
        default="", description="What it is for, in under 100 characters, for the user to read: `Running the tests`."
    )
    timeout: str = Field(
        default="", description="How long to wait, such as `30s` or `5m`. Default 10s, at most 4h.", examples=["30s"]
    )
    workdir: str = Field(default="", description="Where to run it; the workspace's directory if empty.")
    run_in_background: bool = Field(
        default=False, description="Do not wait: for servers, watchers and what takes long. Use it rather than `&`."
    )


@tool(policy=Policy.IDEMPOTENT, offered=EVERYWHERE, timeout=timedelta(minutes=55))
async def execute(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    command, ampersand = commands.backgrounded(arguments.command)
    if not command.strip():
        raise ToolFailed("command is required")
    wait = commands.wait_of(arguments.timeout, name="timeout")
    background = arguments.run_in_background or ampersand
    request: dict[str, Any] = {
        "command": command,
        "wait_ms": 0 if background else round(wait.total_seconds() * 1000),
        "background": background,
        "output_limit": commands.OUTPUT_BYTES,
    }
    if arguments.workdir.strip():
        request["directory"] = arguments.workdir.strip()
    if where(context.chat) is Where.EXPLORE:
        request["read_only"] = True
    result = await _run(request, wait, context)
    if "read_only" in request:
        result = commands.forewarned(result)
    process = str(result.get("process_id") or context.idempotency_key)
    if not result.get("running"):
        return commands.told(result, note=commands.advice(command))
    if background:
        note = "It runs in the background: read its output with process_output." if ampersand else ""
        outcome = commands.told(result, note=note) | {"success": True, "background_process_id": process}
        del outcome["exit_code"]  # it has none
        return outcome
    note = f"It goes on in the background: read on with process_output and the process_id {process}."
    outcome = commands.told(result, note=note)
    outcome["error"] = f"the command timed out after {wait.total_seconds():g} s"
    return outcome | {"success": False, "background_process_id": process}


async def _run(request: dict[str, Any], wait: timedelta, context: ToolContext) -> dict[str, Any]:
    """Ask for the command, and wait for it: here, or for a long time with nobody at it."""
    patience = timedelta() if request["background"] else wait
    patience += SLACK
    if until := context.memory.get("until"):
        patience = max(timedelta(seconds=float(until) - time.time()), OVERDUE)
    attended = timedelta(seconds=context.place.patience.attended)
    if patience <= attended:
        return await context.ask("exec", request, patience=patience, aloud=True)
    until = time.time() + patience.total_seconds()
    done = await context.ask_for("exec", request, patience=attended, aloud=True)
    if done is not None:
        return done
    left = timedelta(seconds=until - time.time())
    raise Paused(Pause("a long command", Event.JOB_OVER, context.job_id(), left, {"until": until}))
