"""The examples of docs/client.md run as they stand."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.turnstone.service import PATIENCE, PlayedWorker, Service, clean_environment
from turnstone import documents
from turnstone.client import clients
from turnstone.client.catalog import Models, Organizations, Providers, Users
from turnstone.client.chats import Chats, Files, Queue
from turnstone.client.methods import loop, method
from turnstone.client.settings import Settings
from turnstone.client.usage import Costs, Insights, Limits
from turnstone.client.webhooks import Webhooks

TEXT = (documents.ROOT / "docs" / "client.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
SAID = (
    "Turn stones.\nuser: Why are turnstones called turnstones?\nassistant: Turn stones.\n",
    "Turn stones. 4 ()\n",
    "waiting Turn stones.\n",
    "401\n",
    "it is Answer in rhymes.\n",
    "404 Resource not found or you do not have access to this resource ",
)


async def play(worker: PlayedWorker) -> None:
    """Answer whatever is asked; a chat about the weather calls its client's tool first."""
    called = set()
    while True:
        turn = await worker.take()
        chat_id = turn.fence.chat_id
        if "weather" in (await worker.asked(chat_id))[0] and chat_id not in called:
            called.add(chat_id)
            await turn.ask("get_weather", {"city": "Köln"})
        else:
            await turn.say("Turn ")
            await turn.say("stones.")
            await turn.end()


@pytest.mark.parametrize(
    ("code", "said"),
    list(zip(EXAMPLES, SAID, strict=True)),
    ids=["stream", "await", "tools", "webhooks", "settings", "errors"],
)
async def test_the_examples_run_as_they_stand(
    code: str, said: str, service: Service, worker: PlayedWorker, tmp_path: Path
) -> None:
    playing = asyncio.create_task(play(worker))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        env={**clean_environment(), "TURNSTONE_URL": service.url, "TURNSTONE_TOKEN": service.token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    playing.cancel()
    assert (process.returncode, err.decode()) == (0, "")
    assert out.decode().startswith(said)


@pytest.mark.parametrize(
    "kind",
    [clients.Client, Chats, Queue, Files, Models, Providers, Users, Organizations, Webhooks, Settings, Costs, Limits,
     Insights],
)  # fmt: skip
def test_every_method_is_named_and_has_a_sentence(kind: type) -> None:
    for name, found in vars(kind).items():
        if isinstance(found, method | loop):
            assert re.search(rf"\b{name}\b", TEXT), name
            assert found.__doc__
            assert found.__doc__.split("\n")[0].rstrip().endswith((".", ";", ",", ":")), name
