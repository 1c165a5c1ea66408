"""What a reading of a chat holds that is new to somebody: one rule for snapshot, resumption and live sync.

Whoever has seen a prefix and is told the rest has seen the whole: that is why a cut anywhere loses nothing.
"""

from dataclasses import dataclass, replace
from uuid import UUID

from models.events import Event, event, tool_calls, with_cursor
from models.parts import Part, from_rest, wire
from models.rules.cursors import NOWHERE, START, Cursor
from models.store import chats, messages, queue
from models.store.database import Row
from models.store.live import Reading


@dataclass(frozen=True, slots=True)
class Seen:
    """How far somebody has come. A cursor alone does not say which status it was; a feed knows."""

    cursor: Cursor = NOWHERE
    status: str = ""
    queued: bool = False  # for capacity
    error_of: int = -1  # history version whose error, and whose call for action, were told
    action_of: int = -1

    def after(self, seq: int) -> "Seen":
        at = self.cursor
        cursor = Cursor(at.snapshot, at.history, at.attempt, seq)
        return Seen(cursor, self.status, self.queued, self.error_of, self.action_of)


NOTHING = Seen()


class Told:
    """A reading, with each of its events encoded at most once for however many are told."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._messages: dict[int, Event] = {}
        self._parts: dict[int, Event] = {}

    def changes(self, since: Seen, after_id: int = 0) -> tuple[list[Event], Seen]:
        """The events for somebody who has seen `since`, in their fixed order, and what they have seen then."""
        reading, at = self.reading, self.reading.at
        queued = reading.chat["capacity_queued_at"] is not None
        seen = Seen(at, reading.chat["status"], queued, since.error_of, since.action_of)
        same = at.episode == since.cursor.episode
        if same:
            seen = seen.after(since.cursor.seq)
        durable: list[Event] = []
        if at.snapshot > since.cursor.snapshot:
            durable, seen = self._durable(since, seen, after_id, same)
        if since.cursor == NOWHERE and len(durable) > 1:
            durable[0] = with_cursor(durable[0], START.encode())
        if durable:
            durable[-1] = with_cursor(durable[-1], seen.cursor.encode())
        live, seen = self._live(seen)
        return [*durable, *live], seen

    def _durable(self, since: Seen, seen: Seen, after_id: int, same: bool) -> tuple[list[Event], Seen]:
        reading, chat, told = self.reading, self.reading.chat, []
        floor = since.cursor.snapshot
        reset = reading.gone is not None and floor >= 0 and reading.gone > floor
        fresh = reading.messages if reset else [row for row in reading.messages if row["revision"] > floor]
        if reset:
            told.append(event("history_reset", chat["id"]))
        for place, row in enumerate(reading.messages):
            if reset or (row["revision"] > floor and row["id"] > after_id):
                told.append(self._message(place))
                if floor >= 0 and not reset and row["role"] == "assistant" and row["total_cost_micros"] is not None:
                    told.append(self._usage(row))
        if chat["queue_version"] > floor and (reading.queue or floor >= 0):
            told.append(self._queue())
        if (chat["status"], seen.queued) != (since.status, since.queued):
            status = {"status": chat["status"]} | ({"queued_for_capacity": True} if seen.queued else {})
            told.append(event("status", chat["id"], {"status": status}))
        history = reading.at.history
        if chat["status"] == "error" and since.error_of != history:
            seen = replace(seen, error_of=history)
            told.append(event("error", chat["id"], {"error": chats.view(chat).get("last_error", {})}))
        if chat["status"] == "requires_action" and since.action_of != history:
            seen = replace(seen, action_of=history)
            calls = {"tool_calls": tool_calls(wire(reading.open_calls))}
            told.append(event("action_required", chat["id"], {"action_required": calls}))
        if chat["retry_state"] and chat["retry_state_version"] > floor:
            told.append(event("retry", chat["id"], {"retry": from_rest(chat["retry_state"])}))
        superseded = reset or any(row["role"] in ("assistant", "tool") for row in fresh)
        if since.cursor.seq and not same and not superseded:
            told.append(event("preview_reset", chat["id"]))
        return told, seen

    def _live(self, seen: Seen) -> tuple[list[Event], Seen]:
        """The parts that follow without a gap; what lies behind a gap is not shown (its message will be)."""
        told = []
        for seq, role, part in self.reading.parts:
            if seq <= seen.cursor.seq:
                continue
            if seq > seen.cursor.seq + 1:
                break
            seen = seen.after(seq)
            if seq not in self._parts:
                self._parts[seq] = part_event(self.reading.chat["id"], seen.cursor, role, part)
            told.append(self._parts[seq])
        return told, seen

    def _message(self, place: int) -> Event:
        if place not in self._messages:
            row = self.reading.messages[place]
            self._messages[place] = event("message", self.reading.chat["id"], {"message": messages.view(row)})
        return self._messages[place]

    def _usage(self, row: Row) -> Event:
        """What a step has cost whose message has just been told, and how far the chat and its nearest budget are."""
        chat = self.reading.chat
        spent = {"cost_micros": row["total_cost_micros"], "chat_cost_micros": chat["spent_micros"] or 0}
        tokens = {name: row[name] for name in messages.USAGE if row.get(name)}
        known = {"message_id": row["id"], **tokens, **spent}
        told = event("usage", chat["id"], {"usage": known})
        if not chat["budget"]:
            return told
        return event("usage", chat["id"], {"usage": {**known, "budget": chat["budget"]}})._replace(outside=told.data)

    def _queue(self) -> Event:
        waiting = [queue.view(row) for row in self.reading.queue]
        return event("queue_update", self.reading.chat["id"], {"queued_messages": waiting} if waiting else None)


def part_event(chat_id: UUID, cursor: Cursor, role: str, part: Part) -> Event:
    """The part at `cursor`; what `part` carries for ourselves is left out."""
    [shown] = wire([part])
    payload = {
        "role": role,
        "part": shown,
        "history_version": cursor.history,
        "generation_attempt": cursor.attempt,
        "seq": cursor.seq,
    }
    return event("message_part", chat_id, {"message_part": payload}, cursor=cursor.encode())
