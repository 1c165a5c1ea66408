"""What may be asked of a fork."""

from pydantic import ConfigDict, Field

from api.requests import Body
from api.schemas.parts import InputPart
from models.rules.pages import MAX_ID


class ForkChat(Body):
    """Where the history is cut, and what the new chat begins with."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {},
                {"message_id": 7, "content": [{"type": "text", "text": "Now the same in Rust."}]},
            ]
        }
    )

    message_id: int | None = Field(
        default=None, ge=1, le=MAX_ID, description="The last message that is copied; absent means all of them."
    )
    title: str | None = Field(default=None, description="1 to 200 characters, trimmed; absent means the source's.")
    labels: dict[str, str] | None = Field(
        default=None, description="Absent means the source's.", examples=[{"team": "storage"}]
    )
    content: list[InputPart] = Field(
        default_factory=list, description="The next user message. Without it the new chat rests."
    )
