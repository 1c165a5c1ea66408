"""`client.audit`: who did what; and `verify`, which recomputes the log's chain so that nobody has to be believed."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from turnstone.client.asking import Service, fetched, query, refused
from turnstone.client.errors import ConnectionFailed, UnexpectedAnswer
from turnstone.client.methods import D, Resource, emits, loop, method
from turnstone.client.objects import NEVER, Object
from turnstone.client.steps import Answer, Emit, Lost, Open, Program, Read, Request, Shut

PATH = "/api/v2/audit"
PAGE = 200
GENESIS = "00" * 32


class AuditEntry(Object):
    """Who did what to what. `diff` holds the fields that changed, without secrets."""

    id: str = ""
    time: datetime = NEVER
    action: str = ""
    resource_type: str = ""
    resource_id: str = ""
    resource_target: str = ""
    organization_id: str | None = None
    status_code: int = 0
    request_id: str = ""
    ip: str = ""
    user_agent: str = ""
    description: str = ""


class PageOfEntries(Object):
    """Some of the log, newest first, and how many entries there are."""

    audit_logs: tuple[AuditEntry, ...] = ()
    count: int = 0


class Place(NamedTuple):
    """A place of the chain and the hash there: keep one elsewhere, and nothing before it can be changed unseen."""

    position: int
    hash: str

    @classmethod
    def read(cls, text: str) -> "Place":
        """`POSITION:HASH`; raises ValueError."""
        position, _, digest = text.strip().partition(":")
        if len(digest) != len(GENESIS) or not position.isdigit():
            raise ValueError(f"{text!r} is not POSITION:HASH")
        return cls(int(position), digest.lower())

    def __str__(self) -> str:
        return f"{self.position}:{self.hash}"


class Fault(NamedTuple):
    """Something that does not fit: what (`altered`, `deleted`, `inserted`, …), where, and which entry."""

    what: str
    position: int | None
    entry_id: str
    detail: str


class Verdict(NamedTuple):
    """What a verification came to. `head` is the newest place: an anchor, if there are no faults."""

    faults: tuple[Fault, ...]
    entries: int
    unsealed: int
    head: Place

    @property
    def holds(self) -> bool:
        """Nothing was found that does not fit."""
        return not self.faults


class Audit(Resource[D]):
    """`client.audit`: the audit log, for those who may read it."""

    @method
    def page(self, q: str = "", *, limit: int = PAGE, after_id: str | None = None) -> Program[PageOfEntries]:
        """A page, newest first; `q` as in `action:login username:ada date_from:2026-06-01`."""
        asked = Request("GET", PATH, query(q=q or None, limit=limit, after_id=after_id))
        return PageOfEntries.read((yield from fetched(self._service, asked)))

    @loop
    def list(self, q: str = "") -> emits[AuditEntry]:
        """All entries that are found, newest first."""

        def pages() -> Program[None]:
            after = None
            while True:
                asked = Request("GET", PATH, query(q=q or None, limit=PAGE, after_id=after))
                found = PageOfEntries.read((yield from fetched(self._service, asked))).audit_logs
                for each in found:
                    yield Emit(each)
                if len(found) < PAGE:
                    return
                after = found[-1].id

        return emits(pages())

    @loop
    def export(self, q: str = "") -> emits[Mapping[str, Any]]:
        """All entries that are found as they are hashed, oldest first, each with its place in the chain."""
        return emits(_lines(self._service, f"{PATH}/export", query(q=q or None)))

    @loop
    def chain(self) -> emits[Mapping[str, Any]]:
        """What `verify` reads: keep the lines, and it can be verified again without the service."""
        return emits(_lines(self._service, f"{PATH}/chain", ()))


def _lines(service: Service, path: str, asked: Sequence[tuple[str, str]]) -> Program[None]:
    """Each JSON line of an answer; raises ConnectionFailed when it breaks off: what is cut cannot be judged."""
    try:
        answer: Answer = yield Open(Request("GET", path, asked), service.timeout, service.timeout)
        if not answer.is_success:
            raise refused(answer)
        waiting = b""
        while piece := (yield Read()):
            *whole, waiting = (waiting + piece).split(b"\n")
            for line in whole:
                yield Emit(_object(line))
        yield Shut()
    except Lost as lost:
        raise service.unreachable(lost) from lost
    if waiting:
        raise ConnectionFailed(service.url, "the answer broke off")


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UnexpectedAnswer(f"a line should be a JSON object, and is {line[:80]!r}")
    return found


def follow(previous: str, entry: Mapping[str, Any]) -> str:
    """The hash of an entry that comes after this hash."""
    canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(bytes.fromhex(previous) + canonical.encode()).hexdigest()


class Verifier:
    """Judges the lines of a chain as they come, in memory that does not grow with it."""

    def __init__(self, anchors: Iterable[Place] = ()) -> None:
        self._anchors = {each.position: each.hash for each in anchors}
        self._faults: list[Fault] = []
        self._last = Place(0, GENESIS)
        self._time = ""
        self._cut = Place(0, GENESIS)
        self._head = Place(0, GENESIS)
        self._head_key = ("", "")
        self._cuts_told: set[Place] = set()
        self._entries = 0
        self._unsealed = 0
        self._has_ended = False

    def take(self, line: Mapping[str, Any]) -> None:
        """The next line."""
        match line.get("kind"):
            case "begin":
                self._cut, self._head = _place(line["cut"]), _place(line["head"])
                self._last = self._cut
                self._head_key = (_fixed(line["head_time"]), line["head_id"])
            case "seal":
                self._seal(line)
            case "entry":
                self._loose(line)
            case "end":
                self._has_ended = True
                # What was cut off while we read is no fault: it was there before.
                gone = _place(line["cut"]).position
                self._faults = [each for each in self._faults if (each.position or gone + 1) > gone]

    def verdict(self) -> Verdict:
        """What came of it; call it after the last line."""
        if not self._has_ended:
            self._fault("cut short", None, "", "the chain broke off: there may be more")
        elif self._last != self._head:
            what = f"the mark says {self._head}, the chain ends at {self._last}"
            self._fault("truncated", self._last.position, "", what)
        if self._cut.position and self._cut not in self._cuts_told:
            self._fault("cut off", self._cut.position, "", "no entry says that the log was deleted up to here")
        for position, digest in sorted(self._anchors.items()):
            if position == 0 or (position == self._cut.position and digest == self._cut.hash):
                continue
            if position <= self._cut.position:
                self._fault("unknown", position, "", "the anchor lies before what is still there")
            else:
                self._fault("rewritten", position, "", "the anchor's hash is not the one here: the log was rewritten")
        return Verdict(tuple(self._faults), self._entries, self._unsealed, self._last)

    def _seal(self, line: Mapping[str, Any]) -> None:
        position, digest, entry = line["position"], line["hash"], line["entry"]
        self._entries += 1
        if position != self._last.position + 1:
            gap = f"{self._last.position + 1} to {position - 1}"
            self._fault("deleted", self._last.position + 1, "", f"entries and seals {gap} are not there")
        elif entry is None:
            self._fault("deleted", position, line["entry_id"], "its seal is there, the entry is not")
        elif follow(self._last.hash, entry) != digest or entry["id"] != line["entry_id"]:
            self._fault(
                "altered", position, line["entry_id"], "it is not what was sealed here, or the seal before is not"
            )
        elif entry["time"] < self._time:
            self._fault("reordered", position, line["entry_id"], "it is older than the one before it")
        if entry is not None:
            self._time = entry["time"]
            self._note_cut(entry)
        if self._anchors.get(position) == digest:
            del self._anchors[position]
        self._last = Place(position, digest)

    def _loose(self, line: Mapping[str, Any]) -> None:
        entry = line["entry"]
        if (entry["time"], entry["id"]) <= self._head_key:
            self._fault(
                "inserted", None, entry["id"], f"it says {entry['time']}, yet was not there when that was sealed"
            )
        else:
            self._unsealed += 1
            self._note_cut(entry)

    def _note_cut(self, entry: Mapping[str, Any]) -> None:
        if entry["resource_type"] == "audit_log" and entry["action"] == "delete":
            told = entry["additional_fields"]
            self._cuts_told.add(Place(told.get("position", 0), told.get("hash", "")))

    def _fault(self, what: str, position: int | None, entry_id: str, detail: str) -> None:
        self._faults.append(Fault(what, position, entry_id, detail))


def verify(lines: Iterable[Mapping[str, Any]], anchors: Iterable[Place] = ()) -> Verdict:
    """Whether a chain holds, from its lines; with `anchors`, places kept from earlier, also that it is the same one."""
    verifier = Verifier(anchors)
    for line in lines:
        verifier.take(line)
    return verifier.verdict()


def read_lines(text: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """The lines of a chain that was kept in a file."""
    return (_object(line.encode()) for line in text if line.strip())


def _place(told: Mapping[str, Any]) -> Place:
    return Place(told["position"], told["hash"])


def _fixed(moment: str) -> str:
    """A moment as entries write it: in microseconds, so that texts compare as times do."""
    whole, _, rest = moment.removesuffix("Z").partition(".")
    return f"{whole}.{rest:0<6}Z"
