"""Transcripts as bad as a database could hold: whatever order, doubled ids, halves of pairs, empty texts."""

from typing import Any

from hypothesis import strategies as st

IDS = st.sampled_from(["c1", "c2", "c2", "a:b/c", "", "x" * 60, "srvtoolu_1", "srvtoolu_2", "call_9__thought__c2ln+/="])
NAMES = st.sampled_from(["a", "b", "current_time", "", "not a name!", "n" * 80])
WORDS = st.sampled_from(["", " ", "\n\t", "word", "two words ", "\ue000\ue001", "é"])
JSON = st.sampled_from([None, {}, {"x": 1}, [1], "text", 10**30, {"deep": [{"\ue000\ue001": "\ue000\ue001"}]}])
RUN = st.sampled_from([{"run_by": "anthropic"}, {"run_by": "openai"}, {}])


def _part(kind: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=fields)


def _with(part: st.SearchStrategy[dict[str, Any]], **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(part, st.fixed_dictionaries(fields)).map(lambda both: both[0] | both[1])


TEXT = _part("text", text=WORDS)
REASONING = _part(
    "reasoning",
    text=WORDS,
    provider_metadata=st.sampled_from(
        [{}, {"signature": "sig"}, {"redacted": "r"}, {"signature": "sig", "family": "google"}, None]
    ),
)
FILE = _part("file", file_id=st.sampled_from(["image", "text", "pdf", "big", "gone"]), name=WORDS).flatmap(
    lambda part: st.just(
        part
        | {"media_type": {"image": "image/png", "pdf": "application/pdf"}.get(part.get("file_id", ""), "text/plain")}
    )
)
CALL = _with(_part("tool-call", args=JSON), tool_call_id=IDS, tool_name=NAMES)
RESULT = _with(_part("tool-result", is_media=st.booleans()), tool_call_id=IDS, tool_name=NAMES, result=JSON)
RUN_CALL = _with(CALL, provider_executed=st.just(True), provider_metadata=RUN)
RUN_RESULT = _with(
    RESULT,
    provider_executed=st.just(True),
    provider_metadata=RUN.map(lambda run: run | {"kind": "web_search_tool_result", "content": []}),
)
REFERENCE = _part("file-reference", file_name=WORDS, start_line=st.integers(0, 9), content=WORDS)
SOURCE = _with(_part("source"), url=st.just("https://example.com"))

RUNS = st.tuples(st.sampled_from(["srvtoolu_1", "srvtoolu_2", "c1"]), st.sampled_from(["anthropic", "openai"])).map(
    lambda both: [
        {
            "type": "tool-call",
            "tool_call_id": both[0],
            "tool_name": "web_search",
            "args": {"query": "q"},
            "provider_executed": True,
            "provider_metadata": {"run_by": both[1]},
        },
        {
            "type": "tool-result",
            "tool_call_id": both[0],
            "tool_name": "web_search",
            "result": [],
            "provider_executed": True,
            "provider_metadata": {"run_by": both[1], "kind": "web_search_tool_result", "content": []},
        },
    ]
)
SAID = st.lists(
    st.one_of(
        RUNS, *(each.map(lambda part: [part]) for each in (TEXT, REASONING, CALL, RUN_CALL, RUN_RESULT, SOURCE, FILE))
    ),
    max_size=5,
).map(lambda groups: [part for group in groups for part in group])

ROW = st.one_of(
    st.fixed_dictionaries({"role": st.just("system"), "content": st.lists(TEXT, max_size=2)}),
    st.fixed_dictionaries({"role": st.just("user"), "content": st.lists(st.one_of(TEXT, FILE, REFERENCE), max_size=3)}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": SAID}),
    st.fixed_dictionaries({"role": st.just("tool"), "content": st.lists(st.one_of(RESULT, RUN_RESULT), max_size=2)}),
)
HIDDEN = st.fixed_dictionaries({}, optional={"visibility": st.sampled_from(["both", "model", "user"])})
TRANSCRIPTS = st.lists(st.tuples(ROW, HIDDEN).map(lambda both: both[0] | both[1]), max_size=9)


class Stored:
    """A file with what it holds."""

    def __init__(self, name: str, mimetype: str, data: bytes) -> None:
        self.name, self.mimetype, self.data = name, mimetype, data


FILES = {
    "image": Stored("a.png", "image/png", b"\x89PNG"),
    "text": Stored("a.txt", "text/plain", b"hello \xff"),
    "pdf": Stored("a.pdf", "application/pdf", b"%PDF-1.7"),
    "big": Stored("pasted-text-1.txt", "text/plain", b"x" * 140_000),
}
