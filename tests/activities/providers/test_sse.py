"""Server-sent events are found whatever they are wrapped in and wherever they are cut."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from activities.providers.sse import BOM, Splitter

LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=8).map(
    lambda text: text.strip().encode() or b"x"
)
NOISE = st.sampled_from([b": keep-alive", b":", b"event: message", b"id: 7", b"retry: 100", b"data", b"database: x"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Bytes, and the payloads in them."""
    newline = draw(st.sampled_from([b"\n", b"\r\n"]))
    space = draw(st.sampled_from([b"", b" "]))
    written, payloads = [], []
    for data in draw(st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=4)):
        lines = [*draw(st.lists(NOISE, max_size=2)), *(b"data:" + space + line for line in data)]
        lines += draw(st.lists(NOISE, max_size=1))
        written.append(newline.join(lines) + newline + newline * draw(st.integers(1, 2)))
        payloads.append(b"\n".join(data))
    body = draw(st.sampled_from([b"", BOM])) + b"".join(written)
    if draw(st.booleans()):
        body = body.rstrip(b"\r\n")
    return body, payloads


@settings(max_examples=80, deadline=None)
@given(streams(), st.lists(st.integers(0, 200), max_size=5))
def test_payloads_are_found_wherever_the_bytes_are_cut(stream: tuple[bytes, list[bytes]], cuts: list[int]) -> None:
    body, payloads = stream
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    splitter = Splitter()
    found = [payload for start, end in pairwise(places) for payload in splitter.split(body[start:end])]
    assert [*found, *splitter.split(b"", last=True)] == payloads


@settings(max_examples=40, deadline=None)
@given(streams())
def test_payloads_are_found_byte_by_byte(stream: tuple[bytes, list[bytes]]) -> None:
    body, payloads = stream
    splitter = Splitter()
    found = [payload for place in range(len(body)) for payload in splitter.split(body[place : place + 1])]
    assert [*found, *splitter.split(b"", last=True)] == payloads
