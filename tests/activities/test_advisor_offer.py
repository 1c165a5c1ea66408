"""The laws of who is offered an advisor, and of what its call may stand beside."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from activities.tools import calls
from activities.tools.advisor import Arguments
from activities.tools.registry import TOOLS, Toolbox
from activities.tools.tool import EVERYWHERE, Tool
from models.parts import Part
from models.rules import advisor, history, instructions, repair
from models.rules.executions import Policy
from models.rules.features import Advisor

TOOLBOX = Toolbox(TOOLS)
SETTINGS = st.builds(Advisor, st.booleans(), st.integers(0, 5), st.integers(0, 20_000), st.uuids())
CHATS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "parent_chat_id": st.none() | st.uuids(),
        "plan_mode": st.sampled_from([None, "", "plan"]),
        "mode": st.sampled_from([None, "explore", "computer_use"]),
        "dynamic_tools": st.just([]),
    }
)
CALL = {"type": "tool-call", "tool_call_id": "a0", "tool_name": advisor.TOOL, "args": {"question": "why?"}}


@given(SETTINGS, CHATS, st.booleans())
def test_the_tool_the_guidance_and_the_leave_to_run_it_go_together(
    setting: Advisor, chat: dict[str, Any], has_model: bool
) -> None:
    advisor.hold(chat, setting, has_model=has_model)
    named = {each["function"]["name"] for each in TOOLBOX.offered(chat)}
    plan, child = chat["plan_mode"], chat["parent_chat_id"] is not None
    told = instructions.for_turn({}, "", plan_mode=plan, child=child, guidance=advisor.guidance(chat))
    is_root = chat["parent_chat_id"] is None
    may = setting.enabled and is_root and plan != "plan" and chat["mode"] != "explore" and has_model
    assert (advisor.TOOL in named) == may
    assert any("<advisor-guidance>" in each for each in told) == may
    assert isinstance(calls.prepared(TOOLBOX, chat, CALL), calls.Ready) == may
    if may:
        assert told[-1] == advisor.GUIDANCE, "it comes last"


KINDS: dict[str, dict[str, Any]] = {
    "advisor": {"tool_name": advisor.TOOL},
    "ours": {"tool_name": "current_time"},
    "client's": {"tool_name": "get_weather", "provider_metadata": {history.DYNAMIC: True}},
    "mcp": {"tool_name": "git__log"},
    "unknown": {"tool_name": "no_such_tool"},
}
PROVIDERS: dict[str, Any] = {
    "tool_name": "web_search",
    "provider_executed": True,
    "provider_metadata": {repair.RUN_BY: "anthropic"},
}


@given(st.lists(st.sampled_from([*KINDS, "provider's"]), min_size=1, max_size=6), st.booleans())
def test_in_a_batch_with_any_other_call_nothing_runs_and_each_is_told_why(kinds: list[str], may: bool) -> None:
    async def run(_arguments: Any, _context: Any) -> Any:
        raise AssertionError("nothing is run here")

    chat: dict[str, Any] = {"dynamic_tools": [{"name": "get_weather"}]}
    advisor.hold(chat, Advisor(enabled=may), has_model=True)
    content: list[Part] = [
        {"type": "tool-call", "tool_call_id": f"c{place}", **(KINDS.get(kind) or PROVIDERS)}
        for place, kind in enumerate(kinds)
    ]
    asked = history.open_calls([{"role": "assistant", "content": content}])
    remote = Tool("git__log", Arguments, run, Policy.ONCE, offered=EVERYWHERE)
    refused = calls.refused_together(TOOLBOX.beside([remote]), chat, asked)
    answerable = [(f"c{place}", kind) for place, kind in enumerate(kinds) if kind != "provider's"]
    if not may or "advisor" not in kinds or len(answerable) < 2:
        assert refused == []
        return
    alone, skipped = "advisor must be called alone", "skipped because advisor must run alone"
    assert [(each["tool_call_id"], each["result"]["error"], each["is_error"]) for each in refused] == [
        (call_id, alone if kind == "advisor" else skipped, True) for call_id, kind in answerable
    ]
