"""Recorded histories replay: a changed workflow must not break the runs that are open while it is deployed."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.workflows.changed import ChangedTurn
from tests.workflows.record import HISTORIES, turns
from workflows.sandbox import WORKFLOWS, runner

RECORDED = sorted(HISTORIES.glob("*.json"))


def history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_a_recorded_run_replays(path: Path) -> None:
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=runner(), build_id="test")
    await replayer.replay_workflow(history(path))


def test_every_shape_of_turn_is_recorded() -> None:
    assert {*turns(), "next_turn_second_run", "sweep", "title", "housekeeping", "delivery", "build"} == {
        path.stem for path in RECORDED
    }


async def test_a_careless_change_is_caught() -> None:
    replayer = Replayer(workflows=[ChangedTurn], workflow_runner=runner(), build_id="test")
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(history(HISTORIES / "plain.json"))
