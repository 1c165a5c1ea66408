"""What a client may put into a message: the parts of its content (wire-api.md 2.5)."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from api.requests import Body

NO_ID = UUID(int=0)
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class TextInput(BaseModel):
    """Text, trimmed before it is stored."""

    type: Literal["text"]
    text: str = Field(examples=["Explain how a mutex works."])


class FileInput(BaseModel):
    """An uploaded file, by its id."""

    type: Literal["file"]
    file_id: UUID


class FileReferenceInput(BaseModel):
    """A quoted piece of a file."""

    type: Literal["file-reference"]
    file_name: str = Field(examples=["main.py"])
    start_line: Int64 = 0
    end_line: Int64 = 0
    content: str = ""


_DOCUMENTED: TypeAdapter[Any] = TypeAdapter(
    Annotated[TextInput | FileInput | FileReferenceInput, Field(discriminator="type")]
)


class InputPart(Body):
    """One part of a message's content, told apart by `type`.

    Read leniently, so that api.content can say which part is wrong in the documented words; documented as the union.
    """

    type: str = ""
    text: str = ""
    file_id: UUID | None = None
    file_name: str = ""
    start_line: Int64 = 0
    end_line: Int64 = 0
    content: str = ""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(_DOCUMENTED.core_schema)
