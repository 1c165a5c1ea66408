"""Whatever is put into labels, cursors, searches, names, types, parts, keys: the answer is documented, never a 500."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.live_stage import PREFIX, Stage
from tests.contracts.wire.reading import hook

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEW = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
ODD = st.sampled_from(["", " ", "\x00", "%00", "\ud800", "é" * 300, "9" * 40, "-1", "null", "../..", "'; --", "\u202e"])
TEXT = st.one_of(st.text(max_size=80), ODD)
NUMBERS = st.one_of(st.integers(-(2**70), 2**70).map(str), st.floats().map(str), TEXT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
PART_KEYS = ("type", "text", "file_id", "file_name", "start_line", "end_line", "content", "data", "args")
KINDS = st.sampled_from(["text", " TEXT", "file", "file-reference", "tool-call", "reasoning", "hook-context"])
PARTS = st.one_of(
    st.fixed_dictionaries({"type": KINDS | TEXT}, optional=dict.fromkeys(PART_KEYS[1:], JSON)),
    st.dictionaries(st.sampled_from(PART_KEYS) | TEXT, JSON, max_size=5),
    JSON,
)
REFUSED = {400, 404, 409, 413, 422, 429}


class Fuzzed:
    """A client of a real server, beside the loop of the tests: Hypothesis calls it from ordinary functions."""

    def __init__(self, client: httpx.AsyncClient, chat: str, organization: str) -> None:
        self.client, self.chat, self.organization = client, chat, organization
        self._loop = asyncio.get_running_loop()
        self.statuses: set[int] = set()

    def ask(self, method: str, path: str, allowed: set[int], **more: Any) -> httpx.Response:
        response = asyncio.run_coroutine_threadsafe(self.client.request(method, path, **more), self._loop).result(30)
        assert response.status_code in allowed, f"{method} {path} {more}: {response.status_code} {response.text}"
        self.statuses.add(response.status_code)
        return response


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fuzzed(stage: Stage) -> AsyncIterator[Fuzzed]:
    headers = {"Coder-Session-Token": stage.token}
    base = f"http://{stage.one.address}{PREFIX}"
    async with httpx.AsyncClient(
        base_url=base, headers=headers, timeout=30, event_hooks={"response": [hook]}
    ) as client:
        yield Fuzzed(client, str(stage.drive.chat_id), str(stage.organization_id))


def apart(function: Callable[[], Any]) -> Awaitable[Any]:
    """Run a Hypothesis test in a thread, for the server lives in this one."""
    return asyncio.to_thread(function)


def surely(text: str) -> str:
    """Text that UTF-8 can carry."""
    return text.encode("utf-8", "replace").decode()


async def test_labels_of_any_shape(fuzzed: Fuzzed) -> None:
    @FEW
    @given(labels=st.dictionaries(TEXT, TEXT | JSON, max_size=60) | JSON)
    def fuzz(labels: Any) -> None:
        fuzzed.ask("PATCH", f"/{fuzzed.chat}", {204, *REFUSED}, content=document({"labels": labels}))

    await apart(fuzz)
    assert {204, 400} <= fuzzed.statuses


async def test_label_filters_and_cursors_of_the_list(fuzzed: Fuzzed) -> None:
    @FEW
    @given(label=TEXT, after=TEXT, limit=NUMBERS, offset=NUMBERS)
    def fuzz(label: str, after: str, limit: str, offset: str) -> None:
        for query in ({"label": label}, {"after_id": after}, {"limit": limit}, {"offset": offset}):
            fuzzed.ask("GET", "", {200, 400}, params={key: surely(value) for key, value in query.items()})

    await apart(fuzz)


async def test_search_terms(fuzzed: Fuzzed) -> None:
    keys = st.sampled_from(
        [
            "title",
            "archived",
            "has_unread",
            "pr_status",
            "source",
            "diff_url",
            "pr",
            "repo",
            "pr_title",
            "status",
            "search",
        ]
    )
    values = st.one_of(TEXT, NUMBERS, st.sampled_from(["true", "open", "created_by_me", '"https://x/y"', "a,b", '"']))
    terms = st.one_of(st.tuples(keys, values).map(":".join), TEXT)

    @FEW
    @given(q=st.lists(terms, max_size=4).map(" ".join))
    def fuzz(q: str) -> None:
        fuzzed.ask("GET", "", {200, 400}, params={"q": surely(q)})

    await apart(fuzz)


async def test_cursors_of_messages_and_prompts(fuzzed: Fuzzed) -> None:
    @FEW
    @given(before=NUMBERS, after=NUMBERS, limit=NUMBERS)
    def fuzz(before: str, after: str, limit: str) -> None:
        query = {"before_id": surely(before), "after_id": surely(after), "limit": surely(limit)}
        fuzzed.ask("GET", f"/{fuzzed.chat}/messages", {200, 400}, params=query)
        fuzzed.ask("GET", f"/{fuzzed.chat}/messages", {200, 400}, params={"after_id": surely(after)})
        fuzzed.ask("GET", f"/{fuzzed.chat}/prompts", {200, 400}, params={"limit": surely(limit)})

    await apart(fuzz)


async def test_cursors_of_a_stream(fuzzed: Fuzzed) -> None:
    """A good one would open a stream; without an upgrade it is told how to (426)."""
    part = st.integers(0, 10**20).map(str) | TEXT

    @FEW
    @given(cursor=st.lists(part, min_size=1, max_size=5).map(".".join), after=NUMBERS)
    def fuzz(cursor: str, after: str) -> None:
        for query in ({"cursor": surely(cursor)}, {"after_id": surely(after)}):
            fuzzed.ask("GET", f"/{fuzzed.chat}/stream", {400, 426}, params=query)

    await apart(fuzz)


async def test_ids_in_paths(fuzzed: Fuzzed) -> None:
    @FEW
    @given(text=TEXT.filter(lambda text: surely(text).strip("./ ") != ""), number=NUMBERS)
    def fuzz(text: str, number: str) -> None:
        given, row = quote(surely(text), safe=""), quote(surely(number) or "x", safe="")
        for method, path in (
            ("GET", f"/{given}/messages"),
            ("GET", f"/files/{given}"),
            ("PATCH", f"/{fuzzed.chat}/messages/{row}"),
            ("DELETE", f"/{fuzzed.chat}/queue/{row}"),
            ("POST", f"/{fuzzed.chat}/queue/{row}/promote"),
            ("GET", f"/{fuzzed.chat}/debug/runs/{given}"),
        ):
            fuzzed.ask(method, path, {204, 405, *REFUSED})

    await apart(fuzz)


async def test_parts_of_any_shape(fuzzed: Fuzzed) -> None:
    @FEW
    @given(content=st.lists(PARTS, max_size=4) | JSON)
    def fuzz(content: Any) -> None:
        body = document({"content": content})
        fuzzed.ask("POST", f"/{fuzzed.chat}/messages", {200, *REFUSED}, content=body)
        created = document({"content": content, "organization_id": fuzzed.organization})
        fuzzed.ask("POST", "", {201, *REFUSED}, content=created)

    await apart(fuzz)


async def test_bodies_that_are_hardly_json(fuzzed: Fuzzed) -> None:
    nested = st.integers(1, 3000).map(lambda deep: b"[" * deep + b"]" * deep)

    @FEW
    @given(body=st.binary(max_size=200) | nested | nested.map(lambda given: b'{"content":' + given + b"}"))
    def fuzz(body: bytes) -> None:
        for method, path in (
            ("POST", ""),
            ("POST", f"/{fuzzed.chat}/messages"),
            ("POST", f"/{fuzzed.chat}/tool-results"),
        ):
            fuzzed.ask(method, path, REFUSED, content=body)

    await apart(fuzz)


async def test_names_and_types_of_files(fuzzed: Fuzzed) -> None:
    types = st.sampled_from(["text/plain", "image/png", "", "image/svg+xml", "text/plain;charset=\xff", "a/b;;", "/"])
    starts = st.sampled_from([b"", b"<svg", b"\x89PNG\r\n\x1a\n", b"%PDF-", b"GIF89a", b"{", b"\xef\xbb\xbf", b"RIFF"])
    names = st.one_of(
        TEXT.map(lambda text: f'attachment; filename="{surely(text)}"'.encode()),
        TEXT.map(lambda text: b"attachment; filename*=UTF-8''" + quote(surely(text)).encode()),
        TEXT.map(lambda text: surely(text).encode()),
        st.binary(max_size=60),
    ).map(lambda raw: raw.translate(None, b"\r\n\x00").strip())

    @FEW
    @given(name=names, kind=types, start=starts, rest=st.binary(max_size=80))
    def fuzz(name: bytes, kind: str, start: bytes, rest: bytes) -> None:
        clean = bytes(each for each in name if each >= 32 and each != 127)
        headers = [(b"Content-Disposition", clean), (b"Content-Type", kind.encode("latin-1"))]
        query = {"organization": fuzzed.organization}
        made = fuzzed.ask("POST", "/files", {201, *REFUSED}, params=query, headers=headers, content=start + rest)
        if made.status_code == 201:
            shown = fuzzed.ask("GET", f"/files/{made.json()['id']}", {200})
            assert shown.content == start + rest
            assert shown.headers["x-content-type-options"] == "nosniff"
            assert "svg" not in shown.headers["content-type"]

    await apart(fuzz)


async def test_idempotency_keys(fuzzed: Fuzzed) -> None:
    keys = st.binary(max_size=300).map(lambda raw: bytes(each for each in raw if each >= 32 and each != 127))

    @FEW
    @given(key=keys | st.integers(0, 400).map(lambda size: b"k" * size))
    def fuzz(key: bytes) -> None:
        headers = [(b"Idempotency-Key", key.strip())]
        for path in (f"/{fuzzed.chat}/interrupt", f"/{fuzzed.chat}/tool-results"):
            fuzzed.ask("POST", path, {200, *REFUSED}, headers=headers, content=b'{"results": []}')

    await apart(fuzz)


def document(value: Any) -> bytes:
    """JSON, unpaired surrogates and all."""
    return json.dumps(value).encode()
