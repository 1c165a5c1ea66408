"""A real Temporal server for tests: one a session, in memory, with the options of the embedded stack."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from uuid import uuid4

import pytest
from temporalio.client import Client

from turnstone.embedded_temporal import DYNAMIC_CONFIG, HOST, SEARCH_ATTRIBUTES, program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK warns when a cancellation meets an activity that has just ended, which is nothing unusual."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore:Cannot find activity to cancel:UserWarning"))


class Server:
    """The process, which a test may stop and start again at the same address (in memory: it forgets)."""

    def __init__(self, search_attributes: Sequence[str] = SEARCH_ATTRIBUTES) -> None:
        self._search_attributes = search_attributes
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [str(program()), "server", "start-dev", "--ip", HOST, "--port", str(self.port), "--headless"]
        argv += ["--log-level", "never"]
        for value in DYNAMIC_CONFIG:
            argv += ["--dynamic-config-value", value]
        for name in self._search_attributes:
            argv += ["--search-attribute", f"{name}=Keyword"]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            if self._is_healthy():
                return
            assert self._process.poll() is None, "the Temporal server ended at start"
            assert time.monotonic() < deadline, "the Temporal server did not start"
            time.sleep(0.05)

    def _is_healthy(self) -> bool:
        """It listens before it is."""
        asking = [str(program()), "operator", "cluster", "health", "--address", self.address]
        return b"SERVING" in subprocess.run(asking, capture_output=True, check=False).stdout

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def temporal_server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def temporal(temporal_server: Server) -> Client:
    return await Client.connect(temporal_server.address)


@pytest.fixture
def task_queue() -> str:
    """A queue of one's own, so that no two tests share a worker."""
    return f"test-{uuid4()}"


def skipping_program() -> str:
    """The program of the server that skips time."""
    return str(program().with_name("temporal-test-server"))
