"""A benchmark may be slow or fast, but not wrong: its arithmetic and its client against a real socket."""

import asyncio

import pytest

from benchmarks import peers
from benchmarks.figures import Figure, Report, over, percentile, under
from benchmarks.floors import Raw, lag_figures
from benchmarks.report import page
from benchmarks.wire import Connection, Events, request
from tests.fakes.provider import FakeProvider


def test_a_percentile_is_one_of_the_samples_and_bounds_its_share_of_them() -> None:
    samples = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(samples, share) for share in (0, 20, 50, 95, 99, 100)] == [1.0, 1.0, 3.0, 5.0, 5.0, 5.0]
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("budgets", "value", "verdict"),
    [
        (under(10, 5), 4.0, "yes"),
        (under(10, 5), 5.0, "yes"),
        (under(10, 5), 7.0, "first yes, then no"),
        (under(10, 5), 11.0, "no"),
        (under(then=5), 7.0, "no"),
        (over(25, 60), 61.0, "yes"),
        (over(25, 60), 30.0, "first yes, then no"),
        (over(25, 60), 20.0, "no"),
        (under(), 7.0, "—"),
        (under(10), None, "—"),
    ],
)
def test_a_verdict_says_which_budgets_hold(budgets: object, value: float | None, verdict: str) -> None:
    assert Figure("f", "ms", value, budgets=budgets).verdict == verdict  # type: ignore[arg-type]


def test_lag_is_counted_for_every_stamp_of_every_piece() -> None:
    streams = [(100.0, [(101.0, "100.9 100.8 "), (102.0, "101.9 ")]), (100.5, [(104.0, "103.0 ")])]
    assert lag_figures(streams) == {
        "p50": pytest.approx(100.0),
        "p99": pytest.approx(1000.0),
        "tokens": 4,
        "rate": pytest.approx(1.0),
        "steady": 0.0,
    }


def test_events_are_cut_the_same_wherever_the_bytes_are_split() -> None:
    stream = b': ping\n\nid: 1.2\nevent: message\ndata: {"a":1}\n\nid: 1.3\ndata: {"b":2}\n\n'
    for at in range(len(stream) + 1):
        taken: list[bytes] = []
        events = Events(taken.append)
        events(stream[:at])
        events(stream[at:])
        assert taken == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_an_answer_is_read_whole_however_it_arrives(step: int) -> None:
    async def read() -> list[tuple[int, bytes]]:
        connection = Connection()
        connection._transport = _Nowhere()  # type: ignore[assignment]
        answers = []
        for bytes_ in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
        ):
            future = connection.send(b"")
            for start in range(0, len(bytes_), step):
                connection.data_received(bytes_[start : start + step])
            answer = await future
            answers.append((answer.status, answer.body))
        return answers

    assert asyncio.run(read()) == [(200, b"hello"), (200, b"abcde"), (204, b"")]


class _Nowhere:
    def is_closing(self) -> bool:
        return False

    def write(self, _: bytes) -> None:
        pass


async def test_the_raw_client_sees_every_token_of_the_provider() -> None:
    async with FakeProvider() as fake:
        raw = Raw(fake.openai_url)
        seen = await raw.streams(3, tokens=10, interval_ms=1)
        assert seen["tokens"] == 30
        assert all(seconds > 0 for seconds in await raw.first_token(3))
        refused = await (await Connection.open(fake.root_url)).send(request("GET", f"{fake.root_url}/nothing"))
        assert refused.status == 404


def test_the_page_holds_every_figure_and_failure() -> None:
    report = Report()
    report.add(Figure("one", "ms", 1234.5, 0.5, None, under(40, 25), 7, "a note"), Figure("two", "ms", None))
    report.profile["where"] = {"api": 1.0}
    report.failures["three"] = "broke"
    facts = {"date": "d", "commit": "c", "kind": "full", "workers": 1, "seconds": 1.0, "machine": {"cores": "2"}}
    text = page(report, facts)
    assert "| one (ms) | 1,234 | 0.50 |  | ≤ 40 | ≤ 25 | no | 7 | a note |" in text
    assert "| two (ms) |  |  |  |  |  | — |  |  |" in text
    assert "**where**" in text
    assert "* three: broke" in text


def test_the_steady_rate_counts_only_while_all_streams_run() -> None:
    early = [(float(at), f"{at} {at}") for at in range(10)]  # 0 … 9, two tokens each
    late = [(float(at), f"{at}") for at in range(5, 15)]  # 5 … 14, one each
    assert lag_figures([(0.0, early), (0.0, late)])["steady"] == 3.0
    assert lag_figures([(0.0, early[:3]), (0.0, late)])["steady"] == 0.0


def test_the_figures_of_others_stand_beside_ours_of_this_run() -> None:
    report = Report()
    report.add(Figure("plain turns of 20 tokens, closed loop of 32 chats", "turns/s", 61.0, 2867.0, 64.6))
    report.add(Figure("CPU of a plain turn, all processes", "ms", 24.4, 0.27, 15.5))
    lines = peers.table(report)
    [row] = [line for line in lines if line.startswith("| turns/s")]
    assert row.startswith("| turns/s, 32 chats / CPU ms a turn | 2,867 / 0.27 | 65 / 16 | 61 / 24 | 27 / 36 |")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
