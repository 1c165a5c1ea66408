"""Nothing that was said can break out of its place in a Markdown document."""

import re

from hypothesis import given
from hypothesis import strategies as st

from models.rules import markdown

HOSTILE = st.lists(
    st.sampled_from(
        ["```", "````", "~~~", "# User", "\n", "\r", "\r\n", " ", "<!--", "<script>", "> ", "text", "`", "---"]
    )
).map("".join)


def lines(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text)


@given(HOSTILE)
def test_what_was_said_is_quoted_line_by_line_and_comes_back_whole(said: str) -> None:
    written = lines(markdown.quoted(said))
    assert all(line == ">" or line.startswith("> ") for line in written)
    assert [line[2:] for line in written] == lines(said)


@given(HOSTILE)
def test_a_fence_is_longer_than_any_run_of_ticks_within_it(content: str) -> None:
    first, *inner, last = lines(markdown.fenced(content, "json"))
    fence = first.removesuffix("json")
    assert (last, set(fence)) == (fence, {"`"})
    assert max((len(run) for run in re.findall("`+", content)), default=0) < len(fence)
    assert inner == lines(content)


@given(HOSTILE, HOSTILE)
def test_only_the_document_itself_has_headings_and_fences_are_balanced(title: str, said: str) -> None:
    parts = [
        {"type": "text", "text": said},
        {"type": "reasoning", "text": said},
        {"type": "tool-call", "tool_name": said, "args": {"x": said}},
        {"type": "tool-result", "tool_name": said, "result": {"output": said}},
        {"type": "file-reference", "file_name": said, "content": said},
        {"type": "file", "name": said, "media_type": said},
        {"type": "source", "url": said, "title": said},
    ]
    document = markdown.heading(title, [("Owner", said)]) + markdown.message("user", "now", parts)
    outside: list[str] = []
    fence = ""
    for line in lines(document):
        opening = re.match(r"`{3,}", line)
        if fence:
            fence = "" if line == fence else fence
        elif opening:
            fence = opening[0]
        else:
            outside.append(line)
    assert fence == ""
    assert len([line for line in outside if line.startswith("#")]) == 2
    assert not [line for line in outside if line.startswith(("<", "~~~"))]


def test_a_document_reads_as_a_talk() -> None:
    head = markdown.heading("On *mutexes*", [("Owner", "ada")])
    asked = markdown.message("user", "2026-05-20T10:00:00Z", [{"type": "text", "text": "What is it?\n```\ncode"}])
    called = markdown.message(
        "assistant",
        "2026-05-20T10:00:01Z",
        [{"type": "tool-call", "tool_call_id": "c", "tool_name": "look", "args": {"at": 1}}],
    )
    assert head + asked + called == (
        "# On \\*mutexes\\*\n\n- Owner: ada\n"
        "\n## User · 2026-05-20T10:00:00Z\n\n> What is it?\n> ```\n> code\n"
        '\n## Assistant · 2026-05-20T10:00:01Z\n\n**Call** `look`\n\n```json\n{\n  "at": 1\n}\n```\n'
    )
