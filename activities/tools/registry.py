"""The tools there are, by name, in the order in which models are told of them."""

from collections.abc import Sequence

from activities.tools.current_time import current_time
from activities.tools.tool import Tool

TOOLS: tuple[Tool, ...] = (current_time,)


class Toolbox:
    """The tools that a worker offers to models and runs for them."""

    def __init__(self, tools: Sequence[Tool] = TOOLS) -> None:
        self._by_name = {each.name: each for each in tools}
        self.declarations = tuple(each.declaration() for each in tools)

    def find(self, name: str) -> Tool | None:
        """The tool of that name."""
        return self._by_name.get(name)
