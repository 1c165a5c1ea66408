"""Finds a request's route by the words of its path: trying a hundred patterns in turn costs more than answering."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from starlette.routing import BaseRoute, Match, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

_CHOSEN = "turnstone.route"
_SOCKET = "websocket"  # stands among the methods


@dataclass(slots=True)
class _Place:
    """What lies at one path: routes by method, the first declared of each, and the places below."""

    words: dict[str, "_Place"] = field(default_factory=dict)
    parameter: "_Place | None" = None
    routes: dict[str, tuple[int, BaseRoute]] = field(default_factory=dict)

    def below(self, step: str) -> "_Place":
        if not step.startswith("{"):
            if step not in self.words:
                self.words[step] = _Place()
            return self.words[step]
        if self.parameter is None:
            self.parameter = _Place()
        return self.parameter


class Switch(BaseRoute):
    """Stands before the routes it knows; what it does not find is left to them, with their 404 and 405."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._root = _Place()
        for order, route in enumerate(routes):
            if isinstance(route, Route | WebSocketRoute) and (steps := _steps(route)) is not None:
                place = self._root
                for step in steps:
                    place = place.below(step)
                methods = (route.methods or ()) if isinstance(route, Route) else (_SOCKET,)
                for method in methods:
                    place.routes.setdefault(method, (order, route))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path: str = scope["path"]
        if scope.get("root_path") or path.endswith("\n"):  # which a pattern takes for the end
            return Match.NONE, {}
        method = _SOCKET if scope["type"] == "websocket" else scope["method"]
        # Of a fixed path and one with a parameter, the one that was declared first is meant.
        found = min(_at(self._root, path.split("/"), 0, method), default=None, key=lambda each: each[0])
        if found is None:
            return Match.NONE, {}
        match, child = found[1].matches(scope)
        if match is not Match.FULL:
            return Match.NONE, {}
        child[_CHOSEN] = found[1]
        return match, child

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        route: BaseRoute = scope[_CHOSEN]
        await route.handle(scope, receive, send)


def _steps(route: Route | WebSocketRoute) -> list[str] | None:
    """The path in steps, or None when one of them is neither a fixed word nor a whole parameter."""
    steps = route.path.split("/")
    whole = all("{" not in step or (step[0] == "{" and step.find("}") == len(step) - 1) for step in steps)
    return steps if whole and ":" not in route.path else None


def _at(place: _Place, steps: list[str], depth: int, method: str) -> Iterator[tuple[int, BaseRoute]]:
    if depth == len(steps):
        if method in place.routes:
            yield place.routes[method]
        return
    step = steps[depth]
    if (word := place.words.get(step)) is not None:
        yield from _at(word, steps, depth + 1, method)
    if place.parameter is not None and step:
        yield from _at(place.parameter, steps, depth + 1, method)
