"""Random lives of a chat on Postgres against a small model of it: Hypothesis looks for the sequence that breaks one."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from models.errors import Conflict, FenceLost, IllegalMove, Invalid, QueueFull
from models.parts import text
from models.rules import history
from models.rules.states import State, classify
from models.steps import Then
from models.store import moves
from models.store.database import Database, Row, fetch
from tests.models.store.chats import ASK, CALL, born, snapshot
from tests.seeds import World, plant

LIMIT = 4
_LATE = "requires_action_deadline_at = now() - interval '1 s'"


class Life(RuleBasedStateMachine):
    """The model: the words in history and in the queue, the status that they imply, and whether it is archived."""

    url = ""

    @initialize()
    def birth(self) -> None:
        self.runner = asyncio.Runner()
        self.database = Database(self.url, pool_size=2)
        self.world: World = self._run(self._world())
        self.chat_id: UUID = self._run(born(self.database, self.world, "0"))
        self.number = 0
        self.status = "pending"
        self.archived = self.was_archived = False
        self.queue: list[str] = []
        self.said: list[str] = ["0"]
        self.fences: list[moves.Fence] = []
        self.version = 1

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self._run(self.database.close())
            self.runner.close()

    async def _world(self) -> World:
        async with self.database.begin() as session:
            await fetch(session, "TRUNCATE users, organizations, ai_providers, chat_model_configs CASCADE")
            return await plant(session)

    def _run(self, awaitable: Any) -> Any:
        return self.runner.run(awaitable)

    def _do(self, act: Any) -> Any:
        async def go() -> Any:
            async with self.database.begin() as session:
                return await act(session)

        return self._run(go())

    def _locked(self, act: Any) -> Any:
        async def go(session: Any) -> Any:
            return await act(session, await moves.lock(session, self.chat_id))

        return self._do(go)

    def _next(self) -> str:
        self.number += 1
        return str(self.number)

    @property
    def resting(self) -> bool:
        return self.status in ("waiting", "error")

    def _promote(self) -> None:
        if self.queue and not self.archived:
            self.said.append(self.queue.pop(0))
            self.status = "pending"
        else:
            self.status = "waiting"

    @precondition(lambda self: not self.archived)
    @rule(interrupt=st.booleans())
    def send(self, interrupt: bool) -> None:
        words = self._next()

        async def act(session: Any, locked: moves.Locked) -> moves.Moved:
            return await moves.send(
                session,
                locked,
                content=[text(words)],
                sender_id=self.world.owner_id,
                model_config_id=None,
                interrupt=interrupt,
                queue_limit=LIMIT,
            )

        if len(self.queue) >= LIMIT and (self.queue or not self.resting):
            with pytest.raises(QueueFull):
                self._locked(act)
            return
        self._locked(act)
        if not self.resting:
            self.queue.append(words)
            if interrupt:
                self.status = "pending" if self.status == "requires_action" else "interrupting"
        elif self.queue:
            self.said.append(self.queue.pop(0))
            self.queue.append(words)
            self.status = "pending"
        else:
            self.said.append(words)
            self.status = "pending"

    @precondition(lambda self: not self.archived)
    @rule()
    def interrupt(self) -> None:
        self._locked(lambda session, locked: moves.interrupt(session, locked))
        if self.status == "requires_action":
            self._promote()
        elif not self.resting:
            self.status = "interrupting"

    @precondition(lambda self: self.status == "requires_action")
    @rule()
    def the_client_answers(self) -> None:
        def act(session: Any, locked: moves.Locked) -> Any:
            answered = [moves.ClientResult(call["tool_call_id"], 1) for call in locked.open_calls]
            return moves.complete_action(session, locked, answered)

        self._locked(act)
        self.status = "pending"

    @rule(results=st.lists(st.sampled_from(["ask_1", "call_1"]), max_size=2))
    def the_client_answers_wrongly_or_out_of_turn(self, results: list[str]) -> None:
        if self.status == "requires_action" and results == ["ask_1"]:
            return
        answered = [moves.ClientResult(call_id, 1) for call_id in results]
        with pytest.raises((Invalid, IllegalMove)):
            self._locked(lambda session, locked: moves.complete_action(session, locked, answered))

    @rule(late=st.booleans())
    def the_deadline_is_looked_at(self, late: bool) -> None:
        async def act(session: Any) -> moves.Moved:
            if late:
                await fetch(session, f"UPDATE chats SET {_LATE} WHERE status = 'requires_action'")
            return await moves.cancel_action(session, self.chat_id)

        moved = self._do(act)
        assert moved.nudge == (late and self.status == "requires_action")
        if moved.nudge:
            self.status = "pending"

    @rule()
    def archive(self) -> None:
        if self.archived:
            with pytest.raises(Invalid):
                self._do(lambda session: moves.archive(session, self.chat_id))
            return
        self._do(lambda session: moves.archive(session, self.chat_id))
        self.archived = True
        if not self.resting:
            self.status = "interrupting"

    @rule()
    def unarchive(self) -> None:
        if not self.archived:
            with pytest.raises(Invalid):
                self._do(lambda session: moves.unarchive(session, self.chat_id))
            return
        self._do(lambda session: moves.unarchive(session, self.chat_id))
        self.archived, self.was_archived = False, True

    @precondition(lambda self: self.archived)
    @rule(data=st.data())
    def an_archived_chat_takes_no_orders(self, data: st.DataObject) -> None:
        orders: list[Any] = [
            lambda session, locked: moves.interrupt(session, locked),
            lambda session, locked: moves.delete_queued(session, locked, 1),
            lambda session, locked: moves.request_compaction(session, locked),
            lambda session, locked: moves.edit(session, locked, 1, content=[text("no")], editor_id=self.world.owner_id),
        ]
        with pytest.raises(IllegalMove):
            self._locked(data.draw(st.sampled_from(orders)))

    @precondition(lambda self: self.resting and not self.archived)
    @rule()
    def request_compaction(self) -> None:
        async def act(session: Any) -> moves.Moved:
            return await moves.request_compaction(session, await moves.lock(session, self.chat_id, prompt=True))

        _, messages, _ = self._run(snapshot(self.database, self.chat_id))
        if all(row["role"] != "assistant" for row in messages):
            with pytest.raises(Conflict):
                self._do(act)
            return
        self._do(act)
        self.status = "pending"

    @precondition(lambda self: self.queue and not self.archived)
    @rule(data=st.data())
    def delete_queued(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.queue) - 1))
        self._locked(lambda session, locked: moves.delete_queued(session, locked, locked.queue[index]["id"]))
        del self.queue[index]

    @precondition(lambda self: self.queue and not self.archived)
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.queue) - 1))
        self._locked(lambda session, locked: moves.promote_queued(session, locked, locked.queue[index]["id"]))
        head = self.queue.pop(index)
        if self.resting or self.status == "requires_action":
            self.said.append(head)
            self.status = "pending"
        else:
            self.queue.insert(0, head)
            self.status = "interrupting"

    @precondition(lambda self: not self.archived)
    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        words = self._next()
        _, messages, _ = self._run(snapshot(self.database, self.chat_id))
        asked = [row["id"] for row in messages if row["role"] == "user"]
        chosen = data.draw(st.sampled_from(asked))
        kept = [row for row in messages if row["id"] < chosen]
        self._locked(
            lambda session, locked: moves.edit(
                session, locked, chosen, content=[text(words)], editor_id=self.world.owner_id
            )
        )
        self.said = [*_words(kept), words]
        self.queue, self.status = [], "pending"

    @rule()
    def open_attempt(self) -> None:
        found = self._do(lambda session: moves.open_attempt(session, self.chat_id, max_attempts=1000, max_steps=1200))
        if self.status in ("pending", "running"):
            assert found.then in (Then.GENERATE, Then.USE_TOOLS, Then.COMPACT)
            assert found.reply is None
            self.fences.append(found.fence)
            self.status = "running"
        else:
            assert found.then is (Then.INTERRUPT if self.status == "interrupting" else Then.REST)
            assert found.reply is not None

    @precondition(lambda self: self.fences)
    @rule(data=st.data(), kind=st.sampled_from(["answer", "calls", "asks", "both", "error", "retry", "empty"]))
    def work_of_an_attempt_arrives(self, data: st.DataObject, kind: str) -> None:
        """Of any attempt ever opened, current or long obsolete, as often as it likes."""
        fence = data.draw(st.sampled_from(self.fences))
        words = self._next()
        chat, messages, _ = self._run(snapshot(self.database, self.chat_id))
        opened = history.open_calls(messages)
        called = {"calls": [CALL], "asks": [ASK], "both": [CALL, ASK]}.get(kind, [])
        rows = [moves.StepRow("assistant", [text(words), *called])]
        if opened:
            rows = [moves.StepRow("tool", [{**CALL, "type": "tool-result", "result": 1}])]
        acts: dict[str, Any] = {
            "error": lambda session: moves.finish_error(session, fence, {"message": "no", "retryable": False}),
            "retry": lambda session: moves.record_retry(session, fence, {"attempt": fence.generation_attempt}, 1.0),
            "empty": lambda session: moves.finish_turn(session, fence),
        }
        act = acts.get(kind, lambda session: moves.commit_step(session, fence, rows))
        current = (chat["history_version"], chat["generation_attempt"]) == (
            fence.history_version,
            fence.generation_attempt,
        )
        if not (current and self.status == "running"):
            with pytest.raises(FenceLost):
                self._do(act)
            return
        if kind == "empty" and opened:
            return  # an effect that found open calls runs them; it never ends the turn
        self._do(act)
        match kind:
            case "error":
                self.status = "error"
            case "empty":
                self._promote()
            case "retry":
                pass
            case _ if opened:
                if len(opened) > 1:
                    self.status = "requires_action"
            case _:
                self.said.append(words)
                if kind == "answer":
                    self._promote()
                elif kind == "asks":
                    self.status = "requires_action"

    @precondition(lambda self: self.status == "interrupting")
    @rule(partial=st.booleans(), call=st.booleans())
    def finish_interruption(self, partial: bool, call: bool) -> None:
        words = self._next()
        chat, messages, _ = self._run(snapshot(self.database, self.chat_id))
        partial = partial and not history.open_calls(messages)
        rows = [moves.StepRow("assistant", [text(words), *([CALL] if call else [])])] if partial else []
        episode = (chat["history_version"], chat["generation_attempt"])
        self._do(lambda session: moves.finish_interruption(session, self.chat_id, rows, episode=episode))
        if partial:
            self.said.append(words)
        self._promote()

    @invariant()
    def it_is_where_the_model_says(self) -> None:
        if not hasattr(self, "runner"):
            return
        chat, messages, queue = self._run(snapshot(self.database, self.chat_id))
        assert chat["status"] == self.status
        assert _words(queue) == self.queue
        assert _words(messages) == self.said
        state = classify(chat["status"], chat["archived"], bool(queue))
        assert chat["archived"] == self.archived
        assert state is not State.INVALID
        assert state is not State.W1 or self.was_archived
        assert chat["snapshot_version"] >= self.version
        self.version = chat["snapshot_version"]
        assert max(chat["history_version"], chat["queue_version"], chat["retry_state_version"]) <= self.version
        assert (chat["last_error"] is not None) == (self.status == "error")
        assert (chat["requires_action_deadline_at"] is not None) == (self.status == "requires_action")
        _each_call_is_answered_once(messages, open_allowed=self.status != "waiting")
        if self.status == "requires_action":
            assert [call["tool_call_id"] for call in history.open_calls(messages)] == ["ask_1"]


def _words(rows: list[Row]) -> list[str]:
    return [row["content"][0]["text"] for row in rows if row["content"][0]["type"] == "text"]


def _each_call_is_answered_once(messages: list[Row], *, open_allowed: bool) -> None:
    waiting: list[str] = []
    for row in messages:
        if row["role"] == "tool":
            assert waiting
            assert row["content"][0]["tool_call_id"] == waiting.pop(0)
        else:
            assert not waiting
            waiting = (
                [call["tool_call_id"] for call in history.calls(row["content"])] if row["role"] == "assistant" else []
            )
    assert not waiting or open_allowed


def test_no_random_life_breaks_the_store(database_url: str) -> None:
    class Here(Life):
        url = database_url

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
