"""The reference client reads every golden object, and fails where a client of the reference would."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from tests.contracts.wire import golden
from tests.contracts.wire import reference as ref
from tests.contracts.wire import reference_admin as admin
from tests.contracts.wire.reading import read

PREFIXES: tuple[tuple[str, Any], ...] = (
    ("chat_list", list[ref.Chat]),
    ("chat_cost", admin.ChatCost),
    ("chat_", ref.Chat),
    ("part_", ref.Part),
    ("message_", ref.Message),
    ("messages", ref.Messages),
    ("queued_message", ref.QueuedMessage),
    ("sent_message", ref.SentMessage),
    ("edited_message", ref.EditedMessage),
    ("event_", ref.StreamEvent),
    ("watch_", ref.WatchEvent),
    ("file_metadata", ref.FileMetadata),
    ("uploaded_file", ref.Uploaded),
    ("prompts", ref.Prompts),
    ("proposed_title", ref.Title),
    ("promotion_accepted", ref.Error),
    ("error_usage_limit", ref.UsageLimitError),
    ("error", ref.Error),
    ("ai_provider", admin.Provider),
    ("models", admin.Models),
    ("model_config", admin.ModelConfig),
    ("model_override", admin.ModelOverride),
    ("cost_summary", admin.CostSummary),
    ("cost_users", admin.CostUsers),
    ("usage_limits", admin.Limits),
    ("usage_limit_config", admin.LimitConfig),
    ("usage_limit_status", admin.LimitStatus),
    ("usage_limit_override", admin.UserLimit),
    ("usage_limit_group_override", admin.GroupLimit),
    ("debug_runs", list[admin.DebugRunSummary]),
    ("debug_run", admin.DebugRun),
    ("debug_logging", admin.DebugLogging),
    ("user_debug_logging", admin.UserDebugLogging),
    ("user_prompt", admin.UserPrompt),
    ("acl", admin.Acl),
    ("diff_status", ref.DiffStatus),
    ("diff_contents", ref.DiffContents),
    ("user_provider_key", admin.UserKey),
    ("insights", admin.Insights),
    ("compaction_thresholds", admin.Thresholds),
    ("compaction_threshold", admin.Threshold),
)
STORED = golden.stored()


def kind_of(name: str) -> Any:
    return next(kind for prefix, kind in PREFIXES if name.startswith(prefix))


@pytest.mark.parametrize("name", STORED)
def test_a_golden_object_is_read(name: str) -> None:
    read(kind_of(name), STORED[name])


def test_each_kind_of_part_and_event_of_the_reference_has_its_golden() -> None:
    parts = {each["type"] for name, each in STORED.items() if name.startswith("part_")}
    assert parts == {
        "text", "reasoning", "tool-call", "tool-result", "source", "file", "file-reference", "context-file", "skill",
    }  # fmt: skip
    events = {each["type"] for name, each in STORED.items() if name.startswith("event_")}
    assert ref.StreamEvent.payloads - {"queued_messages"} <= events
    assert {"queue_update", "preview_reset", "history_reset", "resync"} <= events


# Of the reference's older provider configurations; its AIProvider does not know them.
POLICY = ("central_api_key_enabled", "allow_user_api_key", "allow_central_api_key_fallback")


def test_every_kind_has_a_golden() -> None:
    read_by = {prefix for name in STORED for prefix, _ in PREFIXES if name.startswith(prefix)}
    assert read_by == {prefix for prefix, _ in PREFIXES}


def test_unknown_keys_are_ignored() -> None:
    for name, given in STORED.items():
        if isinstance(given, dict):
            read(kind_of(name), {**given, "colour": {"of": "no interest"}})


@pytest.mark.parametrize("name", [name for name, given in STORED.items() if isinstance(given, dict)])
def test_a_value_of_another_type_fails(name: str) -> None:
    given, kind = STORED[name], kind_of(name)
    for key in given:
        if key in ("args", "result", "cursor", "suggested_cost", *POLICY) or (
            name.startswith("part_") and key == "type"
        ):
            continue  # raw JSON, and what the reference does not know
        wrong = copy.deepcopy(given)
        wrong[key] = 5 if key == "settings" or isinstance(given[key], dict) else {"of": ["another", "type"]}
        with pytest.raises(ValidationError):
            read(kind, wrong)


def test_a_required_key_that_is_missing_fails() -> None:
    for key in ("id", "root_chat_id", "last_turn_summary", "labels", "children", "has_unread", "pin_order"):
        given = {name: value for name, value in STORED["chat_created"].items() if name != key}
        with pytest.raises(ValidationError):
            read(ref.Chat, given)


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_what_the_reference_leaves_out_must_be_left_out(empty: Any) -> None:
    with pytest.raises(ValidationError, match="must be left out"):
        read(ref.Chat, {**STORED["chat_created"], "warnings": empty})


def test_an_event_carries_the_payload_of_its_type_alone() -> None:
    status = STORED["event_status"]
    for wrong in ({**status, "retry": STORED["event_retry"]["retry"]}, {**status, "type": "message"}):
        with pytest.raises(ValidationError, match="carries"):
            read(ref.StreamEvent, wrong)
    assert read(ref.StreamEvent, {"type": "newer", "chat_id": status["chat_id"], "anything": 1}).type == "newer"
