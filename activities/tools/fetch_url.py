"""The tool `fetch_url`: models cannot look at the web by themselves."""

import asyncio
import re
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field

from activities.tools import egress, readable
from activities.tools.endings import ToolFailed
from activities.tools.tool import EVERYWHERE, ToolContext, tool
from models.rules.executions import Policy

TEXT = re.compile(r"text/|application/(json|xml|javascript|x-ndjson|yaml|x-yaml|toml)|[^;]*\+(json|xml)")
HTML = re.compile(r"text/html|application/xhtml\+xml")


class Arguments(BaseModel):
    """Fetch a public web page or text document by its URL and read its text. Internal addresses are refused."""

    url: str = Field(description="An http or https URL.", max_length=8000)


@tool(policy=Policy.PURE, offered=EVERYWHERE, timeout=timedelta(seconds=45))
async def fetch_url(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    found = await egress.get(arguments.url, allow_private=context.settings.fetch_url_allow_private)
    kind = found.content_type.lower()
    if kind and not TEXT.match(kind):
        raise ToolFailed(f"{found.url} is {kind.partition(';')[0]}: only text can be read.")
    outcome: dict[str, Any] = {"url": found.url, "status": found.status, "content_type": found.content_type}
    text = readable.decoded(found.body, found.content_type)
    if HTML.match(kind) or (not kind and "<html" in text[:1000].lower()):
        outcome["title"], text = await asyncio.to_thread(readable.read, text)
    outcome["text"] = text
    if found.cut:
        outcome["note"] = f"The document is longer than {egress.MOST_BYTES} bytes: this is its beginning."
    return outcome
