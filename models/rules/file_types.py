"""Which files may be uploaded, and what one really is, by its first bytes and its name (wire-api.md 8.1)."""

import re
from collections.abc import Mapping

import orjson

from models.errors import Invalid

MAX_BYTES = 10 * 1024 * 1024
MAX_NAME_BYTES = 255

ALLOWED = (
    "application/json",
    "application/pdf",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/csv",
    "text/markdown",
    "text/plain",
)
UNKNOWN = "application/octet-stream"  # what a client declares that leaves it to us

# What a declared type may turn out to be, besides itself.
_REFINED: Mapping[str, frozenset[str]] = {
    UNKNOWN: frozenset(ALLOWED),
    "text/plain": frozenset({"application/json", "text/csv", "text/markdown"}),
}
_SIGNATURES = (
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)
_EXTENSIONS = {".csv": "text/csv", ".markdown": "text/markdown", ".md": "text/markdown"}
_NOT_IN_TEXT = bytes(byte for byte in range(0x20) if byte not in b"\t\n\f\r\x1b")
_MARKUP_HEAD = 4096
_MOST_PARSED = 1024 * 1024  # a larger document is judged by its ends: to parse it would hold up everybody else
# Byte order mark, white space, declarations, comments and a document type may stand before the first element.
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s++|<\?.*?\?>|<!--.*?-->|<!doctype[^>]*>)*+<svg[\s>/]", re.DOTALL | re.IGNORECASE
)


def declared(content_type: str) -> str:
    """The type that a Content-Type header names; raises Invalid for one that is not allowed."""
    base = content_type.partition(";")[0].strip().lower() or UNKNOWN
    if base != UNKNOWN and base not in ALLOWED:
        raise _unsupported()
    return base


def stored(data: bytes, name: str, declared_type: str) -> str:
    """The type to store the file with; raises Invalid when it is none of the allowed ones or not what was declared."""
    if not data:
        raise Invalid("Invalid file.", "The file is empty.")
    found = _sniffed(data, name)
    if found is None:
        raise _unsupported()
    if found != declared_type and found not in _REFINED.get(declared_type, ()):
        raise Invalid(
            "File content type does not match Content-Type header.",
            f'Header declared "{declared_type}" but file content was detected as "{found}".',
        )
    return found


def named(name: str) -> str:
    """The name to store: trimmed, at most 255 bytes, cut between characters; raises Invalid for an empty one."""
    trimmed = name.strip().encode("utf-8", "replace")[:MAX_NAME_BYTES].decode("utf-8", "ignore").strip()
    if not trimmed:
        raise Invalid("Filename is required.", "Provide a filename in the Content-Disposition header.")
    return trimmed


def _unsupported() -> Invalid:
    return Invalid("Unsupported file type.", f"Allowed types: {', '.join(ALLOWED)}.")


def _sniffed(data: bytes, name: str) -> str | None:
    for signature, kind in _SIGNATURES:
        if signature.match(data):
            return kind
    if len(data.translate(None, _NOT_IN_TEXT)) != len(data) or _SVG.match(data[:_MARKUP_HEAD]):
        return None
    extension = name[name.rfind(".") :].lower() if "." in name else ""
    if extension == ".json" and _is_json(data):
        return "application/json"
    return _EXTENSIONS.get(extension, "text/plain")


def _is_json(data: bytes) -> bool:
    document = data.removeprefix(b"\xef\xbb\xbf")
    if len(document) > _MOST_PARSED:
        ends = document[:64].lstrip()[:1] + document[-64:].rstrip()[-1:]
        return ends in (b"{}", b"[]")
    try:
        orjson.loads(document)
    except orjson.JSONDecodeError:
        return False
    return True
