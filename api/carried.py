"""Reads a document that is to become a chat: strictly, and off the loop, since it may be large."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError

from api.requests import Malformed, parse
from api.schemas.transfer import CarriedChat, CarriedDocument, CarriedFile, CarriedMessage, ImportChat
from models.errors import Invalid, TooLarge, Validation
from models.rules import file_types, portable

MAX_BYTES = 32 * 1024 * 1024
MAX_MESSAGES = 20_000
MOST_SAID = 20  # complaints about one document

_MESSAGE: TypeAdapter[CarriedMessage] = TypeAdapter(CarriedMessage)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file whose content came along."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Carried:
    """A document that makes sense. `files` are by the ids that its parts name; None where only the name came."""

    chat: CarriedChat
    messages: list[portable.Message]
    files: dict[UUID, NewFile | None]


def request(body: bytes) -> ImportChat:
    """The request, its document unread; raises Invalid."""
    given = parse(body)
    if isinstance(given, Malformed):
        raise Invalid("Request body must be valid JSON.", given.reason)
    return _read(ImportChat, given, "")


def document(given: Any) -> Carried:
    """The document; raises Invalid, naming the places that are wrong, and TooLarge."""
    read = _read(CarriedDocument, given, "document.")
    if len(read.messages) > MAX_MESSAGES:
        raise TooLarge("Chat too large.", f"A chat of at most {MAX_MESSAGES} messages can be imported.")
    wrong: list[Validation] = []
    messages: list[portable.Message] = []
    for index, raw in enumerate(read.messages):
        try:
            messages.append(_message(_MESSAGE.validate_python(raw)))
        except ValidationError as errors:
            wrong += _said(errors, f"document.messages.{index}")
        except (ValueError, OverflowError):
            wrong.append(
                Validation(f"document.messages.{index}", "It holds a moment that is not between 1970 and 9000.")
            )
        if len(wrong) >= MOST_SAID:
            break
    if not wrong:
        wrong = [Validation(f"document.{each.field}", each.detail) for each in portable.problems(messages)]
    if wrong:
        raise Invalid(validations=wrong[:MOST_SAID])
    return Carried(read.chat, list(portable.closed(messages)), _files(read.files))


def _message(read: CarriedMessage) -> portable.Message:
    if not portable.is_moment(read.created_at):
        raise ValueError(read.created_at)
    usage = read.usage.model_dump(exclude_none=True) if read.usage else {}
    return {
        "role": read.role,
        "created_at": read.created_at,
        "visibility": read.visibility,
        "model_config_id": read.model_config_id,
        "content": [portable.part(each.model_dump(exclude_unset=True)) for each in read.content],
        "usage": usage,
    }


def _files(given: Sequence[CarriedFile]) -> dict[UUID, NewFile | None]:
    found: dict[UUID, NewFile | None] = {}
    for index, each in enumerate(given):
        where = f"document.files.{index}"
        if each.id in found:
            raise Invalid(validations=[Validation(f"{where}.id", "Two files have this id.")])
        try:
            found[each.id] = None if each.data is None else _file(each, each.data)
        except Invalid as wrong:
            detail = f"{wrong.message} {wrong.detail}".strip()
            raise Invalid(validations=[Validation(where, detail)]) from None
    return found


def _file(given: CarriedFile, encoded: str) -> NewFile:
    try:
        data = base64.b64decode(encoded.encode(), validate=True)
    except binascii.Error as wrong:
        raise Invalid("The data is not base64.", str(wrong)) from None
    if len(data) > file_types.MAX_BYTES:
        raise TooLarge("File too large.", f"Maximum file size is {file_types.MAX_BYTES} bytes.")
    name = file_types.named(given.name)
    return NewFile(name, file_types.stored(data, name, file_types.declared(given.mime_type)), data)


def _read(model: type[M], given: Any, where: str) -> M:
    try:
        return model.model_validate(given)
    except ValidationError as errors:
        raise Invalid(validations=_said(errors, where.rstrip("."))[:MOST_SAID]) from None


def _said(errors: ValidationError, where: str) -> list[Validation]:
    return [
        Validation(".".join(filter(None, (where, *map(str, error["loc"])))) or "body", error["msg"])
        for error in errors.errors(include_url=False, include_context=False, include_input=False)
    ]
