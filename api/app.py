"""The ASGI application: routes, errors and resources put together."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any, TypedDict

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from api import errors
from api.doorway import Doorway
from api.openapi import describe
from api.resources import Resources, open_resources
from api.routes import CHATS, EXPERIMENTAL, ROUTES
from api.switch import Switch
from models.errors import Exhausted, Invalid, Unavailable
from models.settings import Settings


class State(TypedDict):
    """What the lifespan gives to every request."""

    resources: Resources


class Application(FastAPI):
    """FastAPI without layers that do nothing here: Doorway answers where code fails, requests limit bodies."""

    def build_middleware_stack(self) -> ASGIApp:
        inner = AsyncExitStackMiddleware(self.router)  # asked for by WebSockets
        handlers: Mapping[Any, Any] = self.exception_handlers
        return Doorway(ExceptionMiddleware(inner, handlers))


def operation_id(route: APIRoute) -> str:
    """The function's name; routes under the experimental prefix are marked."""
    return f"{route.name}_experimental" if route.path_format.startswith(EXPERIMENTAL) else route.name


def create_app(settings: Settings) -> FastAPI:
    """The application; its resources open with its lifespan."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with open_resources(settings) as resources:
            yield {"resources": resources}

    app = _bare(lifespan)
    routes = _declared()
    app.router.routes[:] = [Switch([*app.router.routes, *routes]), *app.router.routes, *routes]
    errors.install(app)
    describe(app)
    return app


@cache
def _declared() -> tuple[BaseRoute, ...]:
    """Our routes: they know nothing of an application, so a process that opens many makes them once."""
    app = _bare(None)
    own = len(app.router.routes)
    # Of two routes that fit, the first is meant.
    for prefix, router in sorted(ROUTES, key=lambda each: each[0] not in CHATS):
        router.declare(app.router, prefix)
    return tuple(app.router.routes[own:])


def _bare(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[State]] | None) -> Application:
    return Application(
        title="Turnstone",
        summary="Durable agent chats.",
        version="0.1.0",
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        responses=errors.raises(Invalid, Exhausted, Unavailable),
        docs_url="/docs",
        redoc_url=None,
    )
