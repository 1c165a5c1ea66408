"""What the official MCP client is told by a tool of ours."""

from typing import Any

import orjson
from mcp import Client

HANDSHAKE, LATER = "legacy", "auto"  # the protocol's versions with a handshake, and those without


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    """What the tool answers; it must not fail."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert orjson.loads(result.content[0].text) == result.structured_content
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """What the tool is refused with; it must be."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.content
    error: dict[str, Any] = result.structured_content["error"]
    assert result.content[0].text.startswith(f"{error['status']}: {error['message']}")
    return error
