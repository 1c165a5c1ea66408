"""The embedded stack: which processes it has, in which order they come up, and what is known of it when it is up."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from activities.provisioners import inhabitants
from turnstone import embedded_temporal, ports
from turnstone.data_dir import DataDir, write_facts
from turnstone.embedded_postgres import EmbeddedPostgres
from turnstone.nursery import Nursery
from turnstone.supervisor import Command, Supervisor, end_orphans, tail

START_PATIENCE = 120.0
WORKSPACE_PATIENCE = 3.0
STOP_PATIENCE = 15.0  # more than the default of TURNSTONE_SHUTDOWN_GRACE
ROLES = ("nursery", "api", "worker", "temporal", "postgres")
STOP_RANKS = (("nursery", "api", "worker"), ("temporal",), ("postgres",))

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where to reach what listens there


class StartFailed(Exception):
    """The stack cannot come up; the message says why."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Options:
    """What the command line asked for; a port of 0 is a free one."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    temporal_port: int = 7233
    temporal_ui_port: int = 8233
    apis: int = 1
    workers: int = 1
    ready_file: Path | None = None


class Stack:
    """PostgreSQL, Temporal, API and worker processes on one machine, under one supervisor."""

    def __init__(self, options: Options, place: DataDir, say: Callable[[str], None]) -> None:
        self.options = options
        self.place = place
        self.supervisor = Supervisor(say, self._publish)
        self.postgres = EmbeddedPostgres(place, self.supervisor)
        self._nursery = Nursery(self.supervisor.exits) if self.supervisor.exits.adopt() else None
        self.admin_token = ""
        self.created = False
        self._organization = ""
        self._up = False
        self._database_up = place.run / "database-up"
        self._prepared = place.run / "prepared"

    async def start(self) -> None:
        """Bring everything up; returns when all of it is ready, raises StartFailed when it cannot be."""
        for stale in (self._database_up, self._prepared, self.options.ready_file):
            if stale is not None:
                stale.unlink(missing_ok=True)
        await end_orphans(self.place.run, f"{self.place.root}/")
        await self._choose_ports()
        postgres = self.supervisor.keep(self.postgres.command())
        temporal = self.supervisor.keep(self._temporal_command())
        await self._or_failure(self._check_settings())
        if self._nursery is not None:
            self.supervisor.keep(self._nursery_command(self._nursery))
        else:
            self._keep_ours()  # they load while they wait
        preparing = asyncio.create_task(self._bootstrap())
        await self._or_failure(postgres.is_ready.wait())
        self._database_up.touch()
        await self._or_failure(preparing)
        await self._or_failure(temporal.is_ready.wait())
        self._prepared.touch()
        if self._nursery is not None:
            self._keep_ours()
        await self._or_failure(self.supervisor.ready())
        self._up = True
        self._publish()

    def _keep_ours(self) -> None:
        for index, port in enumerate(self._api_ports):
            self.supervisor.keep(self._api_command(index, port))
        for index in range(self.options.workers):
            self.supervisor.keep(self._worker_command(index))

    async def stop(self) -> None:
        """Stop all of it, the users of a thing before the thing."""
        self._up = False
        await self.supervisor.stop(STOP_RANKS)
        # Workspaces go with the stack; the next one starts those that ran.
        await asyncio.to_thread(inhabitants.end, inhabitants.ROOT, self._workspaces, WORKSPACE_PATIENCE)
        if self._nursery is not None:
            self._nursery.close()
        for file in (self.place.facts, self.options.ready_file):
            if file is not None:
                file.unlink(missing_ok=True)

    @property
    def api_urls(self) -> list[str]:
        host = f"[{self._reachable}]" if ":" in self._reachable else self._reachable
        return [f"http://{host}:{port}" for port in self._api_ports]

    @property
    def temporal_ui_url(self) -> str:
        return f"http://{embedded_temporal.HOST}:{self._temporal_ui_port}"

    def facts(self) -> dict[str, object]:
        """What a program needs to know to use this stack, or to break it."""
        return {
            "api_url": self.api_urls[0],
            "api_urls": self.api_urls,
            "admin_token": self.admin_token,
            "organization_id": self._organization,
            "temporal_address": self._temporal_address,
            "temporal_namespace": embedded_temporal.NAMESPACE,
            "temporal_ui_url": self.temporal_ui_url,
            "database_url": self.postgres.url,
            "metrics_urls": [
                *(f"{url}/metrics" for url in self.api_urls),
                *(f"http://{self._reachable}:{port}/metrics" for port in self._worker_ports),
            ],
            "pids": {
                "supervisor": os.getpid(),
                **{role: self.supervisor.pids(role) for role in ROLES},
            },
        }

    @property
    def _workspaces(self) -> str:
        return str(self.place.root / "workspaces")

    def _publish(self) -> None:
        if self._up:
            for file in (self.place.facts, self.options.ready_file):
                if file is not None:
                    write_facts(file, self.facts())

    async def _or_failure(self, awaited: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> None:
        """Await it, unless a process cannot be kept, or the start takes too long."""
        wanted = asyncio.ensure_future(awaited)
        failure = asyncio.create_task(self.supervisor.failure())
        try:
            done, _ = await asyncio.wait((wanted, failure), timeout=START_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise StartFailed(f"not ready after {START_PATIENCE:.0f} s; the logs are in {self.place.logs}")
            for task in done:
                task.result()
        finally:
            for task in (wanted, failure):
                task.cancel()
            await asyncio.gather(wanted, failure, return_exceptions=True)

    async def _choose_ports(self) -> None:
        options, local = self.options, embedded_temporal.HOST
        wishes = [
            ports.Wish("--temporal-port", local, options.temporal_port),
            ports.Wish("--temporal-ui-port", local, options.temporal_ui_port),
            ports.Wish("(metrics)", local, 0),
            *[ports.Wish("(metrics)", local, 0)] * options.workers,
        ]
        api_ports = [options.port + index if options.port else 0 for index in range(options.apis)]
        wishes += [ports.Wish("--port", options.host, port) for port in api_ports]
        try:
            temporal, ui, metrics, *others = await ports.choose(wishes)
        except ports.PortTaken as taken:
            raise StartFailed(str(taken)) from taken
        self._temporal_port, self._temporal_ui_port, self._metrics_port = temporal, ui, metrics
        self._worker_ports, self._api_ports = others[: options.workers], others[options.workers :]
        self._temporal_address = f"{local}:{temporal}"
        self._reachable = WILDCARDS.get(options.host, options.host)

    async def _check_settings(self) -> None:
        if not any(name.upper().startswith("TURNSTONE_") for name in os.environ):
            return
        # In a process of its own: what it imports would stay in the supervisor's memory for ever.
        log = self.place.run / "settings.log"
        log.unlink(missing_ok=True)
        check = "from models.settings import load_settings; load_settings()"
        code = await self.supervisor.run([sys.executable, "-c", check], env=self._env(), log=log)
        if code != 0:
            raise StartFailed(log.read_text().strip().replace("turnstone: ", ""), code)

    async def _bootstrap(self) -> None:
        log, answer = self.place.log("bootstrap"), self.place.run / "bootstrap.json"
        code = await self.supervisor.run(
            [
                *self._turnstone("bootstrap"),
                "--json",
                "--local-template",
                "--after",
                str(self._database_up),
                "--token-file",
                str(self.place.token_file),
            ],
            env=self._env(),
            log=log,
            stdout=answer,
        )
        if code != 0:
            raise StartFailed(f"the database could not be prepared (exit code {code}); the end of {log}:\n{tail(log)}")
        made = json.loads(answer.read_text())
        answer.unlink()
        self._organization, self.created = made["organization_id"], made["created"]
        self.admin_token = self.place.token_file.read_text().strip()

    def _temporal_command(self) -> Command:
        try:
            return embedded_temporal.command(
                self.place, port=self._temporal_port, ui_port=self._temporal_ui_port, metrics_port=self._metrics_port
            )
        except embedded_temporal.TemporalMissing as missing:
            raise StartFailed(str(missing)) from missing

    def _nursery_command(self, nursery: Nursery) -> Command:
        async def ready(_: int) -> bool:
            return True  # what waits for it are the births

        return Command(
            role="nursery",
            name="nursery",
            argv=[*self._turnstone("nursery"), "--channel", str(nursery.channel), "--place", f"{self.place.root}/"],
            env=self._env(),
            log=self.place.log("nursery"),
            pid_file=self.place.pid_file("nursery"),
            prepare=nursery.renew,
            pass_fds=(nursery.channel,),
            ready=ready,
        )

    def _api_command(self, index: int, port: int) -> Command:
        async def ready(_: int) -> bool:
            return await answers_ready(self._reachable, port)

        return self._own_command("api", index, {"port": port}, ready)

    def _worker_command(self, index: int) -> Command:
        said = self.place.ready_file(f"worker-{index}")

        async def ready(_: int) -> bool:
            return said.exists()

        return self._own_command("worker", index, {"metrics_port": self._worker_ports[index]}, ready)

    def _own_command(
        self, role: str, index: int, own: dict[str, int], ready: Callable[[int], Awaitable[bool]]
    ) -> Command:
        name = f"{role}-{index}"
        said = self.place.ready_file(name)

        async def forget() -> None:
            said.unlink(missing_ok=True)

        nursery = self._nursery
        bear = None if nursery is None else partial(nursery.bear, role, own=own, log=self.place.log(name), ready=said)
        return Command(
            role=role,
            name=name,
            bear=bear,
            argv=[
                *self._turnstone(role),
                *(["--processes", "1"] if role == "worker" else []),
                "--ready-path",
                str(said),
                "--after",
                str(self._prepared),
            ],
            env=self._env() | {f"TURNSTONE_{name.upper()}": str(value) for name, value in own.items()},
            log=self.place.log(name),
            pid_file=self.place.pid_file(name),
            prepare=forget,
            ready=ready,
            stop_signal=signal.SIGTERM,
            grace=STOP_PATIENCE,
        )

    def _turnstone(self, command: str) -> list[str]:
        return [sys.executable, "-m", "turnstone", command, "--parent", str(os.getpid())]

    def _env(self) -> dict[str, str]:
        own = {
            "TURNSTONE_DATABASE_URL": self.postgres.url,
            "TURNSTONE_TEMPORAL_ADDRESS": self._temporal_address,
            "TURNSTONE_TEMPORAL_NAMESPACE": embedded_temporal.NAMESPACE,
            "TURNSTONE_TEMPORAL_UI_URL": self.temporal_ui_url,
            "TURNSTONE_HOST": self.options.host,
            "TURNSTONE_PORT": str(self._api_ports[0]),
            "TURNSTONE_WORKSPACES_DIR": self._workspaces,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONUNBUFFERED": "1",
        }
        if not os.environ.get("TURNSTONE_ACCESS_URL"):
            own["TURNSTONE_ACCESS_URL"] = self.api_urls[0]
        if "TURNSTONE_MCP_ALLOWED_NETWORKS" not in os.environ:
            own["TURNSTONE_MCP_ALLOWED_NETWORKS"] = "127.0.0.0/8,::1"
        if not os.environ.get("TURNSTONE_SECRET_KEYS"):
            own["TURNSTONE_SECRET_KEYS"] = self.place.secret_key()
        return {**os.environ, **own}


async def answers_ready(host: str, port: int) -> bool:
    """Whether the API there answers 200 to GET /readyz."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET /readyz HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                await writer.drain()
                status = await reader.readline()
            finally:
                writer.close()
    except OSError:
        return False
    return status.split()[1:2] == [b"200"]
