"""What a model is shown of files: the bytes where it takes them, their text, or a note that there was a file."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from models.parts import Part
from models.rules.profiles import IMAGES, PDF, Profile

TEXTS = frozenset({"text/plain", "text/csv", "text/markdown", "application/json"})
TEXT_BYTES = 128 * 1024
PASTED = re.compile(r"pasted-text-[0-9A-Za-z_.:-]+\.txt", re.IGNORECASE)

Content = dict[str, Any]


class File(Protocol):
    """A file with what it holds."""

    @property
    def name(self) -> str: ...
    @property
    def mimetype(self) -> str: ...
    @property
    def data(self) -> bytes: ...


def wanted(rows: Sequence[Mapping[str, Any]], sizes: Mapping[str, int], profile: Profile) -> list[str]:
    """The ids of the users' files whose content is to be loaded, newest first, as far as a request may hold.

    `sizes` has the files that there still are.
    """
    chosen: list[str] = []
    room = profile.total_bytes
    for part in _newest_first(rows):
        file_id = str(part.get("file_id") or "")
        size, kind = sizes.get(file_id), part.get("media_type", "")
        if size is None or file_id in chosen:
            continue
        if size > room or (kind not in TEXTS and size > profile.limit(kind)):
            continue
        room -= size
        chosen.append(file_id)
    return chosen


def ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of all files that users sent."""
    return list(dict.fromkeys(str(part["file_id"]) for part in _newest_first(rows) if part.get("file_id")))


def shown(part: Part, loaded: Mapping[str, File], gone: bool) -> str | Content:
    """The text or the content part that stands for a user's file; `gone`: it is not stored any more."""
    name, kind = part.get("name") or "", part.get("media_type") or "unknown type"
    label = f"{name} ({kind})" if name else kind
    file = loaded.get(str(part.get("file_id") or ""))
    if file is None:
        return f"[attached file {label}: {'content expired' if gone else 'its content cannot be shown to this model'}]"
    if kind in TEXTS:
        text = _text(file.data)
        return text if PASTED.fullmatch(name) else f"[attached file {label}]\n{text}"
    url = f"data:{kind};base64,{base64.b64encode(file.data).decode()}"
    if kind in IMAGES:
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"filename": name or ("document.pdf" if kind == PDF else "file"), "file_data": url}}


def _newest_first(rows: Sequence[Mapping[str, Any]]) -> list[Part]:
    return [
        part
        for row in reversed(rows)
        if row["role"] == "user"
        for part in reversed(row["content"] or ())
        if part.get("type") == "file"
    ]


def _text(data: bytes) -> str:
    text = data[:TEXT_BYTES].decode("utf-8", "ignore" if len(data) > TEXT_BYTES else "replace")
    if len(data) > TEXT_BYTES:
        text += f"\n[truncated: the first {TEXT_BYTES} of {len(data)} bytes are shown]"
    return text
