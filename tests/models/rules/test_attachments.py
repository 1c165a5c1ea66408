"""What a model is shown of files: bytes where it takes them, text, or a note."""

import base64
from typing import Any

import pytest

from models.rules import prompt
from models.rules.attachments import TEXT_BYTES, ids, wanted
from models.rules.profiles import MEGABYTE, PROFILES, profile_for
from tests.models.rules.transcripts import Stored


def attached(file_id: str, kind: str, name: str = "") -> dict[str, Any]:
    return {"type": "file", "file_id": file_id, "media_type": kind, "name": name}


def sent(part: dict[str, Any], file: Stored | None, provider: str = "openai", gone: tuple[str, ...] = ()) -> Any:
    rows = [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]
    files = {part["file_id"]: file} if file else {}
    return prompt.build(rows, provider=provider, files=files, gone=gone)[0]["content"]


def test_an_image_goes_as_it_is_between_the_words_around_it() -> None:
    text, image = sent(attached("f", "image/png", "a.png"), Stored("a.png", "image/png", b"\x89PNG"))
    assert text == {"type": "text", "text": "look"}
    encoded = base64.b64encode(b"\x89PNG").decode()
    assert image == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}


def test_a_pdf_goes_as_it_is_with_its_name() -> None:
    _, pdf = sent(attached("f", "application/pdf", "a.pdf"), Stored("a.pdf", "application/pdf", b"%PDF-1.7"))
    assert pdf["file"]["filename"] == "a.pdf"
    assert pdf["file"]["file_data"].startswith("data:application/pdf;base64,")


def test_a_text_is_written_out_under_its_name_and_a_pasted_one_without() -> None:
    notes = sent(attached("f", "text/markdown", "notes.md"), Stored("notes.md", "text/markdown", b"# Hi"))
    assert notes == "look\n\n[attached file notes.md (text/markdown)]\n# Hi"
    name = "pasted-text-2026-11-22T10-00-00.txt"
    assert sent(attached("f", "text/plain", name), Stored(name, "text/plain", b"pasted")) == "look\n\npasted"


def test_a_long_text_is_cut_between_characters_and_says_so() -> None:
    name = "pasted-text-1.txt"
    content = sent(attached("f", "text/plain", name), Stored(name, "text/plain", b"x" + "é".encode() * TEXT_BYTES))
    shown, _, note = content.removeprefix("look\n\n").rpartition("\n")
    assert TEXT_BYTES - 2 < len(shown.encode()) <= TEXT_BYTES
    assert set(shown) == {"x", "é"}
    assert note == f"[truncated: the first {TEXT_BYTES} of {2 * TEXT_BYTES + 1} bytes are shown]"


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert sent(attached("f", "text/csv"), Stored("", "text/csv", b"a\xffb")).endswith("a\ufffdb")


@pytest.mark.parametrize(
    ("gone", "why"), [((), "its content cannot be shown to this model"), (("f",), "content expired")]
)
def test_a_file_without_content_leaves_a_note(gone: tuple[str, ...], why: str) -> None:
    content = sent(attached("f", "application/pdf", "a.pdf"), None, gone=gone)
    assert content == f"look\n\n[attached file a.pdf (application/pdf): {why}]"


def test_a_file_that_an_assistant_made_is_named_and_its_bytes_stay_here() -> None:
    rows = [{"role": "assistant", "content": [attached("f", "image/png", "shot.png")]}]
    [message] = prompt.build(rows, provider="openai", files={"f": Stored("shot.png", "image/png", b"\x89PNG")})
    assert message["content"] == f"[file shot.png: {prompt.NOT_AGAIN}]"
    assert ids(rows) == []


def rows_of(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [part]} for part in parts]


def test_the_newest_files_are_loaded_as_far_as_a_request_may_hold() -> None:
    rows = rows_of(*(attached(name, "image/png") for name in "abc"), attached("t", "text/plain"))
    profile = PROFILES["openai"]
    half = profile.total_bytes // 2
    assert wanted(rows, {"a": half, "b": half - 9, "c": half, "t": 9}, profile) == ["t", "c", "b"]
    assert wanted(rows, {"a": half - 9, "b": half, "c": half, "t": 9}, profile) == ["t", "c", "a"]
    assert wanted(rows, {"a": half, "c": 1}, profile) == ["c", "a"], "what is gone takes no room"


def test_a_file_that_is_too_large_for_the_model_is_not_loaded() -> None:
    rows = rows_of(attached("a", "image/png"), attached("b", "application/pdf"))
    assert wanted(rows, {"a": 6 * MEGABYTE, "b": 6 * MEGABYTE}, profile_for("anthropic")) == ["b"]
    assert wanted(rows, {"a": 1, "b": 1}, profile_for("openai-compat")) == ["a"]
    assert wanted(rows, {"a": 1, "b": 1}, profile_for("openai", "gpt-3.5-turbo")) == []


def test_a_file_that_was_sent_twice_is_loaded_once() -> None:
    rows = rows_of(attached("a", "image/png"), attached("a", "image/png"))
    assert wanted(rows, {"a": 1}, PROFILES["openai"]) == ids(rows) == ["a"]
