"""What a file is, by its bytes and its name."""

import pytest

from models.errors import Invalid
from models.rules.file_types import ALLOWED, MAX_NAME_BYTES, UNKNOWN, declared, named, stored

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SAMPLES = {
    "application/json": (b' {"a": 1}', "a.json"),
    "application/pdf": (b"%PDF-1.7\n\x00", "a.pdf"),
    "image/gif": (b"GIF89a\x01\x00", "a.gif"),
    "image/jpeg": (b"\xff\xd8\xff\xe0\x00", "a.jpg"),
    "image/png": (PNG, "a.png"),
    "image/webp": (b"RIFF\x00\x01\x02\x03WEBPVP8 ", "a.webp"),
    "text/csv": (b"a,b\n1,2\n", "a.csv"),
    "text/markdown": (b"# Title", "a.md"),
    "text/plain": ("žluťoučký".encode(), "a.txt"),
}


def test_each_allowed_type_has_a_sample() -> None:
    assert set(SAMPLES) == set(ALLOWED)


@pytest.mark.parametrize("kind", ALLOWED)
def test_each_allowed_type_is_recognised_as_itself_and_when_nothing_is_declared(kind: str) -> None:
    data, name = SAMPLES[kind]
    assert stored(data, name, declared(f"{kind}; charset=utf-8")) == kind
    assert stored(data, name, declared("")) == kind
    assert stored(data, name, UNKNOWN) == kind


@pytest.mark.parametrize("kind", ["text/csv", "text/markdown", "application/json"])
def test_plain_text_may_turn_out_to_be_a_kind_of_text(kind: str) -> None:
    assert stored(*SAMPLES[kind], "text/plain") == kind


def test_a_picture_is_not_text_whatever_it_is_declared_or_called() -> None:
    for said in ("text/plain", "image/jpeg", "application/json"):
        with pytest.raises(Invalid) as refused:
            stored(PNG, "notes.txt", said)
        assert refused.value.message == "File content type does not match Content-Type header."
        assert refused.value.detail == (f'Header declared "{said}" but file content was detected as "image/png".')


def test_json_that_does_not_parse_is_plain_text() -> None:
    assert stored(b"{nonsense", "a.json", "text/plain") == "text/plain"
    with pytest.raises(Invalid):
        stored(b"{nonsense", "a.json", "application/json")


def test_a_large_document_is_judged_by_its_ends() -> None:
    inside = b'"word",' * 200_000
    assert stored(b"[" + inside + b"1]\n", "a.json", UNKNOWN) == "application/json"
    assert stored(b"[" + inside, "a.json", UNKNOWN) == "text/plain"


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        b"\xef\xbb\xbf\n<?xml version='1.0'?><!-- a -->\n<!DOCTYPE svg PUBLIC 'x'>\n<SVG\n/>",
        b"MZ\x90\x00\x03",
        b"text with a \x00 in it",
        b"\x7fELF\x02",
        b"RIFF1234WAVE\x00",
    ],
)
def test_what_is_not_allowed_is_refused_by_its_content(data: bytes) -> None:
    for name in ("a.txt", "a.svg", "a.png"):
        with pytest.raises(Invalid, match="Unsupported file type"):
            stored(data, name, UNKNOWN)


def test_markup_that_is_not_svg_is_text_and_never_more() -> None:
    assert stored(b"<html><script>alert(1)</script></html>", "a.html", "text/plain") == "text/plain"
    assert stored(b"about <svg> elements", "a.md", UNKNOWN) == "text/markdown"


def test_many_open_comments_do_not_make_it_slow() -> None:
    assert stored(b"<!--" * 100_000 + b" " * 100_000, "a.txt", UNKNOWN) == "text/plain"


@pytest.mark.parametrize("said", ["image/svg+xml", "text/html", "application/zip", "nonsense"])
def test_other_declared_types_are_refused(said: str) -> None:
    with pytest.raises(Invalid) as refused:
        declared(said)
    assert refused.value.detail.startswith("Allowed types: application/json, application/pdf, image/gif, ")


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(Invalid, match=r"Invalid file\."):
        stored(b"", "a.txt", "text/plain")


def test_names_are_trimmed_and_cut_between_characters() -> None:
    assert named("  a.txt ") == "a.txt"
    cut = named("ž" * 200)
    assert cut == "ž" * 127
    assert len(cut.encode()) <= MAX_NAME_BYTES
    with pytest.raises(Invalid, match=r"Filename is required\."):
        named(" \t")
