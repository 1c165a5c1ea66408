"""The laws of the docker provisioner: one container an agent and build, found again, and nothing left behind."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.provisioners.docker import Docker
from activities.provisioners.provisioner import Agent, Building, ProvisionFailed
from models.settings import Settings
from tests.fakes.engine import Engine

with_agent = pytest.mark.skipif(importlib.util.find_spec("agent") is None, reason="the agent is not here")


class Said(list[str]):
    def __call__(self, output: str, *, stage: str = "", level: str = "info") -> None:
        self.append(output)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine(tmp_path / "engine.sock") as opened:
        yield opened


@pytest.fixture
def docker(engine: Engine) -> Docker:
    return Docker(Settings(docker_socket=str(engine.socket), access_url="http://api.test"))


def building(workspace: UUID | None = None, image: str = "there:${tag}", **place: Any) -> Building:
    return Building(
        build_id=uuid4(),
        workspace_id=workspace or uuid4(),
        workspace_name="place",
        owner_name="ada",
        spec={"docker": {"image": image, **place}},
        parameters={"tag": "latest"},
        state={},
        agents=(Agent(uuid4(), "main", "ts_agent_x", ""),),
    )


@with_agent
async def test_a_container_runs_the_agent_with_its_token_in_a_file_and_its_limits(
    docker: Docker, engine: Engine
) -> None:
    build = building(memory_bytes=1_000_000, cpus=1.5)
    state = await docker.start(build, Said())
    [made] = engine.containers.values()
    asked = made["asked"]
    assert (made["State"], asked["Image"]) == ("running", "there:latest")
    assert asked["HostConfig"]["Binds"] == [f"{state['volume']}:/home/workspace"]
    assert (asked["HostConfig"]["Memory"], asked["HostConfig"]["NanoCpus"]) == (1_000_000, 1_500_000_000)
    assert "http://api.test" in asked["Entrypoint"]
    assert "ts_agent_x" not in str(asked)
    files = engine.files[made["Id"]]
    assert files["opt/turnstone/token"] == b"ts_agent_x"
    assert {"opt/turnstone/lib/agent/__main__.py", "opt/turnstone/lib/websockets/__init__.py"} <= set(files)


@with_agent
async def test_who_goes_on_with_a_build_finds_what_runs_and_replaces_what_does_not(
    docker: Docker, engine: Engine
) -> None:
    build = building()
    await docker.start(build, Said())
    await docker.start(build, Said())
    [made] = engine.containers.values()
    assert made["Id"] == "c1"
    made["State"] = "created"  # whoever made it died before it was started
    await docker.start(build, Said())
    [again] = engine.containers.values()
    assert (again["Id"], again["State"]) == ("c2", "running")


@with_agent
async def test_a_newer_build_replaces_the_container_and_a_deletion_takes_the_volume(
    docker: Docker, engine: Engine
) -> None:
    older, other = building(), building()
    await docker.start(older, Said())
    await docker.start(other, Said())
    newer = building(older.workspace_id)
    await docker.start(newer, Said())
    assert sorted(engine.containers) == ["c2", "c3"]
    await docker.stop(newer, Said())
    assert sorted(engine.containers) == ["c2"]
    assert len(engine.volumes) == 2
    await docker.delete(newer, Said())
    await docker.delete(newer, Said())
    assert engine.volumes == {f"turnstone-{other.workspace_id}"}


@with_agent
async def test_an_image_that_is_missing_is_pulled_and_one_that_is_nowhere_is_a_failure(
    docker: Docker, engine: Engine
) -> None:
    said = Said()
    await docker.start(building(image="new"), said)
    assert said[:3] == ["Pulling new.", "Pulling", "Done"]
    assert "new:latest" in engine.images
    with pytest.raises(ProvisionFailed, match="nowhere:1 cannot be pulled: manifest unknown"):
        await docker.start(building(image="nowhere:1"), Said())


async def test_an_engine_that_refuses_or_is_away_fails_the_build_in_words(
    docker: Docker, engine: Engine, tmp_path: Path
) -> None:
    engine.broken = ("volumes/create",)
    with pytest.raises(ProvisionFailed, match="refused: it is broken"):
        await docker.start(building(), Said())
    engine.broken = ("containers/json",)
    with pytest.raises(ProvisionFailed, match="refused: it is broken"):
        await docker.stop(building(), Said())
    away = Docker(Settings(docker_socket=str(tmp_path / "nothing.sock")))
    with pytest.raises(ProvisionFailed) as failed:
        await away.start(building(), Said())
    assert failed.value.code == "DOCKER_AWAY"
