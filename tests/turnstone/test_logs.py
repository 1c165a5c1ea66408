"""A log line says when, how bad, where and what, with its facts beside it."""

import json
import logging
import subprocess
import sys

from models.log_context import about
from turnstone.logs import JsonLines, TextLines


def record(message: str, **facts: object) -> logging.LogRecord:
    made = logging.LogRecord("turnstone.test", logging.WARNING, __file__, 1, message, ("x",), None)
    vars(made).update(facts)
    return made


def test_a_json_line_is_one_object_with_the_facts_of_the_event() -> None:
    line = JsonLines().format(record("about %s\nand more", chat="c1"))
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed.pop("time").endswith("+00:00")
    assert parsed == {"level": "warning", "logger": "turnstone.test", "message": "about x\nand more", "chat": "c1"}


def test_a_fact_cannot_replace_what_every_line_says() -> None:
    assert json.loads(JsonLines().format(record("about %s", level="fine")))["level"] == "warning"


def test_a_text_line_ends_with_the_facts() -> None:
    assert TextLines().format(record("about %s", chat="c1")).endswith(" WARNING turnstone.test: about x chat=c1")


def test_a_line_names_what_the_running_code_is_about() -> None:
    with about(chat_id="c1", turn_id=7), about(attempt=2):
        line = json.loads(JsonLines().format(record("about %s")))
    assert (line["chat_id"], line["turn_id"], line["attempt"]) == ("c1", 7, 2)
    assert "chat_id" not in json.loads(JsonLines().format(record("about %s")))


def test_debug_is_ours_alone() -> None:
    loggers = (
        "api.x",
        "activities.x",
        "models.x",
        "workflows.x",
        "turnstone.x",
        "httpx",
        "mcp.client",
        "LiteLLM",
        "x.y",
    )
    script = (
        "import logging; from turnstone.logs import configure; configure('debug', 'text');"
        f"[logging.getLogger(it).debug('from ' + it) for it in {loggers!r}]; logging.getLogger('x.y').info('info')"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    assert [line.rpartition(" ")[2] for line in said.splitlines()] == [*loggers[:5], "info"]
