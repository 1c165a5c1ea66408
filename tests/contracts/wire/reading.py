"""Which object of the reference each of our answers is, so that every answer a test gets is read by the old client."""

import json
import re
from typing import Any

import httpx
from pydantic import TypeAdapter

from tests.contracts.wire import reference as ref
from tests.contracts.wire import reference_admin as admin

CHATS = r"/api/(?:v2|experimental)/chats"
CHAT = CHATS + r"/[0-9a-f-]{36}"

# (method, path, what a success is); the first match decides.
ANSWERS: tuple[tuple[str, str, Any], ...] = (
    ("POST", CHATS, ref.Chat),
    ("GET", CHATS, list[ref.Chat]),
    ("GET", CHATS + "/by-workspace", dict[str, ref.Id]),
    ("GET", CHATS + "/models", admin.Models),
    ("GET", CHATS + "/model-configs", list[admin.ModelConfig]),
    ("POST|PATCH", CHATS + "/model-configs(/[^/]+)?", admin.ModelConfig),
    ("POST", CHATS + "/files", ref.Uploaded),
    ("GET", CHATS + "/cost/users", admin.CostUsers),
    ("GET", CHATS + "/cost/[^/]+/summary", admin.CostSummary),
    ("GET", CHATS + "/insights/pull-requests", admin.Insights),
    ("GET", CHATS + "/usage-limits", admin.Limits),
    ("PUT", CHATS + "/usage-limits", admin.LimitConfig),
    ("GET", CHATS + "/usage-limits/status", admin.LimitStatus),
    ("PUT", CHATS + "/usage-limits/overrides/[^/]+", admin.UserLimit),
    ("PUT", CHATS + "/usage-limits/group-overrides/[^/]+", admin.GroupLimit),
    ("GET", CHATS + "/config/system-prompt", admin.SystemPrompt),
    ("GET", CHATS + "/config/plan-mode-instructions", admin.PlanModeInstructions),
    ("GET|PUT", CHATS + "/config/user-prompt", admin.UserPrompt),
    ("GET", CHATS + "/config/model-override/[^/]+", admin.ModelOverride),
    ("GET", CHATS + "/config/debug-logging", admin.DebugLogging),
    ("GET", CHATS + "/config/user-debug-logging", admin.UserDebugLogging),
    ("GET", CHATS + "/config/retention-days", admin.RetentionDays),
    ("GET", CHATS + "/config/debug-retention-days", admin.DebugRetentionDays),
    ("GET", CHATS + "/config/auto-archive-days", admin.AutoArchiveDays),
    ("GET", CHATS + "/config/user-compaction-thresholds", admin.Thresholds),
    ("PUT", CHATS + "/config/user-compaction-thresholds/[^/]+", admin.Threshold),
    ("GET", CHAT, ref.Chat),
    ("GET", CHAT + "/messages", ref.Messages),
    ("POST", CHAT + "/messages", ref.SentMessage),
    ("PATCH", CHAT + "/messages/[0-9]+", ref.EditedMessage),
    ("GET", CHAT + "/prompts", ref.Prompts),
    ("POST", CHAT + "/queue/[0-9]+/promote", ref.Error),
    ("POST", CHAT + "/interrupt", ref.Chat),
    ("POST", CHAT + "/title/regenerate", ref.Chat),
    ("POST", CHAT + "/title/propose", ref.Title),
    ("GET", CHAT + "/cost", admin.ChatCost),
    ("GET", CHAT + "/diff", ref.DiffContents),
    ("GET", CHAT + "/acl", admin.Acl),
    ("GET", CHAT + "/debug/runs", list[admin.DebugRunSummary]),
    ("GET", CHAT + "/debug/runs/[^/]+", admin.DebugRun),
    ("GET", "/api/v2/ai/providers", list[admin.Provider]),
    ("POST|GET|PATCH", "/api/v2/ai/providers(/[^/]+)?", admin.Provider),
    ("GET", "/api/experimental/users/[^/]+/ai-provider-keys", list[admin.UserKey]),
    ("PUT", "/api/experimental/users/[^/]+/ai-provider-keys/[^/]+", admin.UserKey),
)
_READERS = tuple((re.compile(method), re.compile(path), TypeAdapter(kind)) for method, path, kind in ANSWERS)
_FILE = re.compile(CHATS + r"/files/[^/]+")
_SEPARATORS = ("\u2028", "\u2029", "<", ">", "&")


def read(kind: Any, given: Any) -> Any:
    """What the reference client makes of a JSON value; raises ValidationError where it would fail."""
    return TypeAdapter(kind).validate_python(given, strict=True)


def check(method: str, path: str, status: int, media_type: str, body: bytes) -> None:
    """Read an answer as the reference client would."""
    if status == 204:
        assert body == b"", f"{method} {path} answered 204 with a body"
        return
    if not media_type.startswith("application/json") or (status < 400 and _FILE.fullmatch(path)):
        return
    assert media_type == "application/json; charset=utf-8"
    assert body.endswith(b"\n"), "an answer is one document and a newline"
    assert not any(each in body.decode() for each in _SEPARATORS), "what a browser could take for markup is escaped"
    given = json.loads(body)
    if status >= 400:
        limited = status == 409 and "resets_at" in given
        read(ref.UsageLimitError if limited else ref.Error, given)
        return
    for methods, paths, reader in _READERS:
        if methods.fullmatch(method) and paths.fullmatch(path):
            reader.validate_python(given, strict=True)
            return


async def hook(response: httpx.Response) -> None:
    """An httpx event hook that reads every answer."""
    body = await response.aread()
    request = response.request
    media_type = response.headers.get("content-type", "")
    check(request.method, request.url.path, response.status_code, media_type, body)
