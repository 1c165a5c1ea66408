"""Every knob of the service: type, default, one sentence. Read once, in each process's `__main__`, and passed down."""

import difflib
import ipaddress
import os
import sys
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "TURNSTONE_"
# Read once, at bootstrap, by their own names; not knobs of a running process.
BOOTSTRAP_NAMES = frozenset({"TURNSTONE_ADMIN_TOKEN", "TURNSTONE_OPENAI_BASE_URL", "TURNSTONE_OPENAI_MODEL"})
# Read by the client commands (`turnstone chat` …); a server in the same environment lets them be.
CLIENT_NAMES = frozenset({"TURNSTONE_URL", "TURNSTONE_TOKEN"})


def _from_json(value: Any) -> Any:
    return orjson.loads(value or "{}") if isinstance(value, str) else value


_Names = Annotated[dict[str, str], NoDecode, BeforeValidator(_from_json)]
_Roles = Annotated[dict[str, list[str]], NoDecode, BeforeValidator(_from_json)]
_LISTS = frozenset({"failpoints", "mcp_allowed_networks", "oidc_email_domains"})


class Settings(BaseSettings):
    """The knobs, each an environment variable `TURNSTONE_<NAME>`; durations are seconds or ISO 8601."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    database_url: str = Field(
        default="postgresql://postgres@127.0.0.1:5432/turnstone",
        description="PostgreSQL connection URL (postgresql://…).",
    )
    database_pool_size: int = Field(
        default=10, ge=1, le=200, description="Database connections a process keeps, at most."
    )
    temporal_address: str = Field(default="127.0.0.1:7233", description="host:port of the Temporal frontend.")
    temporal_namespace: str = Field(default="default", description="Temporal namespace that holds the turns.")
    temporal_ui_url: str = Field(
        default="", description="Base URL of the Temporal UI, for links in `explain`; empty hides them."
    )
    task_queue: str = Field(
        default="turnstone",
        description="Temporal task queue of workflows and model steps; tool calls use `<name>-tools`, "
        "stops and sweeps `<name>-control`, builds of workspaces `<name>-builds`, titles `<name>-aside`.",
    )
    secret_keys: SecretStr = Field(
        default=SecretStr(""),
        description="Fernet keys that encrypt stored secrets, comma-separated, newest first.",
    )
    allow_byok: bool = Field(
        default=True,
        description="Whether people may keep provider keys of their own, which are used for their chats first.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port that the API listens on; 0 takes a free one.")
    public_url: str = Field(default="", description="URL that clients use to reach the API; empty means host and port.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log line that is written."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="Shape of a log line.")
    model_slots: int = Field(
        default=200, ge=1, le=1000, description="Model steps that one worker process runs at once."
    )
    head_starts: bool = Field(
        default=True,
        description="Whether a worker begins an answer at the message's commit, while Temporal still starts its run.",
    )
    tool_slots: int = Field(
        default=600, ge=1, le=5000, description="Batches of tool calls that one worker process runs at once."
    )
    control_slots: int = Field(
        default=50, ge=1, le=1000, description="Stops, sweeps and other short work of one worker at once."
    )
    aside_slots: int = Field(
        default=4, ge=1, le=1000, description="Searches for titles and labels that one worker process does at once."
    )
    build_slots: int = Field(
        default=20, ge=1, le=1000, description="Builds of workspaces that one worker process performs at once."
    )
    build_timeout: timedelta = Field(
        default=timedelta(minutes=10), description="Time a build of a workspace may take before it has failed."
    )
    access_url: str = Field(
        default="",
        description="URL at which workspace agents reach the API; empty means `public_url`, or host and port.",
    )
    workspaces_dir: str = Field(
        default=".turnstone/workspaces", description="Directory of the workspaces of `local` templates."
    )
    workspace_isolation: Literal["auto", "none", "bubblewrap"] = Field(
        default="auto",
        description="Whether agents of `local` templates run in bubblewrap: where it works (`auto`), never, or always.",
    )
    docker_socket: str = Field(
        default="/var/run/docker.sock", description="Unix socket of the engine that `docker` templates use."
    )
    automatic_titles: bool = Field(
        default=True, description="Whether a model gives a chat its title once its first answer begins."
    )
    turn_summaries: Literal["plain", "small", "any"] = Field(
        default="small",
        description="Who labels a finished turn: nobody (`plain` words), a small model or the one chosen for titles, "
        "or if there is none `any`, the chat's own.",
    )
    fetch_url: bool = Field(default=True, description="Whether models may read public web pages (`fetch_url`).")
    fetch_url_allow_private: bool = Field(
        default=False, description="Whether `fetch_url` may read internal addresses too; for tests only."
    )
    webhooks_allow_private: bool = Field(
        default=False, description="Whether webhooks, and web push, may be sent to internal addresses too."
    )
    push_contact: str = Field(
        default="",
        description="`mailto:` or `https:` address that push services may turn to; empty is an https `public_url`.",
    )
    mcp_allowed_networks: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Internal networks, comma-separated (`10.1.0.0/16`), whose MCP servers may be asked; others must "
        "be public. `turnstone dev` allows loopback.",
    )
    stream_flush_interval: timedelta = Field(
        default=timedelta(milliseconds=30),
        description="Longest time that a delta waits for others before it is published; half as long again while many "
        "steps stream.",
    )
    stream_flush_bytes: int = Field(
        default=4096, ge=256, description="Size at which waiting deltas are published at once."
    )
    stream_ping_interval: timedelta = Field(
        default=timedelta(seconds=15), description="Time between keep-alive pings on live streams."
    )
    stream_poll_interval: timedelta = Field(
        default=timedelta(seconds=10), description="Longest staleness of a watcher when notifications are lost."
    )
    watcher_buffer_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=65536,
        description="Bytes that may wait for a slow watcher before it is dropped to resync.",
    )
    queue_limit: int = Field(default=20, ge=1, le=1000, description="Messages that may wait in one chat's queue.")
    turns_per_user: int = Field(
        default=0,
        ge=0,
        description="Turns of one person that run at once in an organization; more wait. 0 is unlimited.",
    )
    turns_per_organization: int = Field(
        default=0, ge=0, description="Turns of one organization that run at once; more wait. 0 is unlimited."
    )
    children_at_once: int = Field(
        default=10, ge=0, le=100, description="Sub-agents of one chat that may be at work at once; 0 allows none."
    )
    children_per_chat: int = Field(default=200, ge=0, description="Sub-agents that one chat may have in all.")
    max_steps: int = Field(default=1200, ge=1, description="Model steps in one turn, at most.")
    max_attempts: int = Field(default=25, ge=1, le=1000, description="Attempts of one model step, at most.")
    retry_base: timedelta = Field(
        default=timedelta(seconds=1), description="Back-off after the first failed attempt; doubles each time."
    )
    retry_cap: timedelta = Field(default=timedelta(seconds=60), description="Longest back-off between two attempts.")
    requires_action_timeout: timedelta = Field(
        default=timedelta(hours=24),
        description="Time a client may take to answer its own tool calls before they are answered with an error.",
    )
    compaction_timeout: timedelta = Field(
        default=timedelta(minutes=3), description="Time a model may take to summarise a chat that is too long for it."
    )
    first_byte_timeout: timedelta = Field(
        default=timedelta(minutes=5), description="Time a provider may take to start its answer."
    )
    silence_timeout: timedelta = Field(
        default=timedelta(minutes=10), description="Time a provider may stay silent inside an answer."
    )
    fast_providers: bool = Field(
        default=True,
        description="Whether we read OpenAI's and Anthropic's streams ourselves; off, litellm reads them too.",
    )
    disable_chat_sharing: bool = Field(
        default=False,
        description="Whether sharing is off: nobody can share a chat, and what was shared is hidden again.",
    )
    idempotency_ttl: timedelta = Field(
        default=timedelta(hours=24), description="Time an Idempotency-Key's answer is kept."
    )
    debug_logging: bool = Field(
        default=False, description="Record every chat's model calls for debugging, whatever its owner chose."
    )
    session_ttl: timedelta = Field(default=timedelta(days=7), description="Life of a login session.")
    oidc_issuer: str = Field(
        default="", description="URL of the OpenID Connect provider that people sign in with; empty means none."
    )
    oidc_client_id: str = Field(
        default="", validate_default=True, description="What the OpenID Connect provider calls this deployment."
    )
    oidc_client_secret: SecretStr = Field(
        default=SecretStr(""), description="The client's secret at the provider; empty for a public client."
    )
    oidc_scopes: str = Field(
        default="openid profile email",
        description="Scopes asked of the provider, with spaces between; many give refresh tokens for `offline_access`.",
    )
    oidc_sign_in_text: str = Field(default="OpenID Connect", description="What the button for signing in says.")
    oidc_icon_url: str = Field(default="", description="Picture on that button.")
    oidc_username_claim: str = Field(default="preferred_username", description="Claim that new usernames come from.")
    oidc_email_claim: str = Field(default="email", description="Claim with the email address.")
    oidc_name_claim: str = Field(default="name", description="Claim with the full name.")
    oidc_groups_claim: str = Field(
        default="",
        description="Claim with a person's groups, which they are then in after each sign-in, and in no other; "
        "dots lead into nested claims; empty leaves groups alone.",
    )
    oidc_group_mapping: _Names = Field(
        default={},
        description='JSON object from a value of that claim to a group, `"<name>"` or `"<organization>/<name>"`.',
    )
    oidc_create_groups: bool = Field(
        default=False, description="Whether groups of the claim that are missing are made."
    )
    oidc_roles_claim: str = Field(
        default="",
        description="Claim that `oidc_role_mapping` reads roles from at each sign-in; empty leaves roles alone.",
    )
    oidc_role_mapping: _Roles = Field(
        default={}, description="JSON object from a value of that claim to a list of site and organization roles."
    )
    oidc_organizations_claim: str = Field(
        default="",
        description="Claim with a person's organizations, which they belong to after each sign-in, and to no other; "
        "empty leaves memberships alone.",
    )
    oidc_organization_mapping: _Names = Field(
        default={}, description="JSON object from a value of that claim to the name of an organization."
    )
    oidc_organization: str = Field(
        default="default", description="Organization that everybody who signs up belongs to; empty means none."
    )
    oidc_agents_access: bool = Field(
        default=True, description="Whether who joins an organization by signing in gets `agents-access` there."
    )
    oidc_email_domains: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(), description="Domains of addresses that may sign in, comma-separated; empty means all."
    )
    oidc_allow_signups: bool = Field(
        default=True, description="Whether signing in makes an account where there is none."
    )
    oidc_require_verified_email: bool = Field(
        default=True, description="Whether the provider must say that it verified the address."
    )
    max_body_bytes: int = Field(default=262144, ge=1024, description="Largest JSON request body.")
    rate_limit_per_minute: int = Field(
        default=6000,
        ge=0,
        description="Requests a user may make a minute, or the strangers of one address; 0 is unlimited. API processes "
        "tell each other within a second.",
    )
    write_limit_per_minute: int = Field(
        default=3000,
        ge=0,
        description="Requests among these that may change something; 0 is unlimited, as where all requests are.",
    )
    upload_limit_per_minute: int = Field(
        default=60, ge=0, description="Files a person may upload a minute; 0 is unlimited."
    )
    upload_bytes_per_day: int = Field(
        default=2**30, ge=0, description="Bytes of files that a person may upload in a day (UTC); 0 is unlimited."
    )
    streams_per_user: int = Field(
        default=1000, ge=0, description="Live streams a user may have open at one API process; 0 is unlimited."
    )
    trusted_proxies: str = Field(
        default="127.0.0.1,::1",
        description="Addresses and networks, comma-separated, whose X-Forwarded-For and -Proto are believed; `*` is "
        "any, empty is none.",
    )
    sweep_interval: timedelta = Field(
        default=timedelta(seconds=10), description="Time between two sweeps for work that lost its nudge."
    )
    housekeeping_interval: timedelta = Field(
        default=timedelta(minutes=10), description="Time between two rounds of archiving and deleting what is over."
    )
    shutdown_grace: timedelta = Field(
        default=timedelta(seconds=10), description="Time a stopping process takes to hand its work over."
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port at which a worker serves Prometheus /metrics; 0 takes a free one, unset serves none. The "
        "workers of `--processes` count on from it.",
    )
    otlp_endpoint: str = Field(
        default="", description="OTLP/HTTP endpoint that gets a trace of each turn (…/v1/traces); empty sends none."
    )
    trace_content: bool = Field(
        default=False, description="Whether traces hold what was said, besides models, tokens and times."
    )
    failpoints: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Names of places where the process kills itself, comma-separated; for crash tests only.",
    )

    @property
    def agents_url(self) -> str:
        """Where agents of workspaces find the API."""
        if self.access_url or self.public_url:
            return (self.access_url or self.public_url).rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - to reach what listens
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def push_subject(self) -> str:
        """Who answers for what is pushed; empty where nobody is named."""
        return self.push_contact or (self.public_url if self.public_url.startswith("https://") else "")

    @field_validator("mcp_allowed_networks")
    @classmethod
    def _are_networks(cls, value: frozenset[str]) -> frozenset[str]:
        for each in value:
            ipaddress.ip_network(each, strict=False)
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: Any, info: ValidationInfo) -> Any:
        """Environment variables are text: plain numbers are seconds, lists are comma-separated."""
        if not isinstance(value, str) or info.field_name is None:
            return value
        if info.field_name in _LISTS:
            return frozenset(name.strip() for name in value.split(",") if name.strip())
        if cls.model_fields[info.field_name].annotation is timedelta:
            try:
                return timedelta(seconds=float(value))
            except (ValueError, OverflowError):
                return value
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _an_address(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            return value
        found = urlsplit(value)
        if found.scheme not in ("http", "https") or not found.hostname or found.query or found.fragment:
            raise ValueError("must be an http(s) URL without query")
        if found.scheme == "http" and found.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("must be https: who reads the way to the provider could sign in as anybody")
        if not info.data["secret_keys"].get_secret_value():
            raise ValueError("needs TURNSTONE_SECRET_KEYS")
        return value

    @field_validator("oidc_client_id")
    @classmethod
    def _with_the_issuer(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("oidc_issuer") and not value:
            raise ValueError("is needed with TURNSTONE_OIDC_ISSUER")
        return value


def complaints() -> list[str]:
    """What is wrong with this process's TURNSTONE_* variables, one clear line each; empty when all is well."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | BOOTSTRAP_NAMES | CLIENT_NAMES
    lines = []
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            lines.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        Settings()
    except ValidationError as wrong:
        # The value is not shown: it may be a secret that was put into the wrong variable.
        lines += [f"{PREFIX}{str(error['loc'][0]).upper()}: {error['msg']}" for error in wrong.errors() if error["loc"]]
    return lines


def load_settings() -> Settings:
    """The settings of this process, or a clear line for each unknown or bad variable and exit code 2."""
    wrong = complaints()
    if wrong:
        for line in wrong:
            print(f"turnstone: {line}", file=sys.stderr)
        raise SystemExit(2)
    return Settings()
