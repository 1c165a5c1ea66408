"""What handlers depend on is asked on the event loop: FastAPI runs a dependency that is not async in a thread."""

import inspect
from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute

from api.routes import ROUTES


def below(dependant: Dependant) -> Iterator[Dependant]:
    for each in dependant.dependencies:
        yield each
        yield from below(each)


def test_no_dependency_and_no_handler_runs_in_a_thread() -> None:
    routes = [each for _, router in ROUTES for each in router.routes if isinstance(each, APIRoute | APIWebSocketRoute)]
    assert len(routes) > 30
    calls = {each.call for route in routes for each in (route.dependant, *below(route.dependant))}
    assert [call for call in calls if not inspect.iscoroutinefunction(call)] == []
