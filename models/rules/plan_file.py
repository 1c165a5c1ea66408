"""Where a chat that plans keeps its plan, and the files that must not be taken for it (runtime.md 12.2)."""

import posixpath
from uuid import UUID

MOST_BYTES = 32 * 1024
NOT_THE_PLAN = "plan.md"  # in the home directory, where models like to put one


def path(home: str, chat_id: UUID) -> str:
    """The plan file of the chat."""
    return f"{home.rstrip('/')}/.coder/plans/PLAN-{chat_id}.md"


def meant(given: str, home: str) -> str:
    """The path in full, as far as it can be told without looking."""
    given = given.strip()
    if given == "~" or given.startswith("~/"):
        given = home + given[1:]
    return posixpath.normpath(given)


def looks_like_plan(given: str) -> bool:
    """Might it be a plan in the home directory?"""
    return posixpath.basename(given.strip()).lower() == NOT_THE_PLAN


def is_stray_plan(given: str, home: str) -> bool:
    """Is it a plan in the home directory, where plans of all chats would overwrite each other?"""
    return looks_like_plan(given) and posixpath.dirname(meant(given, home)) in (home.rstrip("/"), "")


def block(plan_path: str) -> str:
    """What a model that plans is told of it."""
    return (
        f"<plan-file>\nWrite the plan to {plan_path} with write_file and edit_files: it is the only file that you may "
        "change. Propose it with propose_plan when it is complete.\n</plan-file>"
    )
