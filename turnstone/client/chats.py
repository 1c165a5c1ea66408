"""`client.chats`: everything one can do with a chat."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote, unquote

from turnstone.client import turns
from turnstone.client.asking import CHATS, Service, ask, fetched, given, pairs, path, query, under
from turnstone.client.copies import Copies, organization
from turnstone.client.events import RECONNECTED, StreamEvent, WatchEvent, read_event
from turnstone.client.following import Told, follow, listen
from turnstone.client.methods import D, Resource, emits, loop, method
from turnstone.client.objects import listed
from turnstone.client.parts import Content, JsonObject, written
from turnstone.client.steps import Emit, Program, Request
from turnstone.client.turns import Results, Tools
from turnstone.client.types import (
    RESTING,
    Chat,
    ChatCost,
    DebugRun,
    DownloadedFile,
    EditedMessage,
    Explanation,
    Message,
    PageOfMessages,
    Prompt,
    Prompts,
    ProposedTitle,
    QueuedMessage,
    SentMessage,
    UploadedFile,
)

# In a class that has a method `list`, no annotation can say list[...].
ListOfChats = list[Chat]
ListOfPrompts = list[Prompt]
DebugRuns = list[DebugRun]
Queued = list[QueuedMessage]
PAGE = 200
MODEL_TIME = 60.0  # seconds that a model may take to find a title


class Queue(Resource[D]):
    """`client.chats.queue`: the messages that wait in a chat."""

    @method
    def list(self, chat_id: str) -> Program[Queued]:
        """What waits, in its order."""
        asked = Request("GET", path(chat_id, "messages"), query(limit=1))
        return [*PageOfMessages.read((yield from fetched(self._service, asked))).queued_messages]

    @method
    def delete(self, chat_id: str, queued_message_id: int) -> Program[None]:
        """Take a message out of the queue; one that is not there is no error."""
        yield from ask(self._service, Request("DELETE", path(chat_id, "queue", queued_message_id)))

    @method
    def promote(self, chat_id: str, queued_message_id: int) -> Program[None]:
        """Run a message next, and stop the running turn for it."""
        yield from ask(self._service, Request("POST", path(chat_id, "queue", queued_message_id, "promote")))


class Files(Resource[D]):
    """`client.chats.files`: what messages may show."""

    @method
    def upload(
        self,
        data: bytes,
        *,
        name: str,
        media_type: str = "application/octet-stream",
        organization_id: str | None = None,
    ) -> Program[str]:
        """The id of a new file, for `file(...)` in a message."""
        where = organization_id or (yield from organization(self._service))
        headers = {
            "Content-Type": media_type,
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        }
        request = Request("POST", path("files"), query(organization=where), content=data, headers=headers)
        return UploadedFile.read((yield from fetched(self._service, request))).id

    @method
    def download(self, file_id: str) -> Program[DownloadedFile]:
        """A file with its content."""
        answer = yield from ask(self._service, Request("GET", path("files", file_id)))
        name = _file_name(answer.headers.get("content-disposition", ""))
        return DownloadedFile(name, answer.headers.get("content-type", ""), answer.content)


class Chats(Copies[D]):
    """`client.chats`."""

    def __init__(self, service: Service, driver: D) -> None:
        super().__init__(service, driver)
        self.queue = Queue(service, driver)
        self.files = Files(service, driver)

    @method
    def create(
        self,
        content: Content,
        *,
        organization_id: str | None = None,
        model_config_id: str | None = None,
        system_prompt: str | None = None,
        labels: Mapping[str, str] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        plan_mode: str | None = None,
        mcp_server_ids: Sequence[str] | None = None,
        workspace_id: str | None = None,
        client_type: Literal["ui", "api"] | None = None,
        idempotency_key: str | None = None,
    ) -> Program[Chat]:
        """Begin a chat with its first message, in one's first organization unless another is named.

        `tools` are {name, description, input_schema}: tools that the caller runs; see `run_tools`. Whoever gives an
        `idempotency_key` may do the same again under it, in another process too: it is done once.
        """
        body = given(
            organization_id=organization_id or (yield from organization(self._service)),
            content=written(content),
            model_config_id=model_config_id,
            system_prompt=system_prompt,
            labels=None if labels is None else dict(labels),
            unsafe_dynamic_tools=None if tools is None else [dict(each) for each in tools],
            plan_mode=plan_mode,
            mcp_server_ids=None if mcp_server_ids is None else list(mcp_server_ids),
            workspace_id=workspace_id,
            client_type=client_type,
        )
        request = Request("POST", CHATS, json=body, headers=under(idempotency_key))
        return Chat.read((yield from fetched(self._service, request)))

    @method
    def list(
        self,
        *,
        q: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        after_id: str | None = None,
    ) -> Program[ListOfChats]:
        """A page of one's chats, pinned ones first, then the newest; `all` goes through all pages."""
        asked = query(q=q, label=pairs(labels), limit=limit, offset=offset, after_id=after_id)
        return listed(Chat, (yield from fetched(self._service, Request("GET", CHATS, asked))))

    @loop
    def all(self, *, q: str | None = None, labels: Mapping[str, str] | None = None) -> emits[Chat]:
        """Every chat that `list` would show, page after page."""

        def pages() -> Program[None]:
            after_id: str | None = None
            while True:
                asked = query(q=q, label=pairs(labels), limit=PAGE, after_id=after_id)
                found = listed(Chat, (yield from fetched(self._service, Request("GET", CHATS, asked))))
                for chat in found:
                    yield Emit(chat)
                if len(found) < PAGE:
                    return
                after_id = found[-1].id

        return emits(pages())

    @method
    def get(self, chat_id: str) -> Program[Chat]:
        """A chat as it stands."""
        return turns.get(self._service, chat_id)

    @method
    def update(
        self,
        chat_id: str,
        *,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        pin_order: int | None = None,
        plan_mode: str | None = None,
        workspace_id: str | None = None,
    ) -> Program[None]:
        """Change what is given; `labels` replaces all of them, `pin_order=0` unpins."""
        body = given(
            title=title,
            labels=None if labels is None else dict(labels),
            pin_order=pin_order,
            plan_mode=plan_mode,
            workspace_id=workspace_id,
        )
        return _patch(self._service, chat_id, body)

    @method
    def archive(self, chat_id: str) -> Program[None]:
        """Stop the chat and put it away, with the chats below it."""
        return _patch(self._service, chat_id, {"archived": True})

    @method
    def unarchive(self, chat_id: str) -> Program[None]:
        """Bring the chat back."""
        return _patch(self._service, chat_id, {"archived": False})

    @method
    def send(
        self,
        chat_id: str,
        content: Content,
        *,
        busy_behavior: Literal["queue", "interrupt"] | None = None,
        model_config_id: str | None = None,
        plan_mode: str | None = None,
        mcp_server_ids: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Program[SentMessage]:
        """Say something; while the chat is busy it waits in the queue, or also stops the turn (`interrupt`)."""
        body = given(
            content=written(content),
            busy_behavior=busy_behavior,
            model_config_id=model_config_id,
            plan_mode=plan_mode,
            mcp_server_ids=None if mcp_server_ids is None else list(mcp_server_ids),
        )
        request = Request("POST", path(chat_id, "messages"), json=body, headers=under(idempotency_key))
        return SentMessage.read((yield from fetched(self._service, request)))

    @method
    def edit(
        self, chat_id: str, message_id: int, content: Content, *, model_config_id: str | None = None
    ) -> Program[Message]:
        """Replace a user message and everything after it; the new message."""
        body = given(content=written(content), model_config_id=model_config_id)
        request = Request("PATCH", path(chat_id, "messages", message_id), json=body)
        return EditedMessage.read((yield from fetched(self._service, request))).message

    @loop
    def messages(
        self, chat_id: str, *, after_id: int = 0, newest_first: bool = False, limit: int = PAGE
    ) -> emits[Message]:
        """Every message, oldest first unless said otherwise; `after_id` leaves out older ones, `limit` is a page's."""

        def pages() -> Program[None]:
            floor, ceiling = after_id, None
            while True:
                # Only without `before_id` does `after_id` make a page ascend, and only without both is it descending.
                asked = query(
                    after_id=floor if not newest_first or (ceiling is not None and floor) else None,
                    before_id=ceiling,
                    limit=limit,
                )
                request = Request("GET", path(chat_id, "messages"), asked)
                page = PageOfMessages.read((yield from fetched(self._service, request)))
                for message in page.messages:
                    if newest_first and message.id <= after_id:
                        return
                    yield Emit(message)
                if not page.has_more or not page.messages:
                    return
                last = page.messages[-1].id
                floor, ceiling = (floor, last) if newest_first else (last, None)

        return emits(pages())

    @method
    def prompts(self, chat_id: str, *, limit: int | None = None) -> Program[ListOfPrompts]:
        """What was asked in a chat, newest first."""
        found = yield from fetched(self._service, Request("GET", path(chat_id, "prompts"), query(limit=limit)))
        return [*Prompts.read(found).prompts]

    @method
    def interrupt(self, chat_id: str) -> Program[Chat]:
        """Stop the running turn; what was said so far is kept."""
        return _post(self._service, path(chat_id, "interrupt"))

    @method
    def compact(self, chat_id: str) -> Program[Chat]:
        """Have the history summarised for the model."""
        return _post(self._service, path(chat_id, "compact"))

    @method
    def regenerate_title(self, chat_id: str) -> Program[Chat]:
        """Have a model name the chat."""
        return _post(self._service, path(chat_id, "title", "regenerate"), slow=MODEL_TIME)

    @method
    def propose_title(self, chat_id: str) -> Program[str]:
        """What a model would name the chat; nothing is stored."""
        request = Request("POST", path(chat_id, "title", "propose"), slow=MODEL_TIME)
        found = yield from fetched(self._service, request)
        return ProposedTitle.read(found).title

    @method
    def tool_results(self, chat_id: str, results: Results) -> Program[None]:
        """Answer all the calls that the chat waits for: outputs by call id, or {tool_call_id, output, is_error}s."""
        return turns.hand_in(self._service, chat_id, results)

    @method
    def cost(self, chat_id: str) -> Program[ChatCost]:
        """What the chat and those below it cost."""
        return ChatCost.read((yield from fetched(self._service, Request("GET", path(chat_id, "cost")))))

    @method
    def explain(self, chat_id: str) -> Program[Explanation]:
        """Why the chat is where it is."""
        return Explanation.read((yield from fetched(self._service, Request("GET", path(chat_id, "explain")))))

    @method
    def debug_runs(self, chat_id: str) -> Program[DebugRuns]:
        """The recorded uses of models for this chat, newest first."""
        found = yield from fetched(self._service, Request("GET", path(chat_id, "debug", "runs")))
        return listed(DebugRun, found)

    @method
    def debug_run(self, chat_id: str, run_id: str) -> Program[DebugRun]:
        """One of them, with its steps."""
        return DebugRun.read(
            (yield from fetched(self._service, Request("GET", path(chat_id, "debug", "runs", run_id))))
        )

    @loop
    def stream(
        self, chat_id: str, *, cursor: str | None = None, after_id: int | None = None, lost: Told | None = None
    ) -> emits[StreamEvent]:
        """Everything of a chat: a snapshot, or what came after `cursor`, then all that happens, without end.

        It comes back by itself when the connection breaks, without a gap or a repeat; `lost` is told each time.
        `after_id` leaves older messages out of the snapshot.
        """
        asked = query(after_id=after_id)
        return emits(follow(self._service, path(chat_id, "stream"), read_event, query=asked, cursor=cursor, lost=lost))

    @loop
    def watch(self) -> emits[WatchEvent]:
        """What happens to one's chats, from now on. After a break comes `reconnected`: list the chats again."""
        return emits(
            listen(self._service, path("watch"), WatchEvent.read, lambda: WatchEvent.read({"kind": RECONNECTED}))
        )

    @method
    def wait(
        self, chat_id: str, *, until: str | Collection[str] = RESTING, timeout: float | None = None
    ) -> Program[Chat]:
        """The chat once its status is `until`, or one of these; raises WaitTimedOut after `timeout` seconds.

        The time is looked at whenever the service says something, which it does every 15 seconds at the least.
        """
        return turns.wait(self._service, chat_id, until, timeout)

    @method
    def run_tools(self, chat_id: str, tools: Tools, *, timeout: float | None = None) -> Program[Chat]:
        """Answer the calls of one's own tools until the turn is over; the chat as it stands then.

        A call runs its function with the arguments by name. What it returns must be JSON; what it raises is told to
        the model as an error. The calls of one step run side by side on an AsyncTurnstone, else one after another.
        """
        return turns.run_tools(self._service, chat_id, tools, timeout)


def _file_name(disposition: str) -> str:
    """The name that a Content-Disposition gives; the extended form of it holds every character."""
    fields = {
        name.strip().lower(): value for name, _, value in (field.partition("=") for field in disposition.split(";"))
    }
    _, _, extended = fields.get("filename*", "").partition("''")
    return unquote(extended) or fields.get("filename", "").strip().strip('"')


def _post(service: Service, where: str, slow: float = 0.0) -> Program[Chat]:
    return Chat.read((yield from fetched(service, Request("POST", where, slow=slow))))


def _patch(service: Service, chat_id: str, body: JsonObject) -> Program[None]:
    yield from ask(service, Request("PATCH", path(chat_id), json=body))
