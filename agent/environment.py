"""What a command finds in its environment: never a question to answer, and nothing of the agent's own."""

from collections.abc import Mapping

from agent.census import MARK

# Whoever runs a command here is no one who could answer an editor, a pager or a password prompt.
_UNATTENDED = {
    "CODER_CHAT_AGENT": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "EDITOR": "true",
    "GIT_EDITOR": "true",
    "GIT_PAGER": "cat",
    "GIT_SEQUENCE_EDITOR": "true",
    "GIT_TERMINAL_PROMPT": "0",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "TERM": "dumb",
    "VISUAL": "true",
}
_OURS = ("TURNSTONE_", "CODER_AGENT_", "CODER_SESSION_")


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The agent's environment without what is the agent's own."""
    return {name: value for name, value in environment.items() if not name.startswith(_OURS)}


def for_command(
    own: Mapping[str, str], given: Mapping[str, str], asked: Mapping[str, str], mark: str
) -> dict[str, str]:
    """The environment of one command: the agent's, the build's, the call's; then what keeps it from asking."""
    merged = {**own, **given, **_UNATTENDED, **{name: value for name, value in asked.items() if _usable(name, value)}}
    merged = {name: value for name, value in merged.items() if _usable(name, value)}
    merged[MARK] = mark
    return merged


def _usable(name: str, value: str) -> bool:
    return bool(name) and "=" not in name and "\0" not in name + value and not name.startswith("TURNSTONE_")
