"""What is said about uploaded files (wire-api.md 8.1)."""

from uuid import UUID

from pydantic import BaseModel


class UploadedFile(BaseModel):
    """A file that messages may name now."""

    id: UUID
