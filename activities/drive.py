"""What a run asks for when it says `generate`: a model step, and those after it that need nobody in between."""

import asyncio
from uuid import UUID

from activities.ahead import HeadStart
from activities.attempt import Attempt, for_the_chats_sake, heartbeats
from activities.control import Watch
from activities.generate import ModelStep
from activities.interrupt import next_of
from activities.performs import performs
from activities.resources import Resources
from models.rules.states import Status
from models.steps import Note, Outcome, StepReply, StepRequest, Then
from models.store import moves, standing
from models.store.standing import Standing
from workflows import effects

LAPS = 40  # steps in one activity: then the run hears of them, and may go on in another worker
LOOK = 0.5  # seconds between two looks at whether a worker that is ahead still lives
SETTLING = 2.0  # seconds that it has to commit what it had streamed when it is told to stop


class Generation:
    """Performs the effect `generate`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.generate)
    async def generate(self, request: StepRequest) -> StepReply:
        ahead, chat_id = self._resources.ahead, request.chat_id
        async with heartbeats():
            if (head := ahead.adopt(chat_id)) is not None:
                try:
                    return await _adopted(head)
                finally:
                    ahead.left(chat_id)
            with ahead.occupied(chat_id):
                while True:
                    reply, holder = await self._steps(chat_id)
                    if holder is None:
                        return reply
                    passed = await self._passed(chat_id, holder)
                    if passed is not None:
                        return passed

    async def begin(self, head: HeadStart) -> StepReply:
        """The same ahead of the run, for a history that nobody has attempted yet."""
        reply, _ = await self._steps(head.chat_id, head)
        return reply

    async def _steps(self, chat_id: UUID, head: HeadStart | None = None) -> tuple[StepReply, UUID | None]:
        """Model steps, as long as each has answered its own calls; and who else is at it, if somebody is."""
        unattempted = head.history_version if head is not None else None
        for _ in range(LAPS):
            step = ModelStep(self._resources)
            attempt = Attempt(self._resources, chat_id, Then.GENERATE, step, head=head, unattempted=unattempted)
            if head is not None:
                head.doubt = attempt.doubt
            reply = await attempt.run()
            if attempt.held_by is not None or reply.outcome != Outcome.COMMITTED or reply.then is not Then.GENERATE:
                return reply, attempt.held_by
            unattempted = reply.snapshot_version
        return reply, None

    async def _passed(self, chat_id: UUID, holder: UUID) -> StepReply | None:
        """Wait until the attempt of a living worker is over, or the worker; None if the step is ours after all."""
        await self._resources.ahead.tell_waiting(chat_id)
        with self._resources.control.watching(chat_id) as watch:
            clock = asyncio.get_running_loop().time
            told: float | None = None
            while True:
                async with self._resources.database.read() as session:
                    chat = (await standing.of(session, [chat_id])).get(chat_id)
                if chat is None:
                    return StepReply(Then.REST, 0, note=Note.GONE)
                if chat.status == Status.INTERRUPTING:
                    told = told or clock()
                if (told is not None and clock() > told + SETTLING) or not moves.is_held(chat._asdict(), {holder}):
                    return _after(chat)
                if not await self._lives(holder, watch):
                    return None

    async def _lives(self, holder: UUID, watch: Watch) -> bool:
        """Return at the next news of the chat, or after a while; False once the holder is gone."""
        while holder in self._resources.ahead.living():
            try:
                async with asyncio.timeout(LOOK):
                    await watch.news.wait()
            except TimeoutError:
                continue
            except asyncio.CancelledError:
                if not for_the_chats_sake():
                    raise
                continue  # the holder has been told, too
            watch.news.clear()
            return True
        return False


async def _adopted(head: HeadStart) -> StepReply:
    """What comes of a head start, which is stopped with us."""
    assert head.task is not None
    while True:
        try:
            return await asyncio.shield(head.task)
        except asyncio.CancelledError:
            if head.task.done() or not for_the_chats_sake():
                head.task.cancel()
                await asyncio.wait({head.task})
                raise
        if head.doubt is not None:
            await head.doubt()


def _after(chat: Standing) -> StepReply | None:
    """What a run is told of a step that it only waited for; None: look again."""
    if chat.status == Status.INTERRUPTING:
        return StepReply(Then.INTERRUPT, chat.snapshot_version)
    if chat.status == Status.PENDING and chat.generation_attempt == 0:
        return StepReply(Then.NEXT_TURN, chat.snapshot_version, note=Note.OVER_NEXT)
    reply = next_of(chat)
    return None if reply.then is Then.GENERATE else reply
