"""The laws of the registry: what is not needed is not loaded."""

import subprocess
import sys

from activities.providers.registry import Providers

DEMO = """
import asyncio, sys
import activities.serve
from activities.providers.provider import ModelRequest
from activities.providers.registry import Providers

async def main():
    providers = Providers()
    await providers.prepare(["demo"])
    request = ModelRequest("demo", "demo-fast", [{"role": "user", "content": "hello"}])
    chunks = [chunk async for chunk in providers.provider_for("demo").stream(request)]
    assert chunks
    await providers.close()

asyncio.run(main())
sys.exit("litellm was loaded" if "litellm" in sys.modules else 0)
"""


def test_a_worker_without_a_real_provider_does_not_load_litellm() -> None:
    done = subprocess.run([sys.executable, "-c", DEMO], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_what_was_prepared_is_ready_and_the_rest_is_not() -> None:
    providers = Providers()
    await providers.prepare(["openai-compat", "copilot"])
    assert providers.loaded("openai-compat") is not None
    assert providers.loaded("anthropic") is None
    await providers.prepare(["anthropic"])
    assert providers.loaded("anthropic") is providers.loaded("openai-compat")
    await providers.close()
