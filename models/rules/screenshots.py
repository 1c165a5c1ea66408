"""Which pictures of its desktop a model is shown again: the newest few, or a long session would be nothing but them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from models.parts import Part
from models.rules.computer import TOOL
from models.rules.profiles import IMAGES, Profile

NEWEST = 3
BATCH = 5
"""So many are left out at once: between those moments the prompt grows at its end alone, and stays in the cache."""
_BASE64 = re.compile("[A-Za-z0-9+/]+={0,2}")
LEFT_OUT = "an older picture of the screen, which is not shown again"


def shown(rows: Sequence[Mapping[str, Any]], profile: Profile) -> frozenset[int]:
    """The places of the rows whose picture the model is shown: of the newest, NEWEST at least, under NEWEST + BATCH.

    Older ones may come without what they show, and count all the same.
    """
    pictures = [place for place, row in enumerate(rows) if row["role"] == "tool" and is_picture(row["content"][0])]
    too_many = max(len(pictures) - NEWEST, 0)
    newest = pictures[too_many - too_many % BATCH :]
    return frozenset(place for place in newest if _fits(rows[place]["content"][0]["result"], profile))


def content(part: Part) -> dict[str, Any]:
    """The picture, as a provider takes it."""
    result = part["result"]
    return {"type": "image_url", "image_url": {"url": f"data:{result['mime_type']};base64,{result['data']}"}}


def is_picture(part: Part) -> bool:
    """Is it what the desktop looked like?"""
    result = part.get("result")
    return bool(part.get("is_media")) and part.get("tool_name") == TOOL and isinstance(result, dict)


def _fits(result: Mapping[str, Any], profile: Profile) -> bool:
    """Is it a picture, and small enough for the model?"""
    data, kind = result.get("data"), result.get("mime_type")
    if not isinstance(data, str) or not isinstance(kind, str) or kind not in IMAGES:
        return False
    return len(data) * 3 // 4 <= profile.limit(kind) and _BASE64.fullmatch(data) is not None
