"""The docker provisioner: a container and a volume for each workspace, asked of an engine over its socket."""

import asyncio
import importlib.util
import io
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from activities.provisioners import launch
from activities.provisioners.provisioner import Agent, Building, Log, ProvisionFailed, State
from models.rules import templates
from models.settings import Settings

API = "http://docker/v1.41"
PATIENCE = 60.0  # seconds for an answer; an image may take longer, as long as something is heard
GRACE = 5  # seconds that a container has to stop by itself
PLACE = "/opt/turnstone"
HOME = "/home/workspace"
WORKSPACE, BUILD = "turnstone.workspace", "turnstone.build"
LIBRARIES = ("agent", "websockets")


class Docker:
    """Containers are found by their labels: whoever goes on with a build finds what was made before."""

    def __init__(self, settings: Settings) -> None:
        self._socket = settings.docker_socket
        self._url = settings.agents_url

    async def start(self, build: Building, log: Log) -> State:
        place = build.spec["docker"]
        image = templates.filled(place["image"], build.parameters)
        async with self._engine() as engine:
            running = [each for each in await _containers(engine, build) if _runs(each, build)]
            if len(running) < len(build.agents):
                await self._clear(engine, build, log)
                await _pull(engine, image, log)
                await _ask(engine, "POST", "/volumes/create", {"Name": _volume(build), "Labels": _labels(build)})
                for agent in build.agents:
                    await self._run(engine, build, agent, image, log)
        return {"image": image, "volume": _volume(build)}

    async def stop(self, build: Building, log: Log) -> State:
        async with self._engine() as engine:
            await self._clear(engine, build, log)
        return dict(build.state)

    async def delete(self, build: Building, log: Log) -> State:
        async with self._engine() as engine:
            await self._clear(engine, build, log)
            await _ask(engine, "DELETE", f"/volumes/{_volume(build)}", fine=(404,))
        log("The workspace's volume was deleted.", stage="files")
        return {}

    async def _run(self, engine: httpx.AsyncClient, build: Building, agent: Agent, image: str, log: Log) -> None:
        place = build.spec["docker"]
        directory = agent.directory if agent.directory not in ("", "~") else HOME
        arguments = launch.arguments(self._url, f"{PLACE}/token", directory, f"{PLACE}/state")
        host: dict[str, Any] = {
            "Binds": [f"{_volume(build)}:{HOME}"],
            "Init": True,
            "ExtraHosts": ["host.docker.internal:host-gateway"],
            "SecurityOpt": ["no-new-privileges"],
        }
        if "memory_bytes" in place:
            host["Memory"] = int(place["memory_bytes"])
        if "cpus" in place:
            host["NanoCpus"] = int(place["cpus"] * 1e9)
        if "network" in place:
            host["NetworkMode"] = place["network"]
        name = f"turnstone-{build.build_id}-{agent.name}"
        made = await _ask(
            engine,
            "POST",
            f"/containers/create?name={name}",
            {
                "Image": image,
                "Hostname": build.workspace_name,
                "Labels": _labels(build) | {BUILD: str(build.build_id)},
                "Env": [f"HOME={HOME}", f"PYTHONPATH={PLACE}/lib"],
                "WorkingDir": HOME,
                "Entrypoint": [*launch.kept(["python3", "-m", "agent", *arguments])],
                "HostConfig": host,
            },
        )
        content = await asyncio.to_thread(_archive, agent.token)
        await _ask(engine, "PUT", f"/containers/{made['Id']}/archive?path=/", content)
        await _ask(engine, "POST", f"/containers/{made['Id']}/start", fine=(304,))
        log(f"Agent {agent.name} was started in container {name}.", stage="agents")

    async def _clear(self, engine: httpx.AsyncClient, build: Building, log: Log) -> None:
        """No container of the workspace is left."""
        for each in await _containers(engine, build):
            await _ask(engine, "POST", f"/containers/{each['Id']}/stop?t={GRACE}", fine=(304, 404))
            await _ask(engine, "DELETE", f"/containers/{each['Id']}?force=1", fine=(404, 409))
            log(f"Container {each['Names'][0].lstrip('/')} was removed.", stage="agents")

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[httpx.AsyncClient]:
        """The engine; raises ProvisionFailed when it is not there, or stops answering."""
        transport = httpx.AsyncHTTPTransport(uds=self._socket)
        try:
            async with httpx.AsyncClient(transport=transport, timeout=PATIENCE, trust_env=False) as engine:
                yield engine
        except httpx.HTTPError as failed:
            reason = str(failed) or type(failed).__name__
            raise ProvisionFailed(f"The Docker engine cannot be used: {reason}", "DOCKER_AWAY") from failed


async def _ask(
    engine: httpx.AsyncClient, method: str, path: str, body: Any = None, *, fine: tuple[int, ...] = ()
) -> Any:
    """The engine's answer; raises ProvisionFailed with its own words."""
    content, kind = body, "application/x-tar"
    if not isinstance(body, bytes):
        content, kind = (None if body is None else orjson.dumps(body)), "application/json"
    response = await engine.request(method, f"{API}{path}", content=content, headers={"Content-Type": kind})
    if response.status_code >= 300 and response.status_code not in fine:
        raise ProvisionFailed(f"The Docker engine refused: {_words(response.content)}", "DOCKER")
    return orjson.loads(response.content) if response.content[:1] in (b"{", b"[") else None


async def _pull(engine: httpx.AsyncClient, image: str, log: Log) -> None:
    """The image is there; what the engine says of it is logged, line by line."""
    known = await engine.get(f"{API}/images/{image}/json")
    if known.status_code == 200:
        return
    log(f"Pulling {image}.", stage="image")
    named = image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
    async with engine.stream("POST", f"{API}/images/create", params={"fromImage": named}) as pulling:
        if pulling.status_code >= 300:
            raise ProvisionFailed(f"{image} cannot be pulled: {_words(await pulling.aread())}", "IMAGE")
        async for line in pulling.aiter_lines():
            said = orjson.loads(line) if line.startswith("{") else {}
            if "error" in said:
                raise ProvisionFailed(f"{image} cannot be pulled: {said['error']}", "IMAGE")
            if "status" in said and "progressDetail" not in said:
                log(str(said["status"]), stage="image")


async def _containers(engine: httpx.AsyncClient, build: Building) -> list[dict[str, Any]]:
    filters = orjson.dumps({"label": [f"{WORKSPACE}={build.workspace_id}"]}).decode()
    response = await engine.get(f"{API}/containers/json", params={"all": "1", "filters": filters})
    if response.status_code != 200:
        raise ProvisionFailed(f"The Docker engine refused: {_words(response.content)}", "DOCKER")
    found: list[dict[str, Any]] = orjson.loads(response.content)
    return found


def _runs(container: dict[str, Any], build: Building) -> bool:
    return bool(container["Labels"].get(BUILD) == str(build.build_id) and container["State"] == "running")


def _labels(build: Building) -> dict[str, str]:
    return {WORKSPACE: str(build.workspace_id)}


def _volume(build: Building) -> str:
    return f"turnstone-{build.workspace_id}"


def _words(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body.decode("utf-8", "replace")[:500]


def _archive(token: str) -> bytes:
    """The agent's code, what it needs, and its token, as the container's file system is to hold them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for library in LIBRARIES:
            found = importlib.util.find_spec(library)
            if found is None or found.origin is None:
                raise ProvisionFailed(f"There is no agent to start: {library} is not installed.", "NO_AGENT")
            for file in sorted(Path(found.origin).parent.rglob("*.py")):
                name = file.relative_to(Path(found.origin).parents[1])
                _add(tar, f"{PLACE}/lib/{name}", file.read_bytes(), 0o644)
        _add(tar, f"{PLACE}/token", token.encode(), 0o600)
    return packed.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
