"""The reference client's view of everything around chats: models, settings, cost, limits, debug runs, sharing."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tests.contracts.wire.reference import ChatError, Decimal, Id, Int32, Int64, Known, Time

# 2.12, 5.4


class OfferedModel(Known):
    id: str
    provider: str
    model: str
    display_name: str


class OfferedProvider(Known):
    provider: str
    available: bool
    unavailable_reason: Literal["missing_api_key", "fetch_failed", "user_api_key_required"] | None = None
    models: list[OfferedModel]


class Models(Known):
    providers: list[OfferedProvider]


class Cost(Known):
    input_price_per_million_tokens: Decimal = ""
    output_price_per_million_tokens: Decimal = ""
    cache_read_price_per_million_tokens: Decimal = ""
    cache_write_price_per_million_tokens: Decimal = ""


class CallConfig(Known):
    pointers: ClassVar[frozenset[str]] = frozenset(
        {"max_output_tokens", "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty"}
    )
    max_output_tokens: Int64 | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Int64 | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    cost: Cost | None = None
    provider_options: dict[str, dict[str, Any]] | None = None


class ModelConfig(Known):
    id: Id
    provider: str
    ai_provider_id: Id = ""
    model: str
    display_name: str
    enabled: bool
    is_default: bool
    context_limit: Int64
    compression_threshold: Annotated[int, Field(ge=0, le=100)]
    call_config: CallConfig | None = Field(default=None, alias="model_config")
    created_at: Time
    updated_at: Time


class ProviderKey(Known):
    id: Id
    masked: str
    created_at: Time


class Provider(Known):
    id: Id
    type: str
    name: str
    display_name: str
    enabled: bool
    base_url: str
    api_keys: list[ProviderKey]
    settings: dict[str, Any] | None
    created_at: Time
    updated_at: Time


class ProviderSummary(Known):
    id: Id
    type: str
    name: str
    display_name: str
    enabled: bool
    deleted: bool


class UserKey(Known):
    provider: ProviderSummary
    has_user_api_key: bool
    has_provider_api_key: bool
    byok_enabled: bool


# 2.14


class DebugStep(Known):
    pointers: ClassVar[frozenset[str]] = frozenset({"normalized_response", "usage", "error"})
    id: Id
    run_id: Id
    chat_id: Id
    step_number: Int32
    operation: Literal["stream", "generate"]
    status: Literal["in_progress", "completed", "error", "interrupted"]
    history_tip_message_id: Int64 = 0
    assistant_message_id: Int64 = 0
    normalized_request: dict[str, Any]
    normalized_response: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    attempts: list[dict[str, Any]]
    error: dict[str, Any] | None = None
    metadata: dict[str, Any]
    started_at: Time
    updated_at: Time
    finished_at: Time = ""


class DebugRunSummary(Known):
    id: Id
    chat_id: Id
    kind: Literal["chat_turn", "title_generation", "quickgen", "compaction"]
    status: Literal["in_progress", "completed", "error", "interrupted"]
    provider: str = ""
    model: str = ""
    summary: dict[str, Any]
    started_at: Time
    updated_at: Time
    finished_at: Time = ""


class DebugRun(DebugRunSummary):
    root_chat_id: Id = ""
    parent_chat_id: Id = ""
    model_config_id: Id = ""
    trigger_message_id: Int64 = 0
    history_tip_message_id: Int64 = 0
    steps: list[DebugStep]


# 2.15, 2.16


class ChatCost(Known):
    root_chat_id: Id
    total_cost_micros: Int64
    priced_message_count: Int64
    unpriced_message_count: Int64


class Totals(Known):
    total_cost_micros: Int64
    total_input_tokens: Int64
    total_output_tokens: Int64
    total_cache_read_tokens: Int64
    total_cache_creation_tokens: Int64
    total_runtime_ms: Int64


class ModelUsage(Totals):
    model_config_id: Id
    display_name: str
    provider: str
    model: str
    message_count: Int64


class FamilyUsage(Totals):
    root_chat_id: Id
    chat_title: str
    message_count: Int64


class LimitStatus(Known):
    is_limited: bool
    period: Literal["day", "week", "month"] | None = None
    spend_limit_micros: Int64 | None = None
    current_spend: Int64
    period_start: Time
    period_end: Time


class CostSummary(Totals):
    start_date: Time
    end_date: Time
    priced_message_count: Int64
    unpriced_message_count: Int64
    by_model: list[ModelUsage]
    by_chat: list[FamilyUsage]
    usage_limit: LimitStatus | None = None


class PersonUsage(Totals):
    user_id: Id
    username: str
    name: str
    avatar_url: str
    message_count: Int64
    chat_count: Int64


class CostUsers(Known):
    start_date: Time
    end_date: Time
    count: Int64
    users: list[PersonUsage]


class LimitConfig(Known):
    spend_limit_micros: Int64 | None
    period: Literal["day", "week", "month", ""]
    updated_at: Time


class UserLimit(Known):
    user_id: Id
    username: str
    name: str
    avatar_url: str
    spend_limit_micros: Int64


class GroupLimit(Known):
    group_id: Id
    group_name: str
    group_display_name: str
    group_avatar_url: str
    member_count: Int64
    spend_limit_micros: Int64


class Limits(LimitConfig):
    unpriced_model_count: Int64
    overrides: list[UserLimit]
    group_overrides: list[GroupLimit]


# 6


class SystemPrompt(Known):
    system_prompt: str
    include_default_system_prompt: bool
    default_system_prompt: str


class PlanModeInstructions(Known):
    plan_mode_instructions: str


class UserPrompt(Known):
    custom_prompt: str


class ModelOverride(Known):
    context: str
    model_config_id: str
    is_malformed: bool


class DebugLogging(Known):
    allow_users: bool
    forced_by_deployment: bool


class UserDebugLogging(Known):
    debug_logging_enabled: bool
    user_toggle_allowed: bool
    forced_by_deployment: bool


class RetentionDays(Known):
    retention_days: Int32


class DebugRetentionDays(Known):
    debug_retention_days: Int32


class AutoArchiveDays(Known):
    auto_archive_days: Int32


class Threshold(Known):
    model_config_id: Id
    threshold_percent: Int32


class Thresholds(Known):
    thresholds: list[Threshold]


# 2.17, 2.18


class SharedUser(Known):
    id: Id
    username: str
    name: str = ""
    avatar_url: str = ""
    role: Literal["read"]


class SharedGroup(Known):
    id: Id
    name: str
    display_name: str
    organization_id: Id
    total_member_count: Int64
    avatar_url: str
    quota_allowance: Int64
    source: str
    organization_name: str
    organization_display_name: str
    role: Literal["read"]


class Acl(Known):
    users: list[SharedUser]
    groups: list[SharedGroup]


class InsightsSummary(Known):
    total_prs_created: Int64
    total_prs_merged: Int64
    merge_rate: float
    total_additions: Int64
    total_deletions: Int64
    total_cost_micros: Int64
    cost_per_merged_pr_micros: Int64
    approval_rate: float
    prev_total_prs_created: Int64
    prev_total_prs_merged: Int64
    prev_merge_rate: float
    prev_cost_per_merged_pr_micros: Int64


class Insights(Known):
    summary: InsightsSummary
    time_series: list[dict[str, Any]]
    by_model: list[dict[str, Any]]
    recent_prs: list[dict[str, Any]]


class Explained(Known):
    """Not the reference's: only what it shares with it."""

    chat_id: Id
    status: str
    last_error: ChatError | None = None
