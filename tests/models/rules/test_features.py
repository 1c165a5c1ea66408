"""The laws of what is stored of settings for features to come: it comes back as it was, or counts as unset."""

from datetime import UTC, datetime
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st

from models.rules import features
from models.rules.features import Advisor, Held

NOW = datetime(2026, 11, 23, tzinfo=UTC)
COUNTS = st.integers(0, 2**63 - 1)
ANYTHING = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.lists(st.none())
FIELDS = ("enabled", "max_uses_per_run", "max_output_tokens", "another")
NEARLY = st.fixed_dictionaries({"model_config_id": st.uuids().map(str)}, optional=dict.fromkeys(FIELDS, ANYTHING))


@given(st.booleans(), COUNTS, COUNTS, st.uuids())
def test_an_advisor_comes_back_as_it_was(enabled: bool, uses: int, tokens: int, model: UUID) -> None:
    setting = Advisor(enabled, uses, tokens, model)
    stored = features.advisor_text([Held(NOW, setting)])
    assert features.advisor({features.ADVISOR: stored}) == setting


@given(st.text() | (ANYTHING | NEARLY).map(lambda value: orjson.dumps(value).decode()))
def test_an_advisor_that_cannot_be_read_as_a_whole_is_off(stored: str) -> None:
    found = features.advisor({features.ADVISOR: stored})
    assert isinstance(found.enabled, bool)
    assert all(type(each) is int and each >= 0 for each in (found.max_uses_per_run, found.max_output_tokens))
    if found != Advisor():
        assert found.shown() == Advisor().shown() | orjson.loads(stored) | {"model_config_id": found.model_config_id}
