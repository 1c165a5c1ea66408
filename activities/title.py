"""The title effect: ask the models that suit, one after the other, for a title or a label, and save what will do."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID

from activities import small_models
from activities.ask import OutOfBudget, Payer, ask
from activities.attempt import heartbeats
from activities.catalog import ReadyModel
from activities.patience import patiently
from activities.performs import performs
from activities.recorder import Subject
from activities.resources import Resources
from activities.small_models import Choice
from models.errors import Precondition, ProviderFailed
from models.parts import text
from models.rules import failures, summaries, titles
from models.rules.states import Status
from models.steps import Naming, Note, TitleOutcome, TitleReply, TitleRequest
from models.store import titles as store
from models.store.moves import StepRow
from models.store.session import Session
from models.store.titles import Talk
from workflows import effects

BUDGET = timedelta(seconds=30)  # for all models together
TITLE, LABEL = "title_generation", "quickgen"  # kinds of recorded calls
TITLE_TOKENS, LABEL_TOKENS = 256, 64

Read = Callable[[str], str | None]


class Search:
    """One question put to one model after the other until an answer will do, and what each call cost."""

    def __init__(self, resources: Resources, choice: Choice, subject: Subject, payer: Payer) -> None:
        self._resources = resources
        self._subject = subject
        self._payer = payer
        self._choice = choice
        self._deadline = asyncio.get_running_loop().time() + BUDGET.total_seconds()
        self.calls: list[StepRow] = []
        self.failure = Note.NO_MODEL

    async def find(self, instructions: str, question: str, max_tokens: int, read: Read) -> str | None:
        """The first answer that can be read; None when there is none, and `failure` says why."""
        messages = [{"role": "system", "content": instructions}, {"role": "user", "content": question}]
        for candidate in self._choice.models:
            left = self._deadline - asyncio.get_running_loop().time()
            model = await self._ready(candidate)
            if model is None or left <= 0:
                continue
            found = await self._ask(model, messages, max_tokens, timedelta(seconds=left), read)
            if found is not None:
                return found
        return None

    async def _ready(self, model_config_id: UUID) -> ReadyModel | None:
        try:
            model = await self._resources.catalog.resolve([model_config_id], self._subject.owner_id)
        except Precondition:  # no configured key opens the provider's secrets
            self.failure = Note.MISSING_KEY
            return None
        # In place of a model that is gone there is the default, as for a turn.
        instead = model is not None and model.model_config_id != model_config_id
        return None if instead and self._choice.is_hard else model

    async def _ask(
        self, model: ReadyModel, messages: Sequence[dict[str, str]], max_tokens: int, left: timedelta, read: Read
    ) -> str | None:
        began = asyncio.get_running_loop().time()
        try:
            answer = await ask(
                self._resources,
                small_models.thoughtless(model),
                messages,
                max_tokens=max_tokens,
                timeout=left,
                subject=self._subject,
                payer=self._payer,
            )
        except OutOfBudget:
            self.failure = Note.USAGE_LIMIT
            return None
        except ProviderFailed as failed:
            self.failure = Note.failed(failures.classify(failed.facts).kind.value)
            return None
        found = read(answer.text)
        self.failure = Note.NO_TITLE
        self.calls.append(
            StepRow(
                "assistant",
                [text(found or answer.text[: titles.MAX_LENGTH])],
                model_config_id=model.model_config_id,
                visibility="model",
                usage=asdict(answer.usage) if answer.usage else None,
                total_cost_micros=model.cost_micros(answer.usage),
                runtime_ms=round((asyncio.get_running_loop().time() - began) * 1000),
                reservation=answer.reservation,
            )
        )
        return found


class Titling:
    """Performs the effect `title`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.title)
    async def title(self, request: TitleRequest) -> TitleReply:
        async with heartbeats():
            match request.naming:
                case Naming.AUTOMATIC:
                    return await self._automatic(request)
                case Naming.LABEL:
                    return await self._label(request)
                case _:
                    return await self._asked_for(request)

    async def _automatic(self, request: TitleRequest) -> TitleReply:
        talk = await self._talk(request)
        if talk is None or talk.first is None or not titles.awaits_title(talk.chat["title"], talk.recent):
            return TitleReply(TitleOutcome.SKIPPED, note=Note.TITLED)
        search = Search(self._resources, await self._title_models(talk), subject(talk, TITLE), Payer(talk.chat))
        question = titles.question(titles.spoken(talk.first["content"]))
        found = await search.find(titles.INSTRUCTIONS, question, TITLE_TOKENS, titles.read)

        async def save(session: Session) -> TitleReply:
            saved = found is not None and await store.save_automatic(
                session, request.chat_id, found, instead_of=talk.chat["title"]
            )
            charged = await charge(session, talk, search)
            return _reply(saved, TitleOutcome.UNCHANGED, charged, search)

        return await patiently(self._resources.database, save)

    async def _asked_for(self, request: TitleRequest) -> TitleReply:
        """Whoever asked holds the title, and lets go of it if we do not."""
        held = datetime.fromisoformat(request.lock)
        talk = await self._talk(request)
        if talk is None or talk.first is None:
            return TitleReply(TitleOutcome.SKIPPED, note=Note.NOTHING_TO_GO_BY)
        recent = [(row["role"], titles.spoken(row["content"])) for row in talk.recent if row["role"] != "tool"]
        question = titles.question(
            titles.spoken(talk.first["content"]), recent, omitted=talk.turns - titles.RECENT_TURNS - 1
        )
        search = Search(self._resources, await self._title_models(talk), subject(talk, TITLE), Payer(talk.chat))
        found = await search.find(titles.INSTRUCTIONS, question, TITLE_TOKENS, titles.read)

        async def save(session: Session) -> TitleReply:
            charged = await charge(session, talk, search)
            if found is None:
                return TitleReply(TitleOutcome.FAILED, charged, note=search.failure)
            if request.naming is Naming.PROPOSE:
                return TitleReply(TitleOutcome.PROPOSED, charged)
            saved = await store.save_held(session, request.chat_id, found, held)
            return _reply(saved, TitleOutcome.LOST, charged, search)

        return await patiently(self._resources.database, save)

    async def _label(self, request: TitleRequest) -> TitleReply:
        talk = await self._talk(request)
        said = titles.spoken(talk.recent[-1]["content"]) if talk and talk.recent else ""
        if talk is None or not said or talk.recent[-1]["role"] != "assistant" or not _rests_unlabelled(talk):
            return TitleReply(TitleOutcome.SKIPPED, note=Note.UNLABELLED)
        search = Search(self._resources, await self._label_models(talk), subject(talk, LABEL), Payer(talk.chat))
        question = summaries.question(talk.chat["title"], said)
        found = await search.find(summaries.INSTRUCTIONS, question, LABEL_TOKENS, summaries.read)

        async def save(session: Session) -> TitleReply:
            saved = found is not None and await store.save_label(
                session,
                request.chat_id,
                found,
                instead_of=summaries.FINISHED,
                snapshot_version=talk.chat["snapshot_version"],
            )
            charged = await charge(session, talk, search)
            return _reply(saved, TitleOutcome.UNCHANGED, charged, search)

        return await patiently(self._resources.database, save)

    async def _title_models(self, talk: Talk) -> Choice:
        return await small_models.for_titles(self._resources.database, talk.chat["last_model_config_id"])

    async def _label_models(self, talk: Talk) -> Choice:
        resources = self._resources
        return await small_models.for_labels(resources.settings, resources.database, talk.chat["last_model_config_id"])

    async def _talk(self, request: TitleRequest) -> Talk | None:
        async with self._resources.database.read() as session:
            return await store.talk(session, request.chat_id)


def subject(talk: Talk, kind: str) -> Subject:
    """What a call is for, should the calls of the chat be recorded."""
    tip = talk.recent[-1]["id"] if talk.recent else None
    return Subject(kind, talk.chat["id"], talk.chat["owner_id"], tip)


async def charge(session: Session, talk: Talk, search: Search) -> int | None:
    """Charge the chat with the calls of a search; the id of the last one's row, which holds what it came to."""
    return await store.charge(session, talk.chat, *search.calls)


def _reply(saved: bool, otherwise: TitleOutcome, charged: int | None, search: Search) -> TitleReply:
    return TitleReply(TitleOutcome.SAVED if saved else otherwise, charged, note=Note.NONE if saved else search.failure)


def _rests_unlabelled(talk: Talk) -> bool:
    chat = talk.chat
    return chat["status"] == Status.WAITING and not chat["archived"] and chat["last_turn_summary"] == summaries.FINISHED
