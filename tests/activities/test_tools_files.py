"""The laws of the tools for files: a model reads, writes, edits and attaches what is in its workspace."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from activities.tools.attach_file import attach_file
from activities.tools.edit_files import edit_files
from activities.tools.endings import ToolFailed
from activities.tools.propose_plan import propose_plan
from activities.tools.read_file import read_file
from activities.tools.tool import Attached
from activities.tools.write_file import write_file
from models.rules import plan_file
from models.settings import Settings
from models.store.database import Database
from tests.activities.workbench import Bench, settle, workbench
from tests.models.store.chats import born
from tests.seeds import World


@pytest.fixture
async def bench(settings: Settings, database: Database, seed: World, tmp_path: Path) -> AsyncIterator[Bench]:
    async with workbench(settings, database, seed, tmp_path) as opened:
        yield opened


@pytest.fixture
async def chat(bench: Bench) -> UUID:
    return await settle(bench, await born(bench.database, bench.world))


async def test_a_file_is_written_edited_and_read_with_numbered_lines(bench: Bench, chat: UUID) -> None:
    assert await bench.use(write_file, chat, path="src/a.txt", content="one\ntwo\nthree\n") == {
        "ok": True,
        "created": True,
    }
    edit = {"path": "~/src/a.txt", "edits": [{"search": "two", "replace": "2"}, {"search": "2", "replace": "zwei"}]}
    edited = await bench.use(edit_files, chat, files=[edit])
    assert edited["ok"]
    assert "+zwei" in edited["files"][0]["diff"]
    assert await bench.use(read_file, chat, path="src/a.txt", offset=2) == {
        "content": "2\tzwei\n3\tthree",
        "file_size": 15,
        "total_lines": 3,
        "lines_read": 2,
    }
    again = await bench.use(write_file, chat, path="src/a.txt", content="one\n")
    assert "-zwei" in again["diff"]


async def test_a_directory_is_listed_and_what_is_no_text_is_not_read(bench: Bench, chat: UUID) -> None:
    (bench.home / "d" / "inner").mkdir(parents=True)
    (bench.home / "d" / "b.bin").write_bytes(b"\x00\x01")
    listed = await bench.use(read_file, chat, path="d")
    assert (listed["is_directory"], listed["content"], listed["total_entries"]) == (True, "b.bin\ninner/", 2)
    assert listed["absolute_path_string"] == str(bench.home / "d")
    with pytest.raises(ToolFailed, match="not a text file"):
        await bench.use(read_file, chat, path="d/b.bin")


async def test_a_read_that_cannot_be_done_says_why(bench: Bench, chat: UUID) -> None:
    (bench.home / "a").write_text("x\n")
    for arguments, why in (
        ({"path": " "}, "path is required"),
        ({"path": "nowhere"}, "does not exist"),
        ({"path": "a", "offset": 9}, "beyond the end of the file: it has 1 lines"),
    ):
        with pytest.raises(ToolFailed, match=why):
            await bench.use(read_file, chat, **arguments)


async def test_a_long_file_is_read_in_pieces_that_say_where_to_go_on(bench: Bench, chat: UUID) -> None:
    (bench.home / "long").write_text("".join(f"{number} {'x' * 40}\n" for number in range(1, 5001)))
    first = await bench.use(read_file, chat, path="long")
    assert len(first["content"].encode()) < 48 * 1024
    assert first["note"] == f"There was no room for more: read on from line {first['lines_read'] + 1}."
    assert (await bench.use(read_file, chat, path="long", limit=3))["lines_read"] == 3


async def test_when_one_edit_fits_nowhere_no_file_is_changed(bench: Bench, chat: UUID) -> None:
    for name in "ab":
        (bench.home / name).write_text("same\n")
    files = [
        {"path": "a", "edits": [{"search": "same", "replace": "new"}]},
        {"path": "b", "edits": [{"search": "other", "replace": "new"}]},
    ]
    with pytest.raises(ToolFailed, match="no edits were applied"):
        await bench.use(edit_files, chat, files=files)
    assert (bench.home / "a").read_text() == "same\n"
    for wrong in ([], [{"path": "a", "edits": []}], [{"path": "", "edits": [{"search": "a", "replace": "b"}]}]):
        with pytest.raises(ToolFailed, match="required"):
            await bench.use(edit_files, chat, files=wrong)


async def test_a_plan_is_not_written_where_plans_of_all_chats_would_meet(bench: Bench, chat: UUID) -> None:
    own = plan_file.path(str(bench.home), chat)
    for path in ("plan.md", "~/PLAN.md", str(bench.home / "plan.md")):
        with pytest.raises(ToolFailed, match=own):
            await bench.use(write_file, chat, path=path, content="x")
    await bench.use(write_file, chat, path="docs/plan.md", content="x")


async def test_a_turn_that_plans_changes_its_plan_and_nothing_else(bench: Bench, chat: UUID) -> None:
    def planning() -> Any:
        return bench.context(chat, chat={"id": chat, "plan_mode": "plan"})

    own = plan_file.path(str(bench.home), chat)
    with pytest.raises(ToolFailed, match=f"only the plan file can be changed: {own}"):
        await bench.use(write_file, chat, planning(), path="a.txt", content="x")
    with pytest.raises(ToolFailed, match="only the plan file"):
        await bench.use(edit_files, chat, planning(), files=[{"path": "a", "edits": [{"search": "a", "replace": ""}]}])
    with pytest.raises(ToolFailed, match="does not exist"):
        await bench.use(propose_plan, chat, planning())
    short = own.replace(str(bench.home), "~")
    assert (await bench.use(write_file, chat, planning(), path=short, content="# Plan\n"))["ok"]
    proposed = await bench.use(propose_plan, chat, planning())
    assert isinstance(proposed, Attached)
    assert (proposed.outcome["path"], proposed.outcome["kind"]) == (own, "plan")
    assert proposed.outcome["media_type"] == proposed.files[0]["media_type"] == "text/markdown"
    with pytest.raises(ToolFailed, match="larger than 32768"):
        await bench.use(write_file, chat, planning(), path=own, content="x" * 40_000)
        await bench.use(propose_plan, chat, planning())
    for wrong in ("/etc/passwd", "plan.md", "~/other.md"):
        with pytest.raises(ToolFailed, match=r"path must|the plan is in"):
            await bench.use(propose_plan, chat, planning(), path=wrong)


async def test_a_plan_file_behind_a_link_is_not_written(bench: Bench, chat: UUID, tmp_path: Path) -> None:
    (bench.home / ".coder").mkdir()
    (bench.home / ".coder" / "plans").symlink_to(tmp_path)
    planning = bench.context(chat, chat={"id": chat, "plan_mode": "plan"})
    own = plan_file.path(str(bench.home), chat)
    with pytest.raises(ToolFailed, match="does not resolve to itself"):
        await bench.use(write_file, chat, planning, path=own, content="x")


async def test_a_file_is_attached_once_and_is_the_chats(bench: Bench, chat: UUID) -> None:
    (bench.home / "report.csv").write_text("a,b\n1,2\n")
    context = bench.context(chat)
    first = await bench.use(attach_file, chat, context, path=str(bench.home / "report.csv"), name="Report.csv")
    again = await bench.use(attach_file, chat, context, path=str(bench.home / "report.csv"), name="Report.csv")
    assert first == again
    assert first.outcome | {"file_id": ""} == {
        "ok": True,
        "path": str(bench.home / "report.csv"),
        "file_id": "",
        "name": "Report.csv",
        "media_type": "text/csv",
        "size": 8,
    }
    assert first.files == [
        {"type": "file", "media_type": "text/csv", "file_id": first.outcome["file_id"], "name": "Report.csv"}
    ]
    [linked] = await bench.rows("SELECT chat_id, file_id::text AS file_id FROM chat_file_links")
    assert linked == {"chat_id": chat, "file_id": first.outcome["file_id"]}


async def test_what_cannot_be_attached_says_why(bench: Bench, chat: UUID) -> None:
    (bench.home / "empty").write_text("")
    (bench.home / "big").write_bytes(b"x" * (10 * 1024 * 1024 + 1))
    for path, why in (
        ("", "path is required"),
        ("report.csv", "path must be absolute"),
        (str(bench.home / "empty"), "is empty"),
        (str(bench.home / "big"), "larger than 10485760 bytes"),
        (str(bench.home), "directory|regular file"),
    ):
        with pytest.raises(ToolFailed, match=why):
            await bench.use(attach_file, chat, path=path)


async def test_a_chat_that_has_all_the_files_it_may_have_gets_no_more(bench: Bench, chat: UUID) -> None:
    (bench.home / "a.txt").write_text("x")
    await bench.change(
        "WITH made AS (INSERT INTO chat_files (id, owner_id, organization_id, name, mimetype, size, data)"
        " SELECT gen_random_uuid(), owner_id, organization_id, 'f', 'text/plain', 1, 'x'"
        " FROM chats, generate_series(1, 50) RETURNING id)"
        " INSERT INTO chat_file_links (chat_id, file_id) SELECT c.id, made.id FROM chats c, made"
    )
    with pytest.raises(ToolFailed, match="at most 50 files"):
        await bench.use(attach_file, chat, path=str(bench.home / "a.txt"))
    assert len(await bench.rows("SELECT id FROM chat_files")) == 50, "nothing is kept that nobody sees"
