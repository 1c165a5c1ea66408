"""The data directory belongs to one stack, and tells the truth about it."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from turnstone.data_dir import LONGEST_SOCKET_DIR, DataDir, InUse, running_facts, write_facts, write_private


def test_a_directory_is_held_by_one_stack_which_is_named(place: DataDir) -> None:
    with pytest.raises(InUse, match=str(os.getpid())):
        DataDir(place.root).open()


def test_secrets_are_made_once_and_readable_by_their_owner_alone(place: DataDir) -> None:
    key = place.secret_key()
    assert DataDir(place.root).secret_key() == key
    write_private(place.token_file, "ts_token")
    for path in (place.root / "secret_key", place.token_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_reader_never_sees_half_of_the_facts(place: DataDir) -> None:
    write_facts(place.facts, {"number": 0, "padding": ""})
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            write_facts(place.facts, {"number": number, "padding": "x" * (number % 7) * 4096})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            facts = json.loads(place.facts.read_text())
            assert facts["padding"] == "x" * (facts["number"] % 7) * 4096
    finally:
        stop.set()
        writer.join()
    assert list(place.root.glob(".ready.json*")) == []


def test_the_facts_of_a_dead_stack_are_none(place: DataDir) -> None:
    write_facts(place.facts, {"pids": {"supervisor": os.getpid()}})
    assert running_facts(place.root) == {"pids": {"supervisor": os.getpid()}}
    write_facts(place.facts, {"pids": {"supervisor": 2**22 + 1}})
    assert running_facts(place.root) is None
    assert running_facts(place.root / "nowhere") is None


def test_a_socket_has_a_path_that_the_system_accepts_however_deep_the_directory(tmp_path: Path) -> None:
    deep = DataDir(tmp_path / ("deep/" * 30))
    assert len(os.fsencode(deep.socket_dir())) <= LONGEST_SOCKET_DIR
    assert deep.socket_dir() != DataDir(tmp_path / ("deep/" * 31)).socket_dir()
