"""The directory of an embedded stack: its paths, its lock, its secrets, and the facts of the running stack."""

import base64
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

DEFAULT = Path(".turnstone")
LONGEST_SOCKET_DIR = 85  # the system allows about 104 bytes with the socket's own name and its lock


class InUse(Exception):
    """Another `turnstone dev` holds the directory."""


class DataDir:
    """Where things are below the data directory; creating it makes the folders."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.logs = self.root / "logs"
        self.run = self.root / "run"
        self.postgres = self.root / "postgres"
        self.temporal = self.root / "temporal.db"
        self.facts = self.root / "ready.json"
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Create the folders and hold the lock for the life of this process; raises InUse."""
        for folder in (self.root, self.logs, self.run):
            folder.mkdir(parents=True, exist_ok=True)
        lock = (self.root / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as busy:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise InUse(holder) from busy
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        # The listener of the last run is gone, and so is what it said.
        self.facts.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the next stack have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def pid_file(self, name: str) -> Path:
        return self.run / f"{name}.pid"

    def ready_file(self, name: str) -> Path:
        return self.run / f"{name}.ready"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def socket_dir(self) -> Path:
        """Where PostgreSQL's socket is: inside, unless the path would be too long for a socket."""
        inside = self.run / "socket"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_DIR:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"turnstone-{os.getuid()}-{digest}"

    def secret_key(self) -> str:
        """The Fernet key that encrypts stored secrets; made once."""
        return self._secret("secret_key", base64.urlsafe_b64encode(os.urandom(32)).decode())

    @property
    def token_file(self) -> Path:
        """Where the owner's token is kept."""
        return self.root / "admin_token"

    def _secret(self, name: str, fresh: str) -> str:
        path = self.root / name
        if not path.exists():
            write_private(path, fresh)
        return path.read_text().strip()


def write_private(path: Path, text: str) -> None:
    """Replace a file's content atomically; readable by its owner alone."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp: mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_facts(path: Path, facts: Mapping[str, object]) -> None:
    """Publish the facts of the running stack, whole or not at all."""
    write_private(path, json.dumps(facts, indent=2) + "\n")


def running_facts(root: Path = DEFAULT) -> dict[str, Any] | None:
    """The facts of the stack that runs on a data directory, or None: where the command line finds its server."""
    try:
        facts = json.loads((root / "ready.json").read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict):
        return None
    try:
        os.kill(facts["pids"]["supervisor"], 0)
    except PermissionError:
        pass
    except (LookupError, TypeError, OSError):
        return None
    return facts
