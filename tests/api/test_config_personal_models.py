"""The laws of people's own choices of models: behind an administrator's gate, for models that would work for them."""

from typing import Any
from uuid import UUID, uuid4

from models.store import preferences
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk
from tests.api.test_providers import OPENAI, PROVIDERS

GATE = f"{CHATS}/config/personal-model-overrides"
OWN = f"{CHATS}/config/user-personal-model-overrides"
UNSET = {"model_config_id": "", "is_set": False, "is_malformed": False}
REFUSED = [
    (
        "advisor",
        "chat_default",
        "",
        "Invalid chat personal model override context.",
        'Expected one of root, general, explore. Got "advisor".',
    ),
    ("root", "chat_default", "x", "model_config_id must be empty unless mode is model.", ""),
    ("root", "deployment_default", "x", "model_config_id must be empty unless mode is model.", ""),
    (
        "root",
        "deployment_default",
        "",
        "deployment_default is not supported for root personal model overrides.",
        "",
    ),
    ("general", "model", "", "model_config_id is required when mode is model.", ""),
    ("general", "model", "x", "Invalid model_config_id.", 'Value "x" is not a valid UUID.'),
    ("root", "model", str(uuid4()), "Invalid model_config_id: model config not found or disabled.", ""),
    (
        "root",
        "newest",
        "",
        "Invalid personal model override mode.",
        'Expected one of deployment_default, chat_default, model. Got "newest".',
    ),
]


async def open_gate(owner: Person, allowed: bool = True) -> None:
    assert (await owner.client.put(GATE, json={"allow_users": allowed})).status_code == 204


async def add_model(owner: Person, **provider: Any) -> tuple[str, str]:
    """A provider and a model of it, which is not the default: their ids."""
    made = await owner.client.post(PROVIDERS, json={**OPENAI, **provider})
    assert made.status_code == 201, made.text
    body = {"ai_provider_id": made.json()["id"], "model": "gpt-5", "context_limit": 1000}
    model = await owner.client.post(f"{CHATS}/model-configs", json=body)
    assert model.status_code == 201, model.text
    return made.json()["id"], model.json()["id"]


async def choose(person: Person, context: str, mode: str, model: str = "") -> tuple[int, Any]:
    answer = await person.client.put(f"{OWN}/{context}", json={"mode": mode, "model_config_id": model})
    return answer.status_code, answer.json() if answer.content else None


async def model_of_new_chat(talk: Talk, **fields: Any) -> str:
    found: str = (await talk.get(await talk.start(**fields)))["last_model_config_id"]
    return found


async def test_the_gate_is_the_administrators(api: Api, owner: Person, member: Person) -> None:
    auditor = await api.person("auditor", site_roles=("auditor",))
    assert (await member.client.get(GATE)).status_code == 404
    assert (await auditor.client.get(GATE)).json() == {"allow_users": False}
    for person in (member, auditor):
        assert (await person.client.put(GATE, json={"allow_users": True})).status_code == 403
    await open_gate(owner)
    assert (await auditor.client.get(GATE)).json() == {"allow_users": True}


async def test_nothing_is_chosen_at_first(owner: Person, member: Person) -> None:
    [model] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    await owner.client.put(f"{CHATS}/config/model-override/explore", json={"model_config_id": model["id"]})
    assert (await member.client.get(OWN)).json() == {
        "enabled": False,
        "root": {"context": "root", "mode": "chat_default", **UNSET},
        "general": {"context": "general", "mode": "deployment_default", **UNSET},
        "explore": {"context": "explore", "mode": "deployment_default", **UNSET},
        "deployment_defaults": {
            "general": {"context": "general", "model_config_id": "", "is_malformed": False},
            "explore": {"context": "explore", "model_config_id": model["id"], "is_malformed": False},
        },
    }


async def test_a_choice_is_ones_own_and_kept_while_the_gate_is_closed(owner: Person, member: Person) -> None:
    [model] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    await open_gate(owner)
    assert await choose(member, "root", "model", model["id"].upper()) == (204, None)
    assert await choose(member, "general", "chat_default") == (204, None)
    assert await choose(member, "explore", "deployment_default") == (204, None)
    shown = (await member.client.get(OWN)).json()
    assert shown["enabled"]
    assert [shown[context]["mode"] for context in ("root", "general", "explore")] == [
        "model",
        "chat_default",
        "deployment_default",
    ]
    assert all(shown[context]["is_set"] for context in ("root", "general", "explore"))
    assert shown["root"]["model_config_id"] == model["id"]
    assert not (await owner.client.get(OWN)).json()["root"]["is_set"]
    await open_gate(owner, allowed=False)
    refusal = {"message": "An administrator has not enabled user personal model overrides."}
    assert await choose(member, "nonsense", "chat_default") == (403, refusal)
    assert (await member.client.get(OWN)).json() == {**shown, "enabled": False}


async def test_what_makes_no_sense_is_refused_and_changes_nothing(owner: Person, member: Person) -> None:
    await open_gate(owner)
    for context, mode, model, message, detail in REFUSED:
        expected = {"message": message, **({"detail": detail} if detail else {})}
        assert await choose(member, context, mode, model) == (400, expected)
    assert not (await member.client.get(OWN)).json()["root"]["is_set"]


async def test_a_body_that_is_no_json_is_refused_where_one_may_choose_at_all(owner: Person, member: Person) -> None:
    assert (await member.client.put(f"{OWN}/root", content=b"{")).status_code == 403
    await open_gate(owner)
    for body in (b"", b"{", b"[1]"):
        assert (await member.client.put(f"{OWN}/root", content=body)).status_code == 400, body


async def test_only_a_model_that_would_work_for_oneself_can_be_chosen(owner: Person, member: Person) -> None:
    await open_gate(owner)
    provider, model = await add_model(owner, api_keys=[])
    refusal = "Invalid model_config_id: provider credentials unavailable for this model."
    assert await choose(member, "root", "model", model) == (400, {"message": refusal})
    key = await member.client.put(f"/api/v2/users/me/ai-provider-keys/{provider}", json={"api_key": "sk-mine"})
    assert key.status_code == 200, key.text
    assert await choose(member, "root", "model", model) == (204, None)
    assert await choose(owner, "root", "model", model) == (400, {"message": refusal})
    await owner.client.patch(f"{PROVIDERS}/{provider}", json={"enabled": False})
    refusal = "Invalid model_config_id: provider is not enabled for this model."
    assert await choose(member, "root", "model", model) == (400, {"message": refusal})
    await owner.client.patch(f"{CHATS}/model-configs/{model}", json={"enabled": False})
    refusal = "Invalid model_config_id: model config not found or disabled."
    assert await choose(member, "root", "model", model) == (400, {"message": refusal})


async def test_a_new_chat_runs_on_the_model_it_names_else_on_ones_own_else_on_the_default(
    api: Api, owner: Person, member: Person
) -> None:
    [default] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    _, own = await add_model(owner)
    talk, other = Talk(api, member), Talk(api, owner)
    await open_gate(owner)
    assert await choose(member, "root", "model", own) == (204, None)
    assert await model_of_new_chat(talk) == own
    assert await model_of_new_chat(talk, model_config_id=default["id"]) == default["id"]
    assert await model_of_new_chat(other) == default["id"]
    await open_gate(owner, allowed=False)
    assert await model_of_new_chat(talk) == default["id"]
    await open_gate(owner)
    assert await choose(member, "root", "chat_default") == (204, None)
    assert await model_of_new_chat(talk) == default["id"]


async def test_ones_own_model_that_cannot_be_used_any_more_is_passed_over(
    api: Api, owner: Person, member: Person
) -> None:
    [default] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    provider, own = await add_model(owner)
    talk = Talk(api, member)
    await open_gate(owner)
    await choose(member, "root", "model", own)
    for path, off, on in (
        (f"{CHATS}/model-configs/{own}", {"enabled": False}, {"enabled": True}),
        (f"{PROVIDERS}/{provider}", {"enabled": False}, {"enabled": True}),
        (f"{PROVIDERS}/{provider}", {"api_keys": []}, {"api_keys": [{"api_key": "sk-new"}]}),
    ):
        assert (await owner.client.patch(path, json=off)).status_code == 200
        assert await model_of_new_chat(talk) == default["id"], off
        assert (await owner.client.patch(path, json=on)).status_code == 200
        assert await model_of_new_chat(talk) == own, on
    # Where the default is gone, one's own still is a model to begin with.
    await owner.client.patch(f"{CHATS}/model-configs/{default['id']}", json={"enabled": False})
    assert await model_of_new_chat(talk) == own


async def test_a_stored_choice_that_makes_no_sense_counts_as_unset_and_is_said(
    api: Api, owner: Person, member: Person
) -> None:
    [default] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    await open_gate(owner)
    async with api.resources.database.begin() as session:
        values = {f"chat_personal_model_override:{context}": "gpt" for context in ("root", "explore")}
        await preferences.put_user(session, member.id, values)
        await preferences.put_site(session, {"agents_chat_general_model_override": "gpt"})
    shown = (await member.client.get(OWN)).json()
    malformed = {**UNSET, "is_malformed": True}
    assert shown["root"] == {"context": "root", "mode": "chat_default", **malformed}
    assert shown["explore"] == {"context": "explore", "mode": "deployment_default", **malformed}
    assert shown["deployment_defaults"]["general"]["is_malformed"]
    assert await model_of_new_chat(Talk(api, member)) == default["id"]


async def test_a_token_for_chats_alone_does_not_choose(api: Api, owner: Person) -> None:
    await open_gate(owner)
    scoped = await api.sign_in(owner.id, "admin", scopes=("chat:*",))
    assert (await choose(scoped, "root", "chat_default"))[0] == 403


async def test_a_deleted_model_is_no_ones_own(api: Api, owner: Person, member: Person) -> None:
    [default] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    _, own = await add_model(owner)
    await open_gate(owner)
    await choose(member, "root", "model", own)
    async with api.resources.database.begin() as session:
        await fetch(session, "UPDATE chat_model_configs SET deleted = true WHERE id = %(id)s", {"id": UUID(own)})
    assert await model_of_new_chat(Talk(api, member)) == default["id"]
