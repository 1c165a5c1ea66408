"""What a provider is sent, case by case; the laws are in test_prompt_laws."""

import json
from typing import Any

from models.rules import prompt


def test_rows_that_the_model_must_not_see_are_left_out() -> None:
    rows: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "seen"}]},
        {"role": "user", "content": [{"type": "text", "text": "hidden"}], "visibility": "user"},
        {"role": "user", "content": [{"type": "text", "text": "gone"}], "deleted": True},
    ]
    assert prompt.build(rows, provider="openai") == [{"role": "user", "content": "seen"}]


def test_signed_thinking_goes_back_to_the_provider_that_signed_it_alone() -> None:
    signed = {"type": "reasoning", "text": "hm", "provider_metadata": {"signature": "sig"}}
    unsigned = {"type": "reasoning", "text": "cut"}
    redacted = {"type": "reasoning", "text": "", "provider_metadata": {"redacted": "xyz"}}
    rows = [{"role": "assistant", "content": [signed, unsigned, redacted, {"type": "text", "text": "ok"}]}]
    [_, message] = prompt.build(rows, provider="anthropic")
    assert message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
    ]
    [other] = prompt.build(rows, provider="openai")
    assert "thinking_blocks" not in other


def test_tool_ids_are_spelled_as_every_provider_takes_them() -> None:
    rows = [
        {
            "role": "assistant",
            "content": [{"type": "tool-call", "tool_call_id": "a:b/c", "tool_name": "t", "args": {"x": 1}}],
        },
        {
            "role": "tool",
            "content": [{"type": "tool-result", "tool_call_id": "a:b/c", "tool_name": "t", "result": {"y": 2}}],
        },
    ]
    call, result = prompt.build(rows, provider="openai")
    assert call["tool_calls"][0]["id"] == result["tool_call_id"] == "a_b_c"
    assert json.loads(result["content"]) == {"y": 2}


def test_nul_comes_back_as_nul() -> None:
    rows = [{"role": "user", "content": [{"type": "text", "text": "a\ue000\ue001b"}]}]
    assert prompt.build(rows, provider="openai") == [{"role": "user", "content": "a\x00b"}]


def test_a_file_reference_reaches_the_model_with_its_lines() -> None:
    part = {"type": "file-reference", "file_name": "a.py", "start_line": 1, "end_line": 2, "content": "x = 1"}
    [message] = prompt.build([{"role": "user", "content": [part]}], provider="openai")
    assert message["content"] == "[file a.py, lines 1-2]\nx = 1"


def called(*calls: tuple[str, str]) -> dict[str, Any]:
    parts = [{"type": "tool-call", "tool_call_id": call_id, "tool_name": name} for call_id, name in calls]
    return {"role": "assistant", "content": parts}


def result(call_id: str, value: Any) -> dict[str, Any]:
    return {"role": "tool", "content": [{"type": "tool-result", "tool_call_id": call_id, "result": value}]}


def test_calls_that_share_an_id_each_keep_their_own_result() -> None:
    messages = prompt.build([called(("x", "a"), ("x", "b")), result("x", 1), result("x", 2)], provider="openai")
    assert [message["content"] for message in messages[1:]] == ["1", "2"]


def test_a_tool_name_that_was_made_up_or_cut_is_spelled_as_providers_take_it() -> None:
    [message, *_] = prompt.build([called(("1", ""), ("2", "a b.c"), ("3", "x" * 99))], provider="openai")
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["unknown", "a_b_c", "x" * 64]


def test_white_space_alone_is_not_sent() -> None:
    blank = {"type": "text", "text": " \n"}
    rows = [{"role": "assistant", "content": [blank]}, {"role": "user", "content": [blank]}]
    [message] = prompt.build(rows, provider="anthropic")
    assert message["role"] == "user"
    assert message["content"].strip()
    [calling, _] = prompt.build(
        [{"role": "assistant", "content": [blank, *called(("1", "a"))["content"]]}], provider="openai"
    )
    assert calling["content"] is None


def test_a_late_result_of_a_known_tool_gets_a_call_and_any_other_is_dropped() -> None:
    user = {"role": "user", "content": [{"type": "text", "text": "go"}]}
    known = {"type": "tool-result", "tool_call_id": "late", "tool_name": "clock", "result": 1}
    unknown = {"type": "tool-result", "tool_call_id": "stray", "tool_name": "chat_summarized", "result": 2}
    rows = [user, {"role": "tool", "content": [known]}, {"role": "tool", "content": [unknown]}]
    _, call, answer = prompt.build(rows, provider="openai", tools={"clock"})
    assert call["tool_calls"][0]["function"] == {"name": "clock", "arguments": "{}"}
    assert (answer["tool_call_id"], answer["content"]) == (call["tool_calls"][0]["id"], "1")
    assert prompt.build(rows, provider="openai") == [{"role": "user", "content": "go"}]


def test_a_second_answer_to_a_call_is_not_an_orphan() -> None:
    rows = [called(("x", "a")), result("x", 1), result("x", 2)]
    assert len(prompt.build(rows, provider="openai", tools={"a"})) == 2


def test_an_id_that_was_used_before_is_spelled_anew() -> None:
    rows = [called(("x", "a")), result("x", 1), called(("x", "a")), result("x", 2), called(("x_2", "a"))]
    messages = prompt.build(rows, provider="openai")
    ids = [call["id"] for message in messages for call in message.get("tool_calls", [])]
    assert ids == ["x", "x_2", "x_2_2"]
    assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == ids


def run(call_id: str, by: str = "anthropic") -> list[dict[str, Any]]:
    call = {"type": "tool-call", "tool_call_id": call_id, "tool_name": "web_search", "args": {"query": "q"}}
    found = {"type": "tool-result", "tool_call_id": call_id, "tool_name": "web_search", "result": [{"url": "u"}]}
    raw = {"run_by": by, "kind": "web_search_tool_result", "content": [{"url": "u", "encrypted_content": "e"}]}
    return [
        call | {"provider_executed": True, "provider_metadata": {"run_by": by}},
        found | {"provider_executed": True, "provider_metadata": raw},
    ]


def test_what_a_provider_ran_goes_back_to_it_as_it_was_and_to_nobody_else() -> None:
    said = [{"type": "text", "text": "before"}, *run("srvtoolu_1"), {"type": "text", "text": "after"}]
    rows = [{"role": "user", "content": [{"type": "text", "text": "?"}]}, {"role": "assistant", "content": said}]
    [_, message] = prompt.build(rows, provider="anthropic")
    assert [block["type"] for block in message["content"]] == [
        "text",
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]
    assert message["content"][2]["content"] == [{"url": "u", "encrypted_content": "e"}]
    assert "tool_calls" not in message
    assert prompt.build(rows, provider="openai")[1] == {"role": "assistant", "content": "beforeafter"}


def test_half_of_what_a_provider_ran_is_not_sent() -> None:
    call, found = run("srvtoolu_1")
    for half in ([call], [found], [found, call], run("srvtoolu_2", by="google")):
        rows = [{"role": "assistant", "content": [{"type": "text", "text": "so"}, *half]}]
        assert prompt.build(rows, provider="anthropic")[-1]["content"] == "so"


def test_a_signed_thought_is_kept_when_its_text_is_empty() -> None:
    silent = {"type": "reasoning", "text": "", "provider_metadata": {"signature": "sig", "family": "anthropic"}}
    foreign = {"type": "reasoning", "text": "hm", "provider_metadata": {"signature": "sig", "family": "google"}}
    rows = [{"role": "assistant", "content": [silent, foreign, {"type": "text", "text": "ok"}]}]
    message = prompt.build(rows, provider="anthropic")[-1]
    assert message["thinking_blocks"] == [{"type": "thinking", "thinking": "", "signature": "sig"}]


def test_arguments_that_are_no_object_are_sent_as_an_empty_one() -> None:
    calls = [{"type": "tool-call", "tool_call_id": str(n), "tool_name": "a", "args": n} for n in (1, "x", [2], None)]
    message = prompt.build([{"role": "assistant", "content": calls}], provider="openai")[0]
    assert {call["function"]["arguments"] for call in message["tool_calls"]} == {"{}"}


def test_a_call_of_googles_keeps_the_signature_in_its_id_for_google_alone() -> None:
    rows = [called(("call_1__thought__c2ln+/=", "a"))]
    google, openai = (prompt.build(rows, provider=name) for name in ("google", "openai"))
    assert google[1]["tool_calls"][0]["provider_specific_fields"] == {"thought_signature": "c2ln+/="}
    assert openai[0]["tool_calls"][0]["id"] == "call_1"
    assert "provider_specific_fields" not in openai[0]["tool_calls"][0]


def marked(messages: list[dict[str, Any]]) -> list[int]:
    return [place for place, message in enumerate(messages) if "cache_control" in json.dumps(message)]


def test_claude_caches_up_to_the_last_system_message_and_the_last_two_messages() -> None:
    rows = [
        {"role": "system", "content": [{"type": "text", "text": "one"}]},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
        called(("x", "a"), ("y", "a")),
        result("x", 1),
        result("y", 2),
    ]
    for provider, model in (
        ("anthropic", "claude"),
        ("bedrock", "eu.anthropic.claude-4"),
        ("openrouter", "anthropic/claude"),
    ):
        messages = prompt.build(rows, provider=provider, model=model, instructions=["two"])
        assert marked(messages) == [1, 4, 5]
    for provider, model in (("openai", "gpt"), ("bedrock", "amazon.nova"), ("openrouter", "x"), ("google", "gemini")):
        assert marked(prompt.build(rows, provider=provider, model=model)) == []
    for provider, expected in (("anthropic", prompt.CACHED), ("openrouter", None)):
        calling = prompt.build([*rows[:2], called(("x", "a"))], provider=provider, model="claude")[2]
        assert calling["tool_calls"][-1].get("cache_control") == expected, "OpenAI's form has no place for it"


def test_instructions_follow_the_stored_system_messages_and_open_models_get_one() -> None:
    rows = [
        {"role": "system", "content": [{"type": "text", "text": "one"}]},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
        {"role": "system", "content": [{"type": "text", "text": "two"}]},
    ]
    for provider, expected in (("openai", ["one", "two", "three"]), ("openai-compat", ["one\n\ntwo\n\nthree"])):
        messages = prompt.build(rows, provider=provider, instructions=["three"])
        assert [message["content"] for message in messages if message["role"] == "system"] == expected
        assert messages[-1] == {"role": "user", "content": "hello"}


def test_media_that_a_tool_made_is_not_sent_again() -> None:
    shot = {"data": "A" * 1000, "mime_type": "image/png", "text": "a window"}
    media = {"type": "tool-result", "tool_call_id": "x", "tool_name": "a", "result": shot, "is_media": True}
    message = prompt.build([called(("x", "a")), {"role": "tool", "content": [media]}], provider="openai")[1]
    assert json.loads(message["content"]) == {
        "mime_type": "image/png",
        "text": "a window",
        "note": f"[media: {prompt.NOT_AGAIN}]",
    }


def test_a_turn_that_began_without_a_signed_thought_goes_on_without_thinking() -> None:
    user = {"role": "user", "content": "?"}
    call: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": []}
    tool = {"role": "tool", "content": "1"}
    thought = {**call, "thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s"}]}
    inline = {**call, "content": [{"type": "thinking", "thinking": "", "signature": "s"}]}
    assert not prompt.thinks_from_the_start([user, call, tool])
    assert not prompt.thinks_from_the_start([user, call, tool, thought, tool])
    assert prompt.thinks_from_the_start([user, thought, tool, call, tool])
    assert prompt.thinks_from_the_start([user, inline, tool])
    assert prompt.thinks_from_the_start([user, call, tool, user])
    assert prompt.thinks_from_the_start([user])
