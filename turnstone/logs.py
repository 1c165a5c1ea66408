"""How a process writes its log: one line an event, as text for people or JSON for machines."""

import json
import logging
import sys
from datetime import UTC, datetime

from models.log_context import subjects

# What every record has; the rest was given as `extra` and belongs into the line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_OURS = ("activities", "agent", "api", "models", "turnstone", "workflows")
# These tell a line for each request or retry, some with its address.
_CHATTY = ("httpx", "httpcore", "asyncio", "alembic.runtime.plugins", "LiteLLM", "mcp", "openai", "botocore", "urllib3")


def configure(level: str, shape: str) -> None:
    """Send this process's log to stderr, at `level`, as `text` or `json`; replaces what was configured before.

    `debug` is ours alone: what libraries say then holds requests whole, with their keys and what people said.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if shape == "json" else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel("INFO" if level == "debug" else level.upper())
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel("ERROR" if level == "error" else "WARNING")
    logging.captureWarnings(True)


def _extras(record: logging.LogRecord) -> dict[str, object]:
    given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {**subjects(), **given}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00.000+00:00 INFO turnstone.dev: message key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}"
        line += "".join(f" {name}={value}" for name, value in _extras(record).items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonLines(logging.Formatter):
    """One JSON object a line, with the event's own fields beside time, level, logger and message."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in _extras(record).items() if name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
