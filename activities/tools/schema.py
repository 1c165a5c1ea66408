"""A tool's arguments as JSON Schema that every provider takes: without references and without titles."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def plain(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of the model, its parts in the places where they are referred to."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})
    return _plain(schema, parts)


def _plain(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        named = parts[str(schema["$ref"]).rpartition("/")[2]]
        schema = {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    made = {key: value for key, value in schema.items() if key != "title"}
    if "properties" in made:
        made["properties"] = {name: _plain(each, parts) for name, each in made["properties"].items()}
    if "items" in made:
        made["items"] = _plain(made["items"], parts)
    return made
