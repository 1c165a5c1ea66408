"""Do several things until the first of them is over."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def first(*ways: Coroutine[Any, Any, Any]) -> Any:
    """The result, or the error, of whichever ends first; the others are cancelled, and have ended."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return next(task for task in tasks if task in done).result()
