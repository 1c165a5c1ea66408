"""The laws of limited turns: never too many, no free slot left, and nobody overtaken for long."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules import capacity
from models.rules.capacity import Limits, Waiter

OWNERS = [UUID(int=number) for number in range(1, 5)]
START = datetime(2026, 1, 1, tzinfo=UTC)


class Deployment:
    """An organization whose members send and whose turns end, by a clock that ticks with each event."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now = 0
        self.waiting: dict[UUID, tuple[UUID, int]] = {}
        self.running: dict[UUID, UUID] = {}
        self.served: dict[UUID, int] = {}
        self.overtaken: dict[UUID, Counter[UUID]] = {}

    def tick(self) -> int:
        self.now += 1
        return self.now

    def arrive(self, owner: UUID) -> None:
        chat = UUID(int=1000 + self.tick())
        self.waiting[chat] = (owner, self.now)
        self.overtaken[chat] = Counter()

    def end(self, number: int) -> None:
        if self.running:
            del self.running[sorted(self.running)[number % len(self.running)]]

    def first(self) -> list[UUID]:
        return capacity.first(self.waiters(), Counter(self.running.values()), self.limits)

    def waiters(self) -> list[Waiter]:
        made = []
        for owner in OWNERS:
            own = sorted((since, chat) for chat, (who, since) in self.waiting.items() if who == owner)
            for place, (since, chat) in enumerate(own, start=1):
                turn = max(own[0][0], self.served.get(owner, 0))
                made.append(Waiter(chat, owner, place, _at(since), _at(turn)))
        return made

    def begin(self) -> None:
        """All that may begin do, one after another, as the gate has it."""
        while able := self.first():
            counts = Counter(self.running.values())
            chat = able[0]
            owner, _ = self.waiting.pop(chat)
            for each in self.waiters():
                below = not self.limits.per_user or counts[each.owner_id] < self.limits.per_user
                if each.place == 1 and below and each.owner_id != owner:
                    self.overtaken[each.chat_id][owner] += 1
            self.running[chat] = owner
            self.served[owner] = self.tick()


def _at(tick: int) -> datetime:
    return START + timedelta(seconds=tick)


EVENTS = st.lists(
    st.one_of(st.tuples(st.just("arrive"), st.integers(0, 3)), st.tuples(st.just("end"), st.integers(0, 9))),
    min_size=10,
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, per_user=st.integers(0, 3), per_organization=st.integers(1, 4))
def test_owners_take_turns_within_the_limits_and_no_slot_stays_free(
    events: list[tuple[str, int]], per_user: int, per_organization: int
) -> None:
    limits = Limits(per_user, per_organization)
    world = Deployment(limits)
    for kind, number in events:
        world.arrive(OWNERS[number]) if kind == "arrive" else world.end(number)
        world.begin()
        counts = Counter(world.running.values())
        assert len(world.running) <= per_organization
        assert not per_user or max(counts.values(), default=0) <= per_user
        if len(world.running) < per_organization:
            assert all(per_user and counts[owner] >= per_user for owner, _ in world.waiting.values())
        # While an owner's oldest chat could begin, each other owner begins once, or was waiting before it twice.
        for overtaking in world.overtaken.values():
            assert max(overtaking.values(), default=0) <= 1
    # Nobody starves: with turns that end, all that wait have begun after as many ends.
    for _ in range(len(world.waiting) + len(world.running)):
        world.end(0)
        world.begin()
    assert not world.waiting


def test_without_limits_everybody_may_begin() -> None:
    waiters = [Waiter(UUID(int=n), OWNERS[0], n, _at(n), _at(1)) for n in range(1, 4)]
    assert not Limits()
    assert capacity.first(waiters, {OWNERS[0]: 9}, Limits()) == [each.chat_id for each in waiters]
