"""The OpenAPI document: FastAPI's, with our ways to sign in and without answers that we never give."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.caller import COOKIE, HEADER
from api.schemas.errors import Error, FieldError

SECURITY_SCHEMES: dict[str, dict[str, str]] = {
    "token": {"type": "apiKey", "in": "header", "name": HEADER},
    "bearer": {"type": "http", "scheme": "bearer"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    "query": {"type": "apiKey", "in": "query", "name": COOKIE},
}
PUBLIC = frozenset({"healthz", "readyz", "metrics", "buildinfo", "first_user_exists", "create_first_user", "login"})
_NEVER = ("HTTPValidationError", "ValidationError")


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
        schemas.setdefault(model.__name__, model.model_json_schema(ref_template="#/components/schemas/{model}"))
    for name in _NEVER:
        schemas.pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            _finish_operation(operation)
    return document


def _finish_operation(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    # FastAPI's own 422; a 422 that a route documents has our envelope.
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses.setdefault("500", {"description": "An internal server error occurred.", "content": error})
    if operation["operationId"] in PUBLIC:
        operation["security"] = []
        return
    operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
    responses.setdefault("401", {"description": "No valid session token was given.", "content": error})
