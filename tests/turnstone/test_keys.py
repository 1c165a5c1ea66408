"""`turnstone keys`: a deployment changes its encryption key, and cannot lose one that secrets still need."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from models.store import providers
from models.store.database import Database
from models.store.secrets import Cipher, key_id
from turnstone.__main__ import app
from turnstone.documents import ROOT

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
async def database_under_old(database: Database) -> str:
    """A database with three secrets under the old key; its URL."""
    async with database.begin() as session:
        await providers.create(
            session,
            Cipher(OLD),
            kind="openai",
            name="main",
            display_name="",
            enabled=True,
            base_url="https://api.openai.com/v1",
            api_keys=["sk-one", "sk-two", "sk-three"],
        )
    return database.url


def turnstone(url: str, keys: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env=environment(url, keys))


def migrated(url: str, keys: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as it takes over the process's log."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTONE_")}
    command = [sys.executable, "-m", "turnstone", "migrate"]
    own = clean | environment(url, keys)
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=own, timeout=120, check=False)


def environment(url: str, keys: str) -> dict[str, str]:
    return {"TURNSTONE_DATABASE_URL": url, "TURNSTONE_SECRET_KEYS": keys}


def listed(url: str, keys: str, *more: str) -> tuple[int, Any]:
    answer = turnstone(url, keys, "keys", "list", "--json", *more)
    return answer.exit_code, {each["id"]: (each["state"], each["secrets"]) for each in json.loads(answer.stdout)}


def test_a_key_is_changed_and_dropped_without_losing_a_secret(database_under_old: str) -> None:
    url, old, new = database_under_old, key_id(OLD), key_id(NEW)
    assert listed(url, f"{NEW},{OLD}") == (0, {new: ("encrypts", 0), old: ("opens", 3)})
    assert listed(url, f"{NEW},{OLD}", "--without", old)[0] == 1
    refused = migrated(url, NEW)
    assert refused.returncode == 1
    assert f"3 under the key {old}" in refused.stderr
    assert listed(url, NEW) == (1, {new: ("encrypts", 0), old: ("missing", 3)})
    done = turnstone(url, f"{NEW},{OLD}", "keys", "rotate", "--batch", "2", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"key": new, "rotated": 3, "unreadable": {}})
    assert listed(url, f"{NEW},{OLD}", "--without", old) == (0, {new: ("encrypts", 3)})
    assert migrated(url, NEW).returncode == 0
    said = refused.stdout + refused.stderr + done.stdout + done.stderr
    assert not any(secret in said for secret in (OLD, NEW, "sk-"))


def test_what_cannot_be_rotated_is_said_and_is_a_failure(database_under_old: str) -> None:
    lost = turnstone(database_under_old, NEW, "keys", "rotate")
    assert lost.exit_code == 1
    assert "ai_provider_keys.api_key: 3 secrets are under no key" in lost.stderr
    for keys, code in (("", 1), ("nonsense", 2)):
        answer = turnstone(database_under_old, keys, "keys", "rotate")
        assert (answer.exit_code, "TURNSTONE_SECRET_KEYS" in answer.stderr) == (code, True)
        assert "Traceback" not in answer.stderr
