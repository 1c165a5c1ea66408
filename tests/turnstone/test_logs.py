"""A log line says when, how bad, where and what, with its facts beside it."""

import json
import logging

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
