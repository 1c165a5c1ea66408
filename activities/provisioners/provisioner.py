"""What a provisioner promises: to start, stop and delete a workspace, each as often as it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

State = dict[str, Any]


class ProvisionFailed(Exception):
    """The place cannot be made, or not be taken down; the message is for people, `code` for programs."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that a start build has to bring up."""

    id: UUID
    name: str
    token: str = field(repr=False)
    directory: str


@dataclass(frozen=True, slots=True)
class Building:
    """A build, as a provisioner needs it. `state` is what the provisioner said of the workspace the last time."""

    build_id: UUID
    workspace_id: UUID
    workspace_name: str
    owner_name: str
    spec: Mapping[str, Any]
    parameters: Mapping[str, str]
    state: Mapping[str, Any]
    agents: tuple[Agent, ...]


class Log(Protocol):
    """Where a provisioner says what it does."""

    def __call__(self, output: str, *, stage: str = "", level: str = "info") -> None: ...


class Provisioner(Protocol):
    """Each of these may be asked again for the same build, also by another process after this one has died.

    They raise ProvisionFailed. Being cancelled they leave what they have made: `stop` takes it down.
    """

    async def start(self, build: Building, log: Log) -> State:
        """The workspace's agents are on their way; what an earlier build had started is not any more."""
        ...

    async def stop(self, build: Building, log: Log) -> State:
        """Nothing of the workspace runs; its files stay."""
        ...

    async def delete(self, build: Building, log: Log) -> State:
        """Nothing of the workspace is left."""
        ...
