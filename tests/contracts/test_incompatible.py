"""The check that explains incompatible changes: each kind is named, and harmless ones are not."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contracts.incompatible import broken
from tests.contracts.test_openapi import GOLDEN

SEND = "/chats/{chat}/messages"
DOCUMENT: dict[str, Any] = {
    "paths": {
        SEND: {
            "post": {
                "operationId": "send_message",
                "parameters": [
                    {"in": "path", "name": "chat", "required": True, "schema": {"type": "string"}},
                    {"in": "query", "name": "limit", "schema": {"type": "integer", "maximum": 200}},
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Send"}}},
                },
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Sent"}}}},
                    "404": {},
                },
            }
        }
    },
    "components": {
        "schemas": {
            "Send": {
                "type": "object",
                "required": ["content"],
                "properties": {
                    "content": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
                    "busy": {"type": "string", "enum": ["queue", "interrupt"]},
                    "model": {"anyOf": [{"type": "string", "maxLength": 36}, {"type": "null"}]},
                },
            },
            "Sent": {
                "type": "object",
                "required": ["queued", "status"],
                "properties": {
                    "queued": {"type": "boolean"},
                    "status": {"type": "string", "enum": ["waiting", "running"]},
                    "part": {"$ref": "#/components/schemas/Part"},
                    "parent": {"$ref": "#/components/schemas/Sent"},
                },
            },
            "Part": {
                "oneOf": [{"$ref": "#/components/schemas/Text"}, {"$ref": "#/components/schemas/File"}],
                "discriminator": {
                    "propertyName": "type",
                    "mapping": {"text": "#/components/schemas/Text", "file": "#/components/schemas/File"},
                },
            },
            "Text": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
            "File": {"type": "object", "properties": {"id": {"type": "string"}}},
        }
    },
}
Change = Callable[[dict[str, Any], dict[str, Any]], Any]

BREAKING: tuple[tuple[str, Change], ...] = (
    (f"POST {SEND}: removed", lambda paths, _: paths.pop(SEND)),
    (f"POST {SEND}: removed", lambda paths, _: paths[SEND].pop("post")),
    (
        f"POST {SEND}: operation id is now say, was send_message",
        lambda paths, _: paths[SEND]["post"].update(operationId="say"),
    ),
    (f"POST {SEND}: query parameter limit was removed", lambda paths, _: paths[SEND]["post"]["parameters"].pop()),
    (
        f"POST {SEND}: query parameter limit is now required",
        lambda paths, _: paths[SEND]["post"]["parameters"][1].update(required=True),
    ),
    (
        f"POST {SEND} ?limit: maximum is now 100, was 200",
        lambda paths, _: paths[SEND]["post"]["parameters"][1]["schema"].update(maximum=100),
    ),
    (
        f"POST {SEND}: no longer answers 200",
        lambda paths, _: paths[SEND]["post"]["responses"].update({"201": paths[SEND]["post"]["responses"].pop("200")}),
    ),
    ("Send (asked).busy was removed", lambda _, schemas: schemas["Send"]["properties"].pop("busy")),
    ("Send (asked).busy is now required", lambda _, schemas: schemas["Send"]["required"].append("busy")),
    (
        "Send (asked).busy: the value 'interrupt' was removed",
        lambda _, schemas: schemas["Send"]["properties"]["busy"]["enum"].pop(),
    ),
    (
        "Send (asked).content no longer takes array",
        lambda _, schemas: schemas["Send"]["properties"].update(content={"type": "string"}),
    ),
    (
        "Send (asked).model no longer takes null",
        lambda _, schemas: schemas["Send"]["properties"]["model"]["anyOf"].pop(),
    ),
    (
        "Send (asked).model: maxLength is now 8, was 36",
        lambda _, schemas: schemas["Send"]["properties"]["model"]["anyOf"][0].update(maxLength=8),
    ),
    ("Sent.queued was removed", lambda _, schemas: schemas["Sent"]["properties"].pop("queued")),
    ("Sent.status may now be absent", lambda _, schemas: schemas["Sent"]["required"].pop()),
    (
        "Sent.status: the value 'running' was removed",
        lambda _, schemas: schemas["Sent"]["properties"]["status"]["enum"].pop(),
    ),
    (
        "Sent.queued may now be null",
        lambda _, schemas: schemas["Sent"]["properties"].update(
            queued={"anyOf": [{"type": "boolean"}, {"type": "null"}]}
        ),
    ),
    ("Sent.queued may now be anything", lambda _, schemas: schemas["Sent"]["properties"].update(queued={})),
    (
        "Part (asked): variant file was removed",
        lambda _, schemas: schemas["Part"]["discriminator"]["mapping"].pop("file"),
    ),
    ("Text.text may now be integer", lambda _, schemas: schemas["Text"]["properties"]["text"].update(type="integer")),
)

HARMLESS: tuple[Change, ...] = (
    lambda _, __: None,
    lambda paths, _: paths.update({"/new": paths[SEND]}),
    lambda paths, _: paths[SEND]["post"].update(summary="Say something", tags=["messages"]),
    lambda paths, _: paths[SEND]["post"]["parameters"].append(
        {"in": "query", "name": "x", "schema": {"type": "string"}}
    ),
    lambda paths, _: paths[SEND]["post"]["parameters"][1]["schema"].update(maximum=500),
    lambda paths, _: paths[SEND]["post"]["responses"].update({"409": {}}),
    lambda _, schemas: schemas["Send"]["properties"].update(colour={"type": "string"}),
    lambda _, schemas: schemas["Send"]["required"].clear(),
    lambda _, schemas: schemas["Send"]["properties"]["busy"]["enum"].append("drop"),
    lambda _, schemas: schemas["Sent"]["properties"].update(colour={"type": "string"}),
    lambda _, schemas: schemas["Sent"]["required"].append("part"),
    lambda _, schemas: schemas["Sent"]["properties"]["status"]["enum"].append("error"),
)


def changed(change: Change) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    change(document["paths"], document["components"]["schemas"])
    return document


@pytest.mark.parametrize(("told", "change"), BREAKING)
def test_what_breaks_a_client_is_said_in_words(told: str, change: Change) -> None:
    assert told in broken(DOCUMENT, changed(change))


@pytest.mark.parametrize("change", HARMLESS)
def test_what_only_adds_breaks_nothing(change: Change) -> None:
    assert broken(DOCUMENT, changed(change)) == []


def test_our_own_document_is_compatible_with_itself_and_not_without_a_field() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert broken(golden, golden) == []
    poorer = copy.deepcopy(golden)
    del poorer["components"]["schemas"]["Chat"]["properties"]["title"]
    del poorer["paths"]["/api/v2/chats/{chat}"]["patch"]
    assert broken(golden, poorer) == ["Chat.title was removed", "PATCH /api/v2/chats/{chat}: removed"]
