"""Where a watcher stands in a chat's stream, as an opaque word that any API process can resume from."""

import re
from typing import NamedTuple

from models.errors import Invalid

_FORM = re.compile(r"([0-9]{1,19})\.([0-9]{1,19})\.([0-9]{1,10})\.([0-9]{1,10})", re.ASCII)


class Cursor(NamedTuple):
    """Everything durable up to `snapshot`, and the parts of one episode (`history`, `attempt`) up to `seq`."""

    snapshot: int
    history: int
    attempt: int
    seq: int

    @property
    def episode(self) -> tuple[int, int]:
        return self.history, self.attempt

    def encode(self) -> str:
        return f"{self.snapshot}.{self.history}.{self.attempt}.{self.seq}"


NOWHERE = Cursor(-1, -1, -1, 0)
"""The cursor of somebody who has seen nothing, and so has nothing to take back."""

START = Cursor(0, 0, 0, 0)
"""The cursor of somebody who was cut in the middle of a snapshot: everything again, and what was taken away since."""


def parse(text: str) -> Cursor:
    """The cursor that `encode` wrote; raises Invalid for anything else."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise Invalid("Invalid cursor parameter.")
    return Cursor(*(int(number) for number in found.groups()))
