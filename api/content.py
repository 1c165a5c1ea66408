"""Which content a message may have, and how it is stored (wire-api.md 3.1.1)."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from api.schemas.parts import NO_ID, InputPart
from models.errors import Invalid
from models.parts import Part, text
from models.principal import Principal
from models.store import files
from models.store.session import Session


async def accept(session: Session, caller: Principal, content: Sequence[InputPart]) -> list[Part]:
    """The parts to store; raises Invalid that names the first part at fault. Files stay until the session's end."""
    if not content:
        raise Invalid("Content is required.", "Content cannot be empty.")
    named = {part.file_id for part in content if _kind(part) == "file" and part.file_id}
    known = await files.parts(session, caller, named)
    return [_accept(part, f"content[{index}]", known) for index, part in enumerate(content)]


def _accept(part: InputPart, where: str, known: Mapping[UUID, Part]) -> Part:
    match _kind(part):
        case "text":
            said = part.text.strip()
            if not said:
                raise _refused(f"{where}.text cannot be empty.")
            return text(said)
        case "file":
            if part.file_id is None or part.file_id == NO_ID:
                raise _refused(f"{where}.file_id is required for file parts.")
            if part.file_id not in known:
                raise _refused(f"{where}.file_id references a file that does not exist.")
            return known[part.file_id]
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


def _kind(part: InputPart) -> str:
    return part.type.strip().lower()


def _refused(detail: str) -> Invalid:
    return Invalid("Invalid input part.", detail)
