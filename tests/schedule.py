"""Which tests share a worker of xdist, and which begin: a run is as long as what is begun last.

xdist's own mark for groups says nothing here: it writes into a private field that pytest 9 does not read.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# The ring that is killed on purpose is mostly waiting: these have one stack, its other modules another.
KILLS = ("tests/chaos/test_kills.py", "tests/chaos/test_summary_kills.py", "tests/chaos/test_tool_kills.py")
# What a module of these starts is for all its tests.
BY_MODULE = ("tests/turnstone/", "tests/contracts/")
# They begin, in this order. Next to each other is what needs a worker's Temporal server, which few workers then start.
FIRST = (
    "tests/chaos/",
    "tests/turnstone/test_dev.py",
    "tests/turnstone/test_c",
    "tests/contracts/test_planted_in_processes.py",
    "tests/contracts/test_schemathesis",
    "tests/activities/test_",
    "tests/workflows/",
    "tests/api/test_titles.py",
    "tests/api/test_nudges.py",
    "tests/models/store/test_random_lives.py",
    "tests/turnstone/",
    "tests/contracts/",
)


def scope_of(nodeid: str) -> str:
    """What a worker is given as a whole: most tests stand alone."""
    module = nodeid.partition("::")[0]
    if module.startswith("tests/chaos/"):
        return "kills" if module in KILLS else "races"
    return module if module.startswith(BY_MODULE) else nodeid


def rank_of(nodeid: str) -> int:
    """Its place in FIRST; what is not named there comes after all that is, as it was collected."""
    return next((place for place, begins in enumerate(FIRST) if nodeid.startswith(begins)), len(FIRST))


class LongestFirst(LoadScopeScheduling):
    """Give out scopes in the order of their tests."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # not by how many they are

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _reschedule(self, node: WorkerController) -> None:
        """Give one scope after another, until there is more than a worker holds back or no more at all.

        A worker runs its last test only when another follows or none ever will; xdist gives one scope here, so that
        the worker that stands in for a crashed one waits for ever.
        """
        while self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) <= 2:
            self._assign_work_unit(node)
        super()._reschedule(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Take a worker's tests back; what it crashed in has failed, and is not tried by the next one."""
        crashed = super().remove_node(node)
        if crashed is not None:
            self.workqueue[scope_of(crashed)][crashed] = True
        return crashed
