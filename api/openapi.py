"""The OpenAPI document: FastAPI's, with ways to sign in, events and examples, without answers that we never give."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from api.caller import COOKIE, HEADER
from api.examples import example
from api.schemas.errors import Error, FieldError
from models.errors import UsageLimited
from models.events import GitEvent, StreamEvent, WatchEvent

SECURITY_SCHEMES: dict[str, dict[str, str]] = {
    "token": {"type": "apiKey", "in": "header", "name": HEADER},
    "bearer": {"type": "http", "scheme": "bearer"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    "query": {"type": "apiKey", "in": "query", "name": COOKIE},
}
PUBLIC = frozenset(
    {
        *("healthz", "readyz", "metrics", "buildinfo", "first_user_exists", "create_first_user", "login"),
        *("validate_password", "list_auth_methods", "oidc_callback"),
    }
)
_NEVER = ("HTTPValidationError", "ValidationError")
_REF = "#/components/schemas/"
_ERROR = {"$ref": f"{_REF}Error"}
_EVENTS: Mapping[str, Any] = {"StreamEvent": StreamEvent, "WatchEvent": WatchEvent, "GitEvent": GitEvent}
# What events hold of the API's own objects, which their module does not know.
_HELD: Mapping[tuple[str, str], dict[str, Any]] = {
    ("MessageEvent", "message"): {"$ref": f"{_REF}ChatMessage"},
    ("QueueUpdateEvent", "queued_messages"): {"type": "array", "items": {"$ref": f"{_REF}ChatQueuedMessage"}},
    ("WatchEvent", "chat"): {"$ref": f"{_REF}Chat"},
}
# What an answer leads to: (operation, status, the parameters it gives) and the operations that take them.
_CHAT_MADE, _CHAT_ASKED = {"chat": "$response.body#/id"}, {"chat": "$request.path.chat"}
_LINKS: Sequence[tuple[str, str, Mapping[str, str], Sequence[str]]] = (
    (
        "create_chat",
        "201",
        _CHAT_MADE,
        ("get_chat", "patch_chat", "send_message", "list_messages", "list_prompts", "interrupt_chat", "get_chat_cost"),
    ),
    ("send_message", "200", {**_CHAT_ASKED, "message": "$response.body#/message/id"}, ("edit_message",)),
    (
        "send_message",
        "200",
        {**_CHAT_ASKED, "queued_message": "$response.body#/queued_message/id"},
        ("promote_queued_message", "delete_queued_message"),
    ),
    ("list_messages", "200", {**_CHAT_ASKED, "message": "$response.body#/messages/0/id"}, ("edit_message",)),
    ("upload_file", "201", {"file": "$response.body#/id"}, ("get_file",)),
)
_TWIN = "_experimental"  # ends the name of an operation under the other prefix
_LIMIT_FACTS = {"spent_micros": 50_120_000, "limit_micros": 50_000_000, "resets_at": "2026-06-01T00:00:00Z"}


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` give the finished document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _finish(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    openapi_version=app.openapi_version,
                    summary=app.summary,
                    routes=app.routes,
                    separate_input_output_schemas=False,
                )
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _finish(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    schemas = components.setdefault("schemas", {})
    for model in (Error, FieldError):
        schemas.setdefault(model.__name__, model.model_json_schema(ref_template=_REF + "{model}"))
    for name in _NEVER:
        schemas.pop(name, None)
    _add_events(schemas)
    for operations in document["paths"].values():
        for operation in operations.values():
            _finish_operation(operation)
            _exemplify(operation, schemas)
            _link(operation)
    return document


def _add_events(schemas: dict[str, Any]) -> None:
    for name, kind in _EVENTS.items():
        schema = TypeAdapter(kind).json_schema(ref_template=_REF + "{model}")
        for each, named in schema.pop("$defs", {}).items():
            schemas.setdefault(each, named)
        schemas[name] = schema
    for (name, key), held in _HELD.items():
        schemas[name]["properties"][key] = held


def _exemplify(operation: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    """Give each body, asked or answered, an example; an error has one for each thing that may be wrong."""
    for content in _contents(operation.get("requestBody", {})):
        content.setdefault("example", example(content["schema"], schemas))
    for status, response in operation["responses"].items():
        for content in _contents(response):
            if int(status) < 400 or content["schema"] != _ERROR:
                content.setdefault("example", example(content["schema"], schemas))
            else:  # these were shared among responses
                told = {"schema": _ERROR, "examples": _refusals(response["description"])}
                response["content"] = {"application/json": told}


def _link(operation: dict[str, Any]) -> None:
    """Say which operations an answer leads to, so that a client finds its way and a tester walks it."""
    name = operation["operationId"]
    twin = _TWIN if name.endswith(_TWIN) else ""
    for source, status, parameters, targets in _LINKS:
        if source + twin == name:
            links = operation["responses"][status].setdefault("links", {})
            for target in targets:
                links[target] = {"operationId": target + twin, "parameters": dict(parameters)}


def _contents(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The media types whose bodies can be shown."""
    for media_type, content in body.get("content", {}).items():
        if media_type.startswith(("application/json", "text/")):
            yield content


def _refusals(description: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, message in enumerate(description.split(" Or: "), start=1):
        facts = _LIMIT_FACTS if message == UsageLimited.default_message else {}
        found[str(number)] = {"value": {"message": message, **facts}}
    return found


def _finish_operation(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    # FastAPI's own 422; a 422 that a route documents has our envelope.
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    error = {"application/json": {"schema": _ERROR}}
    responses.setdefault("500", {"description": "An internal server error occurred.", "content": error})
    if operation["operationId"] in PUBLIC:
        operation["security"] = []
        return
    operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
    responses.setdefault("401", {"description": "No valid session token was given.", "content": error})
