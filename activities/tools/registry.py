"""The tools there are, by name, in the order in which models are told of them."""

from collections.abc import Mapping
from typing import Any

from activities.tools.current_time import current_time
from activities.tools.tool import Tool

TOOLS: tuple[Tool, ...] = (current_time,)

BY_NAME: Mapping[str, Tool] = {each.name: each for each in TOOLS}
DECLARATIONS: tuple[dict[str, Any], ...] = tuple(each.declaration() for each in TOOLS)
