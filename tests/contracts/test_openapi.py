"""The OpenAPI document is complete, and changes only on purpose.

`python -m tests.contracts.test_openapi` writes the golden file anew, and says what that breaks for clients.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.app import create_app
from models.settings import Settings
from tests.contracts.incompatible import broken
from tests.contracts.wire import golden

GOLDEN = Path(__file__).parent.parent / "golden" / "openapi.json"
METHODS = frozenset({"get", "post", "put", "patch", "delete"})


def document() -> dict[str, Any]:
    """The document as it is served."""
    return create_app(Settings()).openapi()


def written(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    return document()


def operations(served: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in served["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS, f"{method} {path}"
            yield path, method, operation


def test_the_document_is_the_golden_one(served: dict[str, Any]) -> None:
    if written(served) != GOLDEN.read_text():
        breaks = "\n".join(broken(json.loads(GOLDEN.read_text()), served)) or "it breaks no client"
        pytest.fail(f"run `python -m tests.contracts.test_openapi` and look at the diff:\n{breaks}")


def test_every_operation_has_a_name_of_its_own_a_summary_and_a_tag(served: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(served)]
    assert len(names) == len(set(names))
    nameless = [
        f"{method} {path}"
        for path, method, operation in operations(served)
        if not (operation.get("summary") and operation.get("tags") and operation.get("description"))
    ]
    assert nameless == []


def test_every_refusal_is_documented_as_the_envelope(served: dict[str, Any]) -> None:
    for path, method, operation in operations(served):
        for status, response in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Error"}, f"{method} {path} {status}"


def test_every_operation_documents_what_may_always_go_wrong(served: dict[str, Any]) -> None:
    for path, method, operation in operations(served):
        wanted = {"500"} if operation["security"] == [] else {"401", "429", "500", "503"}
        if "{" in path or operation.get("requestBody"):
            wanted |= {"400"}
        if "{chat}" in path:
            wanted |= {"404"}
        assert wanted <= set(operation["responses"]), f"{method} {path}"


def test_every_success_with_a_body_is_described(served: dict[str, Any]) -> None:
    for path, method, operation in operations(served):
        [success] = [status for status in operation["responses"] if status.startswith("2") or status == "307"]
        content = operation["responses"][success].get("content")
        assert (success in ("204", "307")) == (content is None), f"{method} {path}"
        assert all(entry.get("schema") != {} for entry in (content or {}).values()), f"{method} {path}"


def test_every_body_of_a_chats_operation_is_required_and_has_an_example(served: dict[str, Any]) -> None:
    for path, method, operation in operations(served):
        if {"chats", "messages"} & set(operation["tags"]) and "requestBody" in operation:
            [reference] = operation["requestBody"]["content"]["application/json"]["schema"].values()
            schema = served["components"]["schemas"][reference.rsplit("/", 1)[1]]
            assert operation["requestBody"]["required"] is True, f"{method} {path}"
            assert schema.get("examples"), f"{method} {path}"


def test_parts_are_unions_told_apart_by_type(served: dict[str, Any]) -> None:
    schemas = served["components"]["schemas"]
    content = schemas["ChatMessage"]["properties"]["content"]["items"]
    for union in (content, schemas["InputPart"]):
        assert union["discriminator"]["propertyName"] == "type"
        assert len(union["discriminator"]["mapping"]) == len(union["oneOf"])


def bodies(served: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(operation, status or "asked", media type's content) of every body that can be shown."""
    for path, method, operation in operations(served):
        asked = operation.get("requestBody")
        for status, body in [*operation["responses"].items(), *([("asked", asked)] if asked else [])]:
            for media_type, content in body.get("content", {}).items():
                if media_type.startswith(("application/json", "text/")):
                    yield f"{method} {path}", status, content


def test_every_body_asked_or_answered_has_an_example_that_its_schema_allows(served: dict[str, Any]) -> None:
    for operation, status, content in bodies(served):
        schema = {**content["schema"], "components": served["components"]}
        shown = [each["value"] for each in content.get("examples", {}).values()] or [content["example"]]
        assert shown, f"{operation} {status}"
        for each in shown:
            wrong = next(Draft202012Validator(schema).iter_errors(each), None)
            assert wrong is None, f"{operation} {status}: {wrong}"


def test_every_refusal_has_an_example_of_each_thing_that_may_be_wrong(served: dict[str, Any]) -> None:
    for path, method, operation in operations(served):
        for status, response in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                examples = response["content"]["application/json"]["examples"].values()
                messages = [each["value"]["message"] for each in examples]
                assert " Or: ".join(messages) == response["description"], f"{method} {path} {status}"


def test_events_are_unions_told_apart_by_type_and_hold_the_objects_of_the_api(served: dict[str, Any]) -> None:
    schemas = served["components"]["schemas"]
    union = schemas["StreamEvent"]
    assert union["discriminator"]["propertyName"] == "type"
    assert {"message_part", "message", "status", "queue_update", "resync"} <= set(union["discriminator"]["mapping"])
    assert len(union["discriminator"]["mapping"]) == len(union["oneOf"])
    held = schemas["MessageEvent"]["properties"]["message"], schemas["WatchEvent"]["properties"]["chat"]
    assert [each["$ref"].rpartition("/")[2] for each in held] == ["ChatMessage", "Chat"]


def test_every_golden_event_and_object_is_one_of_the_document(served: dict[str, Any]) -> None:
    kinds = {"event_": "StreamEvent", "watch_": "WatchEvent", "chat_created": "Chat", "message_": "ChatMessage"}
    checked = 0
    for name, given in golden.stored().items():
        for prefix, kind in kinds.items():
            if name.startswith(prefix):
                schema = {"$ref": f"#/components/schemas/{kind}", "components": served["components"]}
                wrong = next(Draft202012Validator(schema).iter_errors(given), None)
                assert wrong is None, f"{name}: {wrong}"
                checked += 1
    assert checked >= 20


def test_both_prefixes_are_listed_in_full(served: dict[str, Any]) -> None:
    stable, experimental = "/api/v2/chats", "/api/experimental/chats"
    ours = {path.removeprefix(stable): set(methods) for path, methods in served["paths"].items() if stable in path}
    theirs = {
        path.removeprefix(experimental): set(methods)
        for path, methods in served["paths"].items()
        if experimental in path
    }
    assert ours == theirs
    assert len(ours) >= 8


if __name__ == "__main__":
    print(*broken(json.loads(GOLDEN.read_text()), fresh := document()), sep="\n")
    GOLDEN.write_text(written(fresh))
