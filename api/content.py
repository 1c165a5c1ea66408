"""Which content a message may have, and how it is stored (wire-api.md 3.1.1)."""

from collections.abc import Sequence

from api.schemas.parts import NO_ID, InputPart
from models.errors import Invalid
from models.parts import Part, text


def accept(content: Sequence[InputPart]) -> list[Part]:
    """The parts to store; raises Invalid that names the first part at fault."""
    if not content:
        raise Invalid("Content is required.", "Content cannot be empty.")
    return [_accept(part, f"content[{index}]") for index, part in enumerate(content)]


def _accept(part: InputPart, where: str) -> Part:
    match part.type.strip().lower():
        case "text":
            said = part.text.strip()
            if not said:
                raise _refused(f"{where}.text cannot be empty.")
            return text(said)
        case "file":
            if part.file_id is None or part.file_id == NO_ID:
                raise _refused(f"{where}.file_id is required for file parts.")
            # Nothing can be uploaded yet, so no id names a file.
            raise _refused(f"{where}.file_id references a file that does not exist.")
        case "file-reference":
            if not part.file_name:
                raise _refused(f"{where}.file_name cannot be empty for file-reference.")
            return {
                "type": "file-reference",
                "file_name": part.file_name,
                "start_line": part.start_line,
                "end_line": part.end_line,
                "content": part.content,
            }
        case _:
            raise _refused(f'{where}.type "{part.type}" is not supported.')


def _refused(detail: str) -> Invalid:
    return Invalid("Invalid input part.", detail)
