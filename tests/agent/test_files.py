"""Files are read, written and edited as they are: line ends, rights, links, sizes and neighbours included."""

import os
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.agent.conftest import Resident
from tests.agent.outside import Outside


@pytest.fixture
def work(agent: Resident) -> Path:
    return agent.directory


def read(outside: Outside, path: str | Path, **more: Any) -> dict[str, Any]:
    return outside.call("read_file", {"path": str(path), "offset": 1, "limit": 2000, "max_bytes": 32768} | more)


def edit(path: str | Path, *edits: tuple[str, str], everywhere: bool = False) -> dict[str, Any]:
    return {
        "path": str(path),
        "edits": [{"search": search, "replace": replace, "replace_all": everywhere} for search, replace in edits],
    }


def test_a_written_file_is_read_back(outside: Outside, work: Path) -> None:
    told = outside.call("write_file", {"path": "new/deep/file.txt", "content": "one\ntwo\n"})
    assert told["created"]
    assert "+one" in told["diff"]
    assert (work / "new/deep/file.txt").read_text() == "one\ntwo\n"
    seen = read(outside, "new/deep/file.txt")
    assert seen == {
        "content": "one\ntwo\n",
        "first_line": 1,
        "lines_read": 2,
        "total_lines": 2,
        "file_size": 8,
        "truncated": False,
    }
    again = outside.call("write_file", {"path": "new/deep/file.txt", "content": "one\n2\n"})
    assert not again["created"]
    assert "-two\n+2\n" in again["diff"]


def test_lines_are_counted_and_cut_as_asked(outside: Outside, work: Path) -> None:
    (work / "lines").write_text("".join(f"{number}\n" for number in range(1, 101)) + "end")
    assert read(outside, "lines")["total_lines"] == 101
    assert read(outside, "lines", offset=101)["content"] == "end"
    part = read(outside, "lines", offset=10, limit=3)
    assert (part["content"], part["lines_read"], part["first_line"]) == ("10\n11\n12\n", 3, 10)
    cut = read(outside, "lines", max_bytes=10)
    assert (cut["content"], cut["truncated"], cut["lines_read"]) == ("1\n2\n3\n4\n5\n", True, 5)
    assert outside.error("read_file", {"path": "lines", "offset": 102})["kind"] == "invalid"
    assert read(outside, "lines", offset=100, limit=1)["truncated"] is False


def test_an_empty_file_has_no_lines(outside: Outside, work: Path) -> None:
    (work / "empty").touch()
    assert read(outside, "empty")["total_lines"] == 0


def test_a_line_longer_than_all_is_cut_between_characters(outside: Outside, work: Path) -> None:
    (work / "long").write_text("é" * 1000)
    cut = read(outside, "long", max_bytes=101)
    assert (cut["content"], cut["truncated"], cut["lines_read"]) == ("é" * 50, True, 1)


def test_a_large_file_is_read_in_bounded_memory(agent: Resident, outside: Outside, work: Path) -> None:
    path = work / "huge"
    with path.open("wb") as file:
        file.write(b"first\n" * 5000)
        file.truncate(2**28)  # sparse
        file.seek(2**28 - 6)
        file.write(b"\nlast\n")
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status")
    seen = read(outside, "huge", offset=4000, limit=1000)
    assert (seen["lines_read"], seen["file_size"], seen["total_lines"]) == (1000, 2**28, 5002)
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 120_000
    path.unlink()


def test_what_is_no_text_is_told_as_such(outside: Outside, work: Path) -> None:
    (work / "binary").write_bytes(b"\x7fELF\0\0\1")
    (work / "latin").write_bytes("café\n".encode("latin-1"))
    assert read(outside, "binary") | {"content": ""} == read(outside, "binary")
    assert read(outside, "binary")["binary"]
    assert read(outside, "latin")["content"] == "caf\ufffd\n"
    assert "UTF-8" in read(outside, "latin")["note"]
    refused = outside.error("edit_files", {"files": [edit("latin", ("caf", "tea"))]})
    assert refused["kind"] == "binary"
    assert (work / "latin").read_bytes() == b"caf\xe9\n"


def test_a_directory_is_listed(outside: Outside, work: Path) -> None:
    (work / "dir/sub").mkdir(parents=True)
    (work / "dir/file").write_text("12345")
    (work / "dir/nowhere").symlink_to("/no/such")
    told = read(outside, "dir")
    assert told["is_directory"]
    assert told["absolute_path"] == str(work / "dir")
    assert [(entry["name"], entry["is_dir"], entry["size"]) for entry in told["entries"]] == [
        ("file", False, 5),
        ("nowhere", False, 0),
        ("sub", True, 0),
    ]
    assert read(outside, "dir", limit=2)["truncated"]


def test_paths_that_lead_nowhere_are_told(outside: Outside, work: Path) -> None:
    os.mkfifo(work / "fifo")
    (work / "plain").write_text("x")
    for path, kind in {
        "nope": "not_found",
        "plain/below": "not_directory",
        "fifo": "invalid",
        "/dev/zero": "invalid",
    }.items():
        assert outside.error("read_file", {"path": path})["kind"] == kind, path
        assert outside.error("edit_files", {"files": [edit(path, ("a", "b"))]})["kind"] == kind, path
    assert outside.error("write_file", {"path": "plain/below", "content": ""})["kind"] == "not_directory"
    assert outside.error("write_file", {"path": ".", "content": ""})["kind"] == "invalid"
    assert outside.error("write_file", {"path": "fifo", "content": ""})["kind"] == "invalid"
    assert outside.error("write_file", {"path": "bad\0", "content": ""})["kind"] == "invalid"
    assert outside.error("write_file", {"path": "odd", "content": "\ud800"})["kind"] == "invalid"
    assert not (work / "odd").exists()


def test_home_and_links_are_resolved(agent: Resident, outside: Outside, work: Path) -> None:
    assert outside.call("home", {}) == {"home": str(agent.home)}
    outside.call("write_file", {"path": "~/plan.md", "content": "p"})
    assert (agent.home / "plan.md").read_text() == "p"
    (work / "link").symlink_to(agent.home / "plan.md")
    assert outside.call("resolve", {"path": "link"}) == {
        "path": str(agent.home / "plan.md"),
        "exists": True,
        "is_symlink": True,
    }
    plain = outside.call("resolve", {"path": "~/none"})
    assert plain == {"path": str(agent.home / "none"), "exists": False, "is_symlink": False}


def test_a_link_is_written_through_but_not_where_a_path_must_be_itself(outside: Outside, work: Path) -> None:
    (work / "real").mkdir()
    (work / "real/file").write_text("old")
    (work / "alias").symlink_to("real")
    (work / "direct").symlink_to("real/file")
    outside.call("write_file", {"path": "direct", "content": "through"})
    assert (work / "direct").is_symlink()
    assert (work / "real/file").read_text() == "through"
    for path in ("alias/file", "direct", "alias/new", "real/../alias/file"):
        request = {"path": path, "content": "no", "must_resolve_to_itself": True}
        assert outside.error("write_file", request)["kind"] == "denied", path
        strict = {"files": [edit(path, ("through", "no"))], "must_resolve_to_itself": True}
        assert outside.error("edit_files", strict)["kind"] == "denied", path
    assert (work / "real/file").read_text() == "through"
    outside.call("write_file", {"path": "alias/../real/file", "content": "yes", "must_resolve_to_itself": True})
    assert (work / "real/file").read_text() == "yes"


def test_edits_keep_line_ends_rights_and_a_missing_final_newline(outside: Outside, work: Path) -> None:
    script = work / "script"
    script.write_bytes(b"#!/bin/sh\r\necho one\r\necho two")
    script.chmod(0o754)
    told = outside.call("edit_files", {"files": [edit("script", ("echo one\necho two", "echo 1\necho 2\necho 3"))]})
    assert script.read_bytes() == b"#!/bin/sh\r\necho 1\r\necho 2\r\necho 3"
    assert script.stat().st_mode & 0o777 == 0o754
    assert told["files"][0]["path"] == str(script)
    assert "+echo 3" in told["files"][0]["diff"]


def test_edits_of_several_files_are_made_together_or_not_at_all(outside: Outside, work: Path) -> None:
    (work / "a").write_text("alpha\n")
    (work / "b").write_text("beta\n")
    refused = outside.error("edit_files", {"files": [edit("a", ("alpha", "A")), edit("b", ("gamma", "B"))]})
    assert refused["kind"] == "invalid"
    assert "no edits were applied" in refused["message"]
    assert (work / "a").read_text() == "alpha\n"
    told = outside.call(
        "edit_files", {"files": [edit("a", ("alpha", "A")), edit("b", ("beta", "B")), edit("a", ("A", "AA"))]}
    )
    assert [(work / name).read_text() for name in "ab"] == ["AA\n", "B\n"]
    assert len(told["files"]) == 2
    assert {path.name for path in work.iterdir() if "turnstone" in path.name} == set()


def test_an_edit_that_cannot_be_put_in_place_is_undone_everywhere(outside: Outside, work: Path) -> None:
    (work / "one").write_text("1")
    missing = outside.error("edit_files", {"files": [edit("one", ("1", "2")), edit("none", ("1", "2"))]})
    assert missing["kind"] == "not_found"
    assert (work / "one").read_text() == "1"


def test_edits_side_by_side_are_all_kept(outside: Outside, work: Path) -> None:
    (work / "counted").write_text("".join(f"<{number}>\n" for number in range(40)))
    jobs = [
        outside.post("edit_files", {"files": [edit("counted", (f"<{number}>", f"[{number}]"))]}) for number in range(40)
    ]
    for job in jobs:
        assert "result" in outside.result(job)
    assert (work / "counted").read_text() == "".join(f"[{number}]\n" for number in range(40))


def test_a_file_that_others_change_meanwhile_loses_nothing_of_theirs(outside: Outside, work: Path) -> None:
    path = work / "shared"
    path.write_text("mine: 0\n")
    stop = threading.Event()
    added = []

    def append() -> None:
        while not stop.wait(0.002):
            with path.open("a") as file:
                file.write(f"{len(added)}\n")
            added.append(len(added))

    thread = threading.Thread(target=append)
    thread.start()
    try:
        done = 0
        for number in range(10):
            job = outside.post("edit_files", {"files": [edit("shared", (f"mine: {done}\n", f"mine: {number + 1}\n"))]})
            frame = outside.result(job)
            if "result" in frame:
                done = number + 1
            else:
                assert frame["error"]["kind"] == "conflict"
    finally:
        stop.set()
        thread.join()
    assert path.read_text().startswith(f"mine: {done}\n")


def test_the_same_write_twice_is_one(outside: Outside, work: Path) -> None:
    request = {"path": "once", "content": "first"}
    job = outside.post("write_file", request)
    first = outside.result(job)
    (work / "once").write_text("changed by hand")
    del outside.results[job]
    outside.post("write_file", request, job)
    assert outside.result(job) == first
    assert (work / "once").read_text() == "changed by hand"
    taken = outside.post("write_file", {"path": "once", "content": "x"}, str(uuid.uuid4()))
    outside.result(taken)


def test_a_file_is_handed_to_the_api_once(outside: Outside, work: Path) -> None:
    (work / "report.txt").write_text("hello")
    (work / "nothing").touch()
    outside.uploads_fail = 1
    request = {"path": str(work / "report.txt"), "name": "Report ü.txt", "max_bytes": 100}
    job = outside.post("upload", request)
    told = outside.result(job)["result"]
    assert told == {"file_id": job, "name": "Report ü.txt", "media_type": "text/plain", "size": 5}
    assert outside.files[job] == ("Report ü.txt", b"hello")
    assert outside.error("upload", {"path": "report.txt", "max_bytes": 4})["kind"] == "too_large"
    assert outside.error("upload", {"path": "nothing", "max_bytes": 4})["kind"] == "invalid"
    assert outside.error("upload", {"path": "none", "max_bytes": 4})["kind"] == "not_found"
