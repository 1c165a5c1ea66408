"""The situations that a chat can be in, and what its model is to be told in each: the table that is evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from models.rules import features, instructions, workspace_context

OWN, MINE, PLANNING = "Ours: write British English.", "Call me Ada.", "Ours: plan in German."

MARKS: Mapping[str, str] = {
    "default": "# Workspaces\n",
    "own": OWN,
    "attached": instructions.ATTACHED,
    "detached": instructions.DETACHED,
    "stranded": instructions.DETACHED_CHILD,
    "sub-agent": "<sub-agent>",
    "finds-out": "Your task is to find out.",
    "desktop": "Your task is done on a desktop",
    "workspace": "<workspace-context>",
    "files": workspace_context.FILES,
    "skills": "<available-skills>",
    "user": f"<user-instructions>\n{MINE}",
    "explores": "<explore-mode>",
    "plans": "work out a plan; do not carry it out",
    "plan-file": "<plan-file>",
    "plan-own": PLANNING,
    "plan-child": "Plan mode is on for the agent that you work for.",
    "advisor": "<advisor-guidance>",
}
"""Blocks in the order in which a prompt has them, each with words that are in no other."""


@dataclass(frozen=True, slots=True)
class Situation:
    """`blocks` is what the model must be told, `tools` which of the telling ones it must be offered."""

    name: str
    blocks: str
    tools: str = ""
    site: Mapping[str, str] = field(default_factory=dict)
    mine: bool = False
    workspace: str = ""
    parent: bool = False
    mode: str | None = None
    plan_mode: str | None = None


CUSTOM = {instructions.SYSTEM_PROMPT: OWN}
BOTH = {**CUSTOM, instructions.INCLUDE_DEFAULT: "true"}
NONE = {instructions.INCLUDE_DEFAULT: "false"}
PLAN_WORDS = {instructions.PLAN_INSTRUCTIONS: PLANNING}
ADVISED = {
    features.ADVISOR: features.advisor_text(
        [features.Held(datetime.min.replace(tzinfo=UTC), features.Advisor(enabled=True))]
    )
}
SILENT, TELLING = "silent", "telling"  # what a workspace has for those who work in it
ROOT, PLANS, LOOKS = "create_workspace execute", "create_workspace execute propose_plan", "execute"

SITUATIONS = (
    Situation("a plain chat", "default detached", ROOT),
    Situation("the deployment's prompt alone", "own detached", ROOT, CUSTOM),
    Situation("the default and the deployment's", "default own detached", ROOT, BOTH),
    Situation("no prompt at all", "detached", ROOT, NONE),
    Situation("a personal prompt", "default detached user", ROOT, mine=True),
    Situation("an advisor", "default detached user advisor", f"advisor {ROOT}", ADVISED, True),
    Situation("an advisor, and planning", "default detached plans", PLANS, ADVISED, plan_mode="plan"),
    Situation("an advisor of the parent's", "default stranded sub-agent", LOOKS, ADVISED, parent=True),
    Situation("a workspace", "default attached workspace", ROOT, workspace=SILENT),
    Situation("a workspace that tells", "default attached workspace files skills user", ROOT, {}, True, TELLING),
    Situation("planning", "default detached user plans plan-own", PLANS, PLAN_WORDS, True, plan_mode="plan"),
    Situation(
        "planning in a workspace",
        "default attached workspace files skills plans plan-file",
        PLANS,
        workspace=TELLING,
        plan_mode="plan",
    ),
    Situation("a sub-agent", "default stranded sub-agent user", LOOKS, mine=True, parent=True),
    Situation(
        "a sub-agent in a workspace",
        "default attached sub-agent workspace files skills",
        LOOKS,
        workspace=TELLING,
        parent=True,
    ),
    Situation(
        "a sub-agent of one that plans",
        "default stranded sub-agent plan-child",
        LOOKS,
        PLAN_WORDS,
        parent=True,
        plan_mode="plan",
    ),
    Situation(
        "a sub-agent that explores", "default stranded sub-agent finds-out explores", LOOKS, parent=True, mode="explore"
    ),
    Situation(
        "one that explores a workspace",
        "default attached sub-agent finds-out workspace files skills user explores",
        LOOKS,
        {},
        True,
        TELLING,
        parent=True,
        mode="explore",
    ),
    Situation(
        "a sub-agent at a desktop", "default stranded sub-agent desktop", LOOKS, parent=True, mode="computer_use"
    ),
)
