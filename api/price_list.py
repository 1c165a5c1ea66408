"""The price table that litellm brings along, read as data: importing litellm would cost this process 2 s and 160 MB."""

import asyncio
import logging
from importlib.util import find_spec
from pathlib import Path

import orjson

from models.rules import suggestions
from models.rules.suggestions import Table

log = logging.getLogger(__name__)

PACKAGE, FILE = "litellm", "model_prices_and_context_window_backup.json"


class PriceList:
    """Read when it is first asked for, in a thread, and kept."""

    def __init__(self) -> None:
        self._reading: asyncio.Task[Table] | None = None

    async def table(self) -> Table:
        """Prices by vendor and name; empty where there is no such file."""
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(_read), name="price list")
        return await asyncio.shield(self._reading)


def _read() -> Table:
    try:
        package = find_spec(PACKAGE)
        if package is None or package.origin is None:
            return {}
        return suggestions.table(orjson.loads((Path(package.origin).parent / FILE).read_bytes()))
    except (OSError, orjson.JSONDecodeError):
        log.warning("the price table cannot be read: no prices are suggested", exc_info=True)
        return {}
