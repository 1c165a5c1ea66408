"""Print the tables of README.md and ARCHITECTURE.md from code: `python -m turnstone.documents` (part of `make fix`)."""

import re
import sys
from pathlib import Path

from models.rules.moves import TABLE, Move
from models.rules.states import State
from models.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent


def settings() -> str:
    """Every knob: variable, default, sentence."""
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if hasattr(default, "total_seconds"):
            shown = f"{default.total_seconds():g} s"
        elif hasattr(default, "get_secret_value") or default in ("", frozenset()):
            shown = "–"
        else:
            shown = f"`{default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines)


def moves() -> str:
    """The table of moves: a row a move, a column a state, a cell where it lands."""
    states = [state for state in State if state is not State.N]
    lines = ["| move | " + " | ".join(states) + " |", "|---" * (len(states) + 1) + "|"]
    for move in Move:
        if move is Move.CREATE:
            continue
        cells = [_cell(TABLE[state].get(move, frozenset())) for state in states]
        lines.append(f"| {move} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def diagram() -> str:
    """The main road through the states, as Mermaid; queue and archive variants are in the table."""
    shown = {
        State.W: "waiting",
        State.R0: "running",
        State.I0: "interrupting",
        State.A0: "requires_action",
        State.E0: "error",
    }
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> running: Create"]
    edges: dict[tuple[str, str], list[str]] = {}
    for state, name in shown.items():
        for move, landings in TABLE[state].items():
            for landed in landings:
                family = State(landed[0] + "0") if landed[0] in "REIA" else landed
                target = shown.get(family)
                if target is not None and target != name:
                    edges.setdefault((name, target), []).append(move)
    for (source, target), through in edges.items():
        lines.append(f"    {source} --> {target}: {', '.join(dict.fromkeys(through))}")
    lines.append("```")
    return "\n".join(lines)


SECTIONS = {"settings": settings, "moves": moves, "diagram": diagram}


def rewritten(document: str) -> str:
    """The document with each `<!-- printed: name -->` section printed anew."""

    def again(found: re.Match[str]) -> str:
        return f"<!-- printed: {found[1]} -->\n{SECTIONS[found[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- printed: (\w+) -->\n.*?<!-- end -->", again, document, flags=re.DOTALL)


def main() -> None:
    """Rewrite the documents in place."""
    for path in (ROOT / "README.md", ROOT / "ARCHITECTURE.md"):
        text = path.read_text()
        fresh = rewritten(text)
        if fresh != text:
            path.write_text(fresh)
            sys.stdout.write(f"rewrote {path.name}\n")


def _cell(landings: frozenset[State]) -> str:
    return "/".join(sorted(landings)) or "–"


if __name__ == "__main__":
    main()
