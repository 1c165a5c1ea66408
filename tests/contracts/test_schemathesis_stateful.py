"""A client that follows the document's links, from a new chat on, meets no 500 and no answer that is not documented.

Requests are schemathesis's; where they go next is what the answers' links say, with the parameters they give.
"""

from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.contracts.test_schemathesis import Service, documented, service

__all__ = ["service"]

WALKS, STEPS = 25, 16
SAID = [{"type": "text", "text": "hello"}]
# Ids of what is not there: nearly every request would be refused for them alone.
ELSEWHERE = ("workspace_id", "model_config_id", "mcp_server_ids", "content", "organization_id")

Place = tuple[str, dict[str, Any]]
"""An operation that a link leads to, and the parameters that it gave."""


def found(expression: str, case: Any, body: Any) -> Any:
    """What a link's expression means after this request and answer; None if there is no such thing."""
    if expression.startswith("$request.path."):
        return case.path_parameters[expression.removeprefix("$request.path.")]
    value = body
    for step in expression.removeprefix("$response.body#/").split("/"):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return None
    return value


def onwards(case: Any, response: Any) -> list[Place]:
    """Where the links of this answer lead."""
    links = case.operation.definition.raw["responses"][str(response.status_code)].get("links", {})
    body = response.json() if links else None
    places = []
    for link in links.values():
        given = {name: found(each, case, body) for name, each in link["parameters"].items()}
        if None not in given.values():
            places.append((link["operationId"], given))
    return places


@pytest.mark.timeout(300)
def test_following_links_from_a_new_chat_meets_no_500_and_nothing_undocumented(service: Service) -> None:
    operations = {
        each.ok().definition.raw["operationId"]: each.ok() for each in documented(service).get_all_operations()
    }
    succeeded: set[str] = set()

    with requests.Session() as session:
        session.headers["Coder-Session-Token"] = service.token

        class Client(RuleBasedStateMachine):
            @initialize(data=st.data())
            def begin(self, data: st.DataObject) -> None:
                self.places: list[Place] = []
                self.ask("create_chat", {}, data)

            @rule(data=st.data())
            def follow(self, data: st.DataObject) -> None:
                if self.places:
                    name, given = data.draw(st.sampled_from(self.places))
                    self.ask(name, given, data)

            def ask(self, name: str, given: dict[str, Any], data: st.DataObject) -> None:
                case = data.draw(operations[name].as_strategy())
                if given:
                    case.path_parameters = given
                if name in ("create_chat", "send_message", "edit_message"):
                    made = case.body if isinstance(case.body, dict) else {}
                    case.body = {key: each for key, each in made.items() if key not in ELSEWHERE} | {"content": SAID}
                if name == "create_chat":
                    case.body["organization_id"] = service.organization
                response = case.call(base_url=service.url, session=session, timeout=30)
                assert response.status_code < 500, f"{name}: {response.status_code} {response.text}"
                answers = case.operation.definition.raw["responses"]
                assert str(response.status_code) in answers, f"{name}: {response.status_code} {response.text}"
                if response.status_code < 300:
                    succeeded.add(name)
                self.places += onwards(case, response)

        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Client,
            settings=hypothesis_settings(
                max_examples=WALKS,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=True,
                database=None,
                phases=(Phase.explicit, Phase.generate),
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert {"create_chat", "get_chat", "send_message", "list_messages", "interrupt_chat"} <= succeeded
