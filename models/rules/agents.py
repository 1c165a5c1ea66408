"""Which agent of a workspace a chat works with (runtime.md 11.1, step 8)."""

from collections.abc import Iterable, Mapping
from typing import Any

MARK = "-coderd-chat"
LIFECYCLES = ("created", "starting", "ready", "start_error", "start_timeout", "shutting_down", "off")


class Ambiguous(ValueError):
    """More than one agent is marked as the chat's; the text names them."""


def chosen(agents: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of the agents that have no parent: the one whose name is marked, else the first in order. None without any.

    Raises Ambiguous.
    """
    roots = [agent for agent in agents if agent["parent_id"] is None]
    marked = [agent for agent in roots if agent["name"].lower().endswith(MARK)]
    if len(marked) > 1:
        names = ", ".join(sorted(agent["name"] for agent in marked))
        raise Ambiguous(f"multiple agents match the chat suffix {MARK!r}: {names}")
    if marked:
        return marked[0]
    order = sorted(roots, key=lambda agent: (agent["display_order"], agent["name"].lower(), agent["name"], agent["id"]))
    return order[0] if order else None
