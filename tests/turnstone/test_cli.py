"""The client commands against a real API process; the test plays the worker."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.turnstone.service import PATIENCE, Client, PlayedWorker, Service, clean_environment, losing_the_first_answer
from turnstone.cli.connection import Failed, find
from turnstone.client import AsyncTurnstone
from turnstone.client.errors import PreconditionFailed
from turnstone.data_dir import DataDir, write_facts, write_private

Run = Callable[..., Coroutine[Any, Any, Client]]


@pytest.fixture
def run(service: Service, tmp_path: Path) -> Run:
    async def start(*words: str, stdin: str | None = None, **env: str) -> Client:
        given = {"TURNSTONE_URL": service.url, "TURNSTONE_TOKEN": service.token} | env
        return await Client.run(*words, env=given, cwd=tmp_path, stdin=stdin)

    return start


async def test_the_answer_is_all_that_stdout_holds(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "hello", "there")
    chat_id = await worker.answer("Good ", "day")
    assert await client.end() == (0, "Good day\n", "")
    assert await worker.asked(chat_id) == ["hello there"]


async def test_a_newcomer_needs_neither_address_nor_token(
    service: Service, worker: PlayedWorker, tmp_path: Path
) -> None:
    place = DataDir(tmp_path / ".turnstone")
    place.open()
    write_private(place.token_file, service.token)
    write_facts(place.facts, {"api_url": service.url, "pids": {"supervisor": os.getpid()}})
    client = await Client.run("chat", "hello", env={}, cwd=tmp_path)
    await worker.answer("hi")
    assert await client.end() == (0, "hi\n", "")
    place.close()


async def test_text_that_is_piped_in_is_the_message(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", stdin="line one\nline two\n")
    chat_id = await worker.answer("read")
    assert (await client.end())[0] == 0
    assert await worker.asked(chat_id) == ["line one\nline two"]


async def test_a_dash_stands_for_what_is_piped_in(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "Sum up:", "-", stdin="a long text")
    chat_id = await worker.answer("short")
    assert (await client.end())[0] == 0
    assert await worker.asked(chat_id) == ["Sum up: a long text"]


async def test_a_failed_turn_is_one_line_and_exit_code_1(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "hello")
    turn = await worker.take()
    await turn.fail(message="The model is overloaded.", detail="Try later.", kind="overloaded", retryable=True)
    assert await client.end() == (1, "", "The model is overloaded. Try later.\n")


async def test_a_turn_that_waits_for_its_client_exits_with_3(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "what is the weather?")
    await (await worker.take()).ask("look", {"at": "sky"})
    assert await client.end() == (3, "", "→ look(at: sky)\nwaiting for a client's result of look(at: sky), call c1\n")


async def test_ctrl_c_interrupts_the_turn_and_keeps_the_partial(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "tell me all")
    turn = await worker.take()
    await turn.say("It begins ")
    await client.until_out("It begins")
    client.press_ctrl_c()
    await turn.stop()
    code, out, _ = await client.end()
    assert (code, out) == (130, "It begins \n")


async def test_a_second_ctrl_c_leaves_at_once(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "tell me all")
    turn = await worker.take()
    await turn.say("It begins ")
    await client.until_out("It begins")
    client.press_ctrl_c()
    await worker.until(turn.fence.chat_id, "interrupting")
    client.press_ctrl_c()
    assert (await client.end())[0] == 130
    await turn.stop()


async def test_an_api_that_is_killed_mid_answer_costs_no_text(run: Run, worker: PlayedWorker, service: Service) -> None:
    client = await run("chat", "count")
    turn = await worker.take()
    for word in ("one ", "two "):
        await turn.say(word)
    await client.until_out("two")
    service.kill()
    await turn.say("three ")
    await asyncio.to_thread(service.start)
    await turn.say("four")
    await turn.end()
    code, out, err = await client.end()
    assert (code, out) == (0, "one two three four\n")
    assert err == "connection lost; coming back\n"


async def test_a_turn_that_another_attempt_takes_over_is_shown_once(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "count")
    lost = await worker.take()
    await lost.say("one two ")
    await client.until_out("two")
    lost.episode.close()
    chat_id = lost.fence.chat_id
    async with worker.database.begin() as session:
        from models.store import moves

        again = await moves.open_attempt(session, chat_id, max_attempts=25, max_steps=100)
    turn = type(lost)(worker, again.fence, worker._publisher.episode(chat_id, again.fence.history_version, 2))
    assert again.fence.generation_attempt == 2
    for word in ("one ", "two ", "three"):
        await turn.say(word)
    await turn.end()
    assert await client.end() == (0, "one two three\n", "")


async def test_json_is_each_event_as_one_line(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "--json", "hello")
    chat_id = await worker.answer("Good day")
    code, out, err = await client.end()
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert {event["chat_id"] for event in events} == {str(chat_id)}
    assert [event["message"]["role"] for event in events if event["type"] == "message"] == ["user", "assistant"]
    assert events[-1]["status"] == {"status": "waiting"}


async def test_a_chat_is_continued_and_waits_its_turn(run: Run, worker: PlayedWorker) -> None:
    first = await run("chat", "first")
    turn = await worker.take()
    chat_id = turn.fence.chat_id
    await turn.say("one")
    await first.until_out("one")
    second = await run("chat", "--chat", str(chat_id), "second")
    await second.until_err("1 waiting: second")
    await turn.end()
    await worker.answer("two")
    assert (await second.end())[:2] == (0, "one\ntwo\n")
    assert (await first.end())[0] == 0
    third = await run("chat", "--chat", str(chat_id), "third")
    await worker.answer("three")
    assert await third.end() == (0, "three\n", "")


async def test_a_model_is_chosen_by_its_name(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "--model", "DEMO", "hello")
    await worker.answer("hi")
    assert (await client.end())[0] == 0
    code, _, err = await (await run("chat", "--model", "nope", "hello")).end()
    assert (code, err) == (1, "turnstone: there is no model 'nope'; there is demo\n")


@pytest.mark.parametrize(
    ("words", "env", "line"),
    [
        (("chat", "--chat", "x", "hi"), {}, "'x' is not the id of a chat; `turnstone chats` lists them"),
        (
            ("chat", "--chat", "01a204a5-1320-76f5-8fe1-f9199ca9a0fd", "hi"),
            {},
            "Resource not found or you do not have access to this resource",
        ),
        (("chats",), {"TURNSTONE_URL": "http://127.0.0.1:9"}, "cannot reach Turnstone at http://127.0.0.1:9"),
        (("chats",), {"TURNSTONE_TOKEN": "wrong"}, "The token is not valid there: give --token or TURNSTONE_TOKEN."),
        (("chats",), {"TURNSTONE_URL": "nowhere"}, "'nowhere' is not a URL"),
    ],
)
async def test_what_goes_wrong_is_one_clear_line(run: Run, words: list[str], env: dict[str, str], line: str) -> None:
    code, out, err = await (await run(*words, **env)).end()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("turnstone: ")
    assert line in err


async def test_chats_are_listed_and_shown(run: Run, worker: PlayedWorker) -> None:
    client = await run("chat", "what is listed")
    chat_id = await worker.answer("this")
    assert (await client.end())[0] == 0
    _, out, _ = await (await run("chats")).end()
    first = out.splitlines()[0].split("\t")
    assert (first[0], first[1], first[3]) == (str(chat_id), "waiting", "what is listed")
    _, out, _ = await (await run("chats", "--json", "--limit", "1")).end()
    assert [chat["id"] for chat in json.loads(out)] == [str(chat_id)]
    _, out, _ = await (await run("chats", "show", str(chat_id))).end()
    assert out.splitlines()[0] == "what is listed · waiting"
    assert out.splitlines()[2:] == ["what is listed", "this"]


async def test_a_provider_and_its_model_are_added_and_listed(run: Run) -> None:
    added = await run(
        "providers", "add", "openai-compat", "--name", "mine", "--base-url", "http://127.0.0.1:1/v1", "--api-key", "-",
        stdin="sk-very-secret-key\n",
    )  # fmt: skip
    code, provider_id, err = await added.end()
    assert code == 0, err
    assert "turnstone models add MODEL --provider mine" in err
    _, out, _ = await (await run("providers", "list")).end()
    assert provider_id.strip() in out
    assert "secret" not in out
    for asked in ("test", "models"):
        code, out, err = await (await run("providers", asked, "mine")).end()
        assert (code, "Nothing listens at its base URL" in out + err) == (1, True)
    _, out, _ = await (await run("providers", "models", "demo")).end()
    assert out.split("\t")[0] == "demo"
    code, model_id, _ = await (await run("models", "add", "mine-1", "--options", '{"temperature": 0.5}')).end()
    assert code == 0
    _, out, _ = await (await run("models", "list", "--json")).end()
    [made] = [each for each in json.loads(out) if each["id"] == model_id.strip()]
    assert (made["model"], made["ai_provider_id"]) == ("mine-1", provider_id.strip())
    assert made["model_config"]["temperature"] == 0.5


async def test_a_webhook_is_added_tried_listed_and_deleted(run: Run) -> None:
    code, out, err = await (await run("webhooks", "add", "https://example.com/hook", "--event", "chat.created")).end()
    assert code == 0, err
    hook = out.strip()
    assert "whsec_" in err
    code, sent, _ = await (await run("webhooks", "test", hook)).end()
    assert code == 0
    _, out, _ = await (await run("webhooks", "log", hook)).end()
    assert out.split("\t")[:1] + out.split("\t")[2:4] == [sent.strip(), "webhook.test", "pending"]
    assert (await (await run("webhooks", "replay", hook, sent.strip())).end())[0] == 0
    _, out, _ = await (await run("webhooks", "list")).end()
    assert out.splitlines() == [f"{hook}\ton\tchat.created\thttps://example.com/hook\t"]
    assert (await (await run("webhooks", "delete", hook)).end())[0] == 0
    code, _, err = await (await run("webhooks", "add", "example.com")).end()
    assert (code, "url: must be an absolute http or https URL" in err) == (1, True)


async def test_a_budget_is_set_seen_and_deleted(run: Run, service: Service) -> None:
    async with AsyncTurnstone(service.url, service.token) as client:
        [organization] = await client.organizations.list()
    subject = ("organization", organization.id)
    code, out, err = await (await run("budgets", "set", *subject, "12.5", "--period", "total", "--warn", "50")).end()
    assert code == 0, err
    row = f"organization\t{organization.name}\ttotal\t$12.50\t$0.00\t$0.00\t$12.50\n"
    assert out == row
    for words in (("budgets", "list"), ("budgets", "status"), ("budgets", "list", "--everywhere")):
        assert (await (await run(*words)).end())[1] == row
    async with AsyncTurnstone(service.url, service.token) as client:
        seen = await client.budgets.get(organization.id, *subject)
        changed = await client.budgets.set(organization.id, *subject, 13_000_000, period="total", seen=seen)
        with pytest.raises(PreconditionFailed):
            await client.budgets.delete(organization.id, *subject, seen=seen)
        assert await client.budgets.everywhere() == [changed] == await client.budgets.status()
    assert (await (await run("budgets", "delete", *subject)).end())[0] == 0
    assert (await (await run("budgets", "delete", *subject)).end())[0] == 1


async def test_a_send_whose_answer_is_lost_is_not_doubled(run: Run, worker: PlayedWorker, service: Service) -> None:
    async with losing_the_first_answer("POST /api/v2/chats ", service) as url:
        client = await run("chat", "only once please", TURNSTONE_URL=url)
        await worker.answer("once")
        assert (await client.end())[:2] == (0, "once\n")
    async with worker.database.read() as session:
        from models.store.database import fetch

        found = await fetch(session, "SELECT id FROM chats WHERE title = %(title)s", {"title": "only once please"})
    assert len(found) == 1


class Terminal:
    """A conversation on a terminal: what a person types and sees."""

    def __init__(self, service: Service, cwd: Path, *words: str) -> None:
        self._master, slave = pty.openpty()
        env = {"TURNSTONE_URL": service.url, "TURNSTONE_TOKEN": service.token, "TERM": "xterm", "NO_COLOR": "1"}
        command = [sys.executable, "-m", "turnstone", "chat", *words]
        self.process = subprocess.Popen(
            command, env=clean_environment() | env, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, process_group=0
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    async def until(self, text: str) -> None:
        """Wait until the screen has shown this since the last time we looked."""
        loop = asyncio.get_running_loop()
        got = asyncio.Event()
        loop.add_reader(self._master, got.set)
        try:
            async with asyncio.timeout(PATIENCE):
                while text not in self.seen:
                    await got.wait()
                    got.clear()
                    self.seen += os.read(self._master, 65536).decode()
        finally:
            loop.remove_reader(self._master)
        self.seen = self.seen.split(text, 1)[1]

    async def end(self) -> int:
        code = await asyncio.to_thread(self.process.wait, PATIENCE)
        os.close(self._master)
        return code


async def test_a_line_typed_into_a_turn_waits_in_the_queue(
    service: Service, worker: PlayedWorker, tmp_path: Path
) -> None:
    terminal = Terminal(service, tmp_path)
    await terminal.until("›")
    terminal.type("first\n")
    turn = await worker.take()
    await turn.say("Answer one")
    await terminal.until("Answer one")
    terminal.type("second\n")
    await terminal.until("1 waiting: second")
    await turn.end()
    await terminal.until("› second")
    await worker.answer("Answer two")
    await terminal.until("Answer two")
    await terminal.until("›")
    terminal.type("\x04")
    assert await terminal.end() == 0
    assert await worker.asked(turn.fence.chat_id) == ["first", "second"]


async def test_in_a_conversation_ctrl_c_stops_the_turn_and_then_leaves(
    service: Service, worker: PlayedWorker, tmp_path: Path
) -> None:
    terminal = Terminal(service, tmp_path)
    await terminal.until("›")
    terminal.type("go on\n")
    turn = await worker.take()
    await turn.say("On and")
    await terminal.until("On and")
    terminal.process.send_signal(2)
    await turn.stop()
    await terminal.until("›")
    terminal.process.send_signal(2)
    assert await terminal.end() == 130


def test_the_token_of_this_machine_is_sent_to_this_machine_only(tmp_path: Path) -> None:
    place = DataDir(tmp_path)
    place.root.mkdir(exist_ok=True)
    write_private(place.token_file, "ts_token_here")
    assert find("http://localhost:8080", None, tmp_path).token == "ts_token_here"
    assert find("https://turnstone.example.com", None, tmp_path).token is None
    assert find("https://turnstone.example.com", "given", tmp_path).token == "given"
    with pytest.raises(Failed):
        find("turnstone.example.com", None, tmp_path)


def test_the_client_imports_nothing_of_the_server() -> None:
    code = (
        "import sys, turnstone.__main__, turnstone.cli.conversation, turnstone.cli.tables;"
        "print(*{'litellm', 'temporalio', 'sqlalchemy', 'sqlmodel', 'fastapi', 'psycopg'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
