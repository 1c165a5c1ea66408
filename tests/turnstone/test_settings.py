"""Unknown and bad settings stop a process, with a line that says what to change."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from models.settings import complaints, load_settings
from turnstone.embedded_temporal import SEARCH_ATTRIBUTES


def test_an_unknown_setting_stops_the_process_and_names_the_likely_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TURNSTONE_DATABASE_ULR", "postgresql://localhost/x")
    with pytest.raises(SystemExit) as stopped:
        load_settings()
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told == "turnstone: TURNSTONE_DATABASE_ULR is not a setting; did you mean TURNSTONE_DATABASE_URL?\n"


def test_every_bad_setting_is_named_and_no_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSTONE_PORT", "hunter2")
    monkeypatch.setenv("TURNSTONE_LOG_LEVEL", "loud")
    wrong = complaints()
    assert [line.partition(":")[0] for line in wrong] == ["TURNSTONE_PORT", "TURNSTONE_LOG_LEVEL"]
    assert "hunter2" not in " ".join(wrong)


def test_the_names_that_only_bootstrap_reads_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSTONE_ADMIN_TOKEN", "ts_token")
    monkeypatch.setenv("TURNSTONE_OPENAI_BASE_URL", "http://localhost/v1")
    assert complaints() == []


@pytest.mark.parametrize(("text", "meant"), [("2", 2.0), ("0.25", 0.25), ("PT1M30S", 90.0)])
def test_a_duration_is_seconds_or_iso_8601(monkeypatch: pytest.MonkeyPatch, text: str, meant: float) -> None:
    monkeypatch.setenv("TURNSTONE_RETRY_BASE", text)
    assert load_settings().retry_base == timedelta(seconds=meant)


def test_a_list_is_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSTONE_FAILPOINTS", "one, two,")
    assert load_settings().failpoints == {"one", "two"}


def test_the_compose_file_creates_the_search_attributes_of_the_embedded_server() -> None:
    script = (Path(__file__).parents[2] / "docker" / "temporal-namespace.sh").read_text()
    listed = re.search(r"for name in (.+); do", script)
    assert listed is not None
    assert set(listed[1].split()) == set(SEARCH_ATTRIBUTES)


def test_the_compose_file_sets_only_settings_that_exist() -> None:
    from models.settings import BOOTSTRAP_NAMES, PREFIX, Settings

    text = (Path(__file__).parents[2] / "docker-compose.yml").read_text()
    image = (Path(__file__).parents[2] / "Dockerfile").read_text()
    given = set(re.findall(r"^ +(TURNSTONE_\w+):", text, re.MULTILINE)) | set(
        re.findall(r"^ +(TURNSTONE_\w+)=", image, re.MULTILINE)
    )
    assert given - {PREFIX + name.upper() for name in Settings.model_fields} - BOOTSTRAP_NAMES == set()
    assert {"TURNSTONE_DATABASE_URL", "TURNSTONE_HOST"} <= given
