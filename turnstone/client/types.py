"""What the service has: chats, messages, people, models, costs. Ids are text; money is micro-dollars."""

import json
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from turnstone.client.objects import NEVER, Object
from turnstone.client.parts import Part, said

RESTING = frozenset({"waiting", "error", "requires_action"})
"""The statuses in which a chat does nothing until somebody says something, or answers its calls."""

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class ChatError(Object):
    """Why a turn ended without an answer, in words for people."""

    message: str = ""
    detail: str = ""
    kind: str = ""
    provider: str = ""
    retryable: bool = False
    status_code: int | None = None


class ChatFile(Object):
    """A file that belongs to a chat."""

    id: str = ""
    owner_id: str = ""
    organization_id: str = ""
    name: str = ""
    mime_type: str = ""
    created_at: datetime = NEVER


class DiffStatus(Object):
    """The pull request or branch that belongs to a chat; empty when there is none."""

    chat_id: str = ""
    url: str = ""
    pull_request_state: str = ""
    pull_request_title: str = ""
    pull_request_draft: bool = False
    changes_requested: bool = False
    additions: int = 0
    deletions: int = 0
    changed_files: int = 0
    pr_number: int | None = None
    base_branch: str = ""
    head_branch: str = ""


class Chat(Object):
    """A conversation: where it stands, and what it is called."""

    id: str = ""
    organization_id: str = ""
    owner_id: str = ""
    owner_username: str = ""
    owner_name: str = ""
    parent_chat_id: str | None = None
    mode: str | None = None
    root_chat_id: str = ""
    workspace_id: str | None = None
    build_id: str | None = None
    agent_id: str | None = None
    last_model_config_id: str = ""
    title: str = ""
    status: str = ""
    plan_mode: str = ""
    last_error: ChatError | None = None
    last_turn_summary: str | None = None
    diff_status: DiffStatus | None = None
    created_at: datetime = NEVER
    updated_at: datetime = NEVER
    archived: bool = False
    shared: bool = False
    pin_order: int = 0
    mcp_server_ids: tuple[str, ...] = ()
    labels: Mapping[str, str] = _NO_LABELS
    files: tuple[ChatFile, ...] = ()
    has_unread: bool = False
    warnings: tuple[str, ...] = ()
    client_type: str = ""
    children: tuple["Chat", ...] = ()

    @property
    def rests(self) -> bool:
        """Whether it does nothing until somebody does something."""
        return self.status in RESTING


class Usage(Object):
    """Token counts of a step; what is not known is None."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_read_tokens: int | None = None
    context_limit: int | None = None


class Message(Object):
    """A stored message; `role` is user, assistant, tool or system."""

    id: int = 0
    chat_id: str = ""
    created_by: str | None = None
    model_config_id: str | None = None
    created_at: datetime = NEVER
    role: str = ""
    content: tuple[Part, ...] = ()
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """What its text parts say."""
        return said(self.content)


class QueuedMessage(Object):
    """A message that waits until the running turn has ended."""

    id: int = 0
    chat_id: str = ""
    model_config_id: str | None = None
    content: tuple[Part, ...] = ()
    created_at: datetime = NEVER

    @property
    def text(self) -> str:
        """What its text parts say."""
        return said(self.content)


class PageOfMessages(Object):
    """Some messages, and all that wait where no cursor was given."""

    messages: tuple[Message, ...] = ()
    queued_messages: tuple[QueuedMessage, ...] = ()
    has_more: bool = False


class EditedMessage(Object):
    """The message that took the place of the edited one; its id is new."""

    message: Message = Message()
    warnings: tuple[str, ...] = ()


class SentMessage(Object):
    """What became of a message: stored (`message`) or waiting (`queued_message`)."""

    message: Message | None = None
    queued_message: QueuedMessage | None = None
    queued: bool = False
    warnings: tuple[str, ...] = ()


class Prompt(Object):
    """What a user message said."""

    id: int = 0
    text: str = ""


class Prompts(Object):
    """What was asked in a chat, newest first."""

    prompts: tuple[Prompt, ...] = ()


class ProposedTitle(Object):
    """A title that is not stored."""

    title: str = ""


class UploadedFile(Object):
    """A file that messages may name now."""

    id: str = ""


class ToolCall(Object):
    """A call that the client must answer; `args` is JSON as text."""

    tool_call_id: str = ""
    tool_name: str = ""
    args: str = ""

    @property
    def arguments(self) -> Any:
        """The arguments; raises ValueError if the model wrote no JSON."""
        return json.loads(self.args or "{}")


class ChatCost(Object):
    """What a whole family of chats cost."""

    root_chat_id: str = ""
    total_cost_micros: int = 0
    priced_message_count: int = 0
    unpriced_message_count: int = 0


class Explanation(Object):
    """Why a chat is where it is, and what it waits for."""

    chat_id: str = ""
    status: str = ""
    state: str = ""
    archived: bool = False
    waits_for: str = ""
    versions: Mapping[str, int] = MappingProxyType({})
    queue_length: int = 0
    last_error: ChatError | None = None
    retry: Mapping[str, Any] | None = None
    requires_action_deadline_at: datetime | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    workflow: Mapping[str, Any] = MappingProxyType({})


class DebugRun(Object):
    """A turn, or another use of a model for the chat; `steps` only where one run was asked for."""

    id: str = ""
    chat_id: str = ""
    kind: str = ""
    status: str = ""
    provider: str = ""
    model: str = ""
    summary: Mapping[str, Any] = MappingProxyType({})
    steps: tuple[Mapping[str, Any], ...] = ()
    started_at: datetime = NEVER
    updated_at: datetime = NEVER
    finished_at: datetime | None = None


class ModelConfig(Object):
    """A model that chats can use."""

    id: str = ""
    provider: str = ""
    ai_provider_id: str = ""
    model: str = ""
    display_name: str = ""
    enabled: bool = False
    is_default: bool = False
    context_limit: int = 0
    compression_threshold: int = 0
    created_at: datetime = NEVER
    updated_at: datetime = NEVER


class Provider(Object):
    """A source of models; its keys are masked."""

    id: str = ""
    type: str = ""
    name: str = ""
    display_name: str = ""
    enabled: bool = False
    base_url: str = ""
    api_keys: tuple[Mapping[str, Any], ...] = ()
    created_at: datetime = NEVER
    updated_at: datetime = NEVER


class DiscoveredModel(Object):
    """A model that a provider lists; zero where it does not say."""

    id: str = ""
    display_name: str = ""
    context_limit: int = 0
    max_output_tokens: int = 0
    configured: bool = False


class ProviderTest(Object):
    """What came of asking a provider for its models; `failed` says where it ended."""

    ok: bool = False
    failed: str = ""
    message: str = ""
    status_code: int = 0
    latency_ms: int = 0
    model_count: int = 0
    models: tuple[DiscoveredModel, ...] = ()


class ProviderKey(Object):
    """Whether there is a key for a provider: the deployment's, and one's own."""

    provider: Provider = Provider()
    byok_enabled: bool = False
    has_provider_api_key: bool = False
    has_user_api_key: bool = False


class User(Object):
    """A person."""

    id: str = ""
    username: str = ""
    name: str = ""
    email: str = ""
    avatar_url: str = ""
    status: str = ""
    login_type: str = ""
    organization_ids: tuple[str, ...] = ()
    roles: tuple[Mapping[str, Any], ...] = ()
    created_at: datetime = NEVER
    updated_at: datetime = NEVER
    last_seen_at: datetime = NEVER


class Organization(Object):
    """Where chats, people and budgets belong."""

    id: str = ""
    name: str = ""
    display_name: str = ""
    description: str = ""
    icon: str = ""
    is_default: bool = False
    created_at: datetime = NEVER
    updated_at: datetime = NEVER


class DownloadedFile(NamedTuple):
    """A file with its content."""

    name: str
    media_type: str
    data: bytes
