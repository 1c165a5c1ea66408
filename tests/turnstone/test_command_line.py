"""The command line is quick, clear about what is wrong, and honest in its exit code."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from turnstone import ports
from turnstone.data_dir import DataDir

ROOT = Path(__file__).parents[2]


def turnstone(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTONE_")}
    return subprocess.run(
        [sys.executable, "-m", "turnstone", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean | environment,
        timeout=60,
        check=False,
    )


def test_help_lists_the_roles_without_loading_what_they_need() -> None:
    answer = turnstone("--help")
    assert answer.returncode == 0
    for name in ("dev", "api", "worker", "migrate", "doctor"):
        assert name in answer.stdout
    heavy = ("litellm", "temporalio", "sqlalchemy", "pydantic", "fastapi")
    script = f"import sys, turnstone.__main__; print([name for name in {heavy!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("role", ["api", "worker", "migrate", "bootstrap"])
def test_every_role_refuses_an_unknown_setting(role: str) -> None:
    answer = turnstone(role, TURNSTONE_TEMPORAL_ADRESS="localhost:7233")
    assert answer.returncode == 2
    assert "did you mean TURNSTONE_TEMPORAL_ADDRESS?" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_dev_refuses_an_unknown_setting_before_anything_is_ready(tmp_path: Path) -> None:
    free = ("--port", "0", "--temporal-port", "0", "--temporal-ui-port", "0")
    answer = turnstone("dev", "--data-dir", str(tmp_path / "data"), *free, TURNSTONE_NONSENSE="1")
    assert answer.returncode == 2
    assert "TURNSTONE_NONSENSE is not a setting" in answer.stderr


def test_dev_says_who_holds_the_directory(place: DataDir) -> None:
    answer = turnstone("dev", "--data-dir", str(place.root))
    assert answer.returncode == 1
    assert f"another `turnstone dev` (process {os.getpid()})" in answer.stderr


def test_dev_says_which_port_is_taken_and_how_to_choose_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = turnstone(
            "dev",
            "--data-dir",
            str(tmp_path / "data"),
            "--port",
            str(port),
            "--temporal-port",
            "0",
            "--temporal-ui-port",
            "0",
        )
    assert answer.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in answer.stderr
    assert "--port" in answer.stderr


async def test_free_ports_differ_from_each_other_and_from_the_wanted() -> None:
    (wanted,) = await ports.choose([ports.Wish("", "127.0.0.1", 0)])
    wishes = [ports.Wish("", "127.0.0.1", 0)] * 20 + [ports.Wish("", "127.0.0.1", wanted)]
    chosen = await ports.choose(wishes)
    assert chosen[-1] == wanted
    assert len(set(chosen)) == len(chosen)


def test_doctor_finds_the_database_and_says_what_is_missing(database_url: str, tmp_path: Path) -> None:
    answer = turnstone(
        "doctor",
        "--json",
        "--data-dir",
        str(tmp_path),
        TURNSTONE_DATABASE_URL=database_url,
        TURNSTONE_TEMPORAL_ADDRESS="127.0.0.1:1",
        TURNSTONE_PORT="0",
    )
    assert answer.returncode == 1
    found = {finding["name"]: finding for finding in json.loads(answer.stdout)}
    assert {name for name, finding in found.items() if finding["fine"]} == {
        "settings",
        "database",
        "migrations",
        "api",
        "stored secrets",
    }
    assert {name for name, finding in found.items() if finding["fine"] is False} == {
        "secret keys",
        "temporal",
        "providers",
    }
    assert {name for name, finding in found.items() if finding["fine"] is None} == {"namespace", "search attributes"}
    assert all(finding["remedy"] for finding in found.values() if finding["fine"] is False)


def test_doctor_tells_an_empty_database_from_a_migrated_one_and_shows_no_password(
    postgres_url: str, tmp_path: Path
) -> None:
    url = postgres_url.replace("postgres:@", "postgres:hunter2@")
    answer = turnstone(
        "doctor", "--data-dir", str(tmp_path), TURNSTONE_DATABASE_URL=url, TURNSTONE_TEMPORAL_ADDRESS="127.0.0.1:1"
    )
    assert "✗ migrations: the database is empty" in answer.stdout
    assert "run `turnstone migrate`" in answer.stdout
    assert "hunter2" not in answer.stdout + answer.stderr
