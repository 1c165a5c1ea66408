"""The laws of chosen models: what is stored is a mode or a model, and anything else counts as unset and is said."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules import model_choice
from models.rules.model_choice import CHAT_DEFAULT, DEPLOYMENT_DEFAULT, PERSONAL, ROOT

UNSET = {ROOT: CHAT_DEFAULT, "general": DEPLOYMENT_DEFAULT, "explore": DEPLOYMENT_DEFAULT}


@pytest.mark.parametrize("context", PERSONAL)
def test_nothing_is_chosen_at_first(context: str) -> None:
    found = model_choice.choice(context, None)
    assert (found.mode, found.model_config_id, found.is_set, found.is_malformed) == (UNSET[context], "", False, False)


@given(st.sampled_from(PERSONAL), st.uuids())
def test_a_chosen_model_is_named(context: str, model: UUID) -> None:
    found = model_choice.choice(context, str(model))
    assert (found.mode, found.model_config_id, found.is_set) == ("model", str(model), True)
    assert model_choice.override(context, str(model)).model_config_id == str(model)


@given(st.sampled_from(PERSONAL), st.text() | st.sampled_from(["chat_default", "deployment_default", "model", ""]))
def test_a_choice_has_a_mode_that_its_purpose_knows(context: str, stored: str) -> None:
    found = model_choice.choice(context, stored)
    assert found.is_set != found.is_malformed
    assert (found.mode == "model") == bool(found.model_config_id)
    assert found.mode in {"model", CHAT_DEFAULT, UNSET[context]}
    if found.is_malformed:
        assert found.mode == UNSET[context]


def test_sub_agents_may_take_the_deployments_choice_and_new_chats_may_not() -> None:
    assert model_choice.choice("general", DEPLOYMENT_DEFAULT).is_set
    assert model_choice.choice(ROOT, DEPLOYMENT_DEFAULT).is_malformed
