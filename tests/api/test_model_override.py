"""The laws of the administrator's choice of a model for a purpose."""

from uuid import uuid4

import pytest

from models.store import preferences
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS

PATHS = [f"{CHATS}/config/model-override/{context}" for context in ("general", "explore", "title_generation")]


async def only_model(owner: Person) -> str:
    listed = (await owner.client.get(f"{CHATS}/model-configs")).json()
    found: str = listed[0]["id"]
    return found


@pytest.mark.parametrize("path", PATHS)
async def test_a_choice_is_kept_until_it_is_cleared(owner: Person, path: str) -> None:
    context = path.rpartition("/")[2]
    unset = {"context": context, "model_config_id": "", "is_malformed": False}
    assert (await owner.client.get(path)).json() == unset
    chosen = await only_model(owner)
    assert (await owner.client.put(path, json={"model_config_id": chosen.upper()})).status_code == 204
    assert (await owner.client.get(path)).json() == {**unset, "model_config_id": chosen}
    assert (await owner.client.put(path, json={"model_config_id": ""})).status_code == 204
    assert (await owner.client.get(path)).json() == unset


async def test_only_a_model_that_can_be_used_can_be_chosen(api: Api, owner: Person) -> None:
    path = PATHS[2]
    wrong = await owner.client.put(path, json={"model_config_id": "gpt"})
    assert (wrong.status_code, wrong.json()) == (
        400,
        {"message": "Invalid model_config_id.", "detail": 'Value "gpt" is not a valid UUID.'},
    )
    chosen = await only_model(owner)
    async with api.resources.database.begin() as session:
        await fetch(session, "UPDATE chat_model_configs SET enabled = false")
    for unusable in (str(uuid4()), "00000000-0000-0000-0000-000000000000", chosen):
        refused = await owner.client.put(path, json={"model_config_id": unusable})
        assert (refused.status_code, refused.json()["message"]) == (400, "Invalid model_config_id.")


async def test_what_is_stored_and_no_id_counts_as_unset_and_is_said(api: Api, owner: Person) -> None:
    async with api.resources.database.begin() as session:
        await preferences.put_site(session, {"agents_chat_title_generation_model_override": "gpt"})
    shown = (await owner.client.get(PATHS[2])).json()
    assert shown == {"context": "title_generation", "model_config_id": "", "is_malformed": True}


async def test_an_unknown_purpose_is_refused(owner: Person) -> None:
    path = f"{CHATS}/config/model-override/advisor"
    for response in (await owner.client.get(path), await owner.client.put(path, json={"model_config_id": ""})):
        assert response.status_code == 400
        assert response.json() == {
            "message": "Invalid chat model override context.",
            "detail": 'Expected one of general, explore, title_generation. Got "advisor".',
        }


async def test_others_do_not_see_it_and_may_not_change_it(api: Api, member: Person) -> None:
    auditor = await api.person("auditor", site_roles=("auditor",))
    assert (await auditor.client.get(PATHS[0])).status_code == 200
    assert (await auditor.client.put(PATHS[0], json={"model_config_id": ""})).status_code == 403
    assert (await member.client.get(PATHS[0])).status_code == 404
    assert (await member.client.put(PATHS[0], json={"model_config_id": ""})).status_code == 403
