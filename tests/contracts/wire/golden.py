"""Golden objects: what the application really says, with ids and times that do not change.

An object without a file gets one, and its module fails at its end: look at what was written, and run it again.
"""

import json
import re
from pathlib import Path
from typing import Any

OBJECTS = Path(__file__).parent.parent.parent / "golden" / "objects"
WRITTEN: list[str] = []
NEVER = "0001-01-01T00:00:00Z"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class _Names:
    """Names that stand for ids, in the order in which those come."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._numbers: dict[int, int] = {}

    def of(self, key: str, value: Any) -> Any:
        match value:
            case dict():
                return {self.of("", name): self.of(name, each) for name, each in value.items()}
            case list():
                return [self.of(key, each) for each in value]
            case str() if _ID.fullmatch(value):
                return self._ids.setdefault(value, f"00000000-0000-4000-8000-{len(self._ids) + 1:012}")
            case str() if _TIME.fullmatch(value) and value != NEVER:
                return "2026-01-01T00:00:00Z"
            case int() if not isinstance(value, bool) and (key == "id" or key.endswith("_message_id")):
                return self._numbers.setdefault(value, len(self._numbers) + 1)
        return value


def same(name: str, given: Any) -> None:
    """The object is the golden one."""
    written = json.dumps(_Names().of("", given), indent=1, ensure_ascii=False) + "\n"
    path = OBJECTS / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(written)
        WRITTEN.append(path.name)
    assert json.loads(written) == json.loads(path.read_text()), f"{path.name}: delete it to have it written anew"


def stored() -> dict[str, Any]:
    """All golden objects, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(OBJECTS.glob("*.json"))}
