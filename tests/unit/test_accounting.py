"""Every exchange is accounted for once, and truthfully."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from proxy.accounting import Accounting
from proxy.errors import Failure, Kind
from proxy.exchange import Body, Client, Exchange, Outcome
from proxy.routes import find
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import Metrics
from tests.fakes.clock import Clock
from tests.fakes.seams import bills


class _Body:
    length = received = 200


class _Client:
    sent = 400
    started = True
    source = None


class Books:
    """An accounting, and what it wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock(100.0)
        self.metrics = Metrics()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.log = Log(style="json", fd=self._fd)
        self.accounting = Accounting(bills(self.metrics, self.clock), self.metrics, self.log, self.clock)

    def exchange(self, **fields: object) -> Exchange:
        exchange = Exchange(
            method="POST",
            path="/v1/chat/completions",
            query=b"secret=1",
            headers=[(b"authorization", b"Bearer sk-canary-0001")],
            body=cast("Body", _Body()),
            client=cast("Client", _Client()),
            peer="192.0.2.7",
            call_id="call0001",
            started_at=self.clock(),
        )
        exchange.route = find("POST", "/v1/chat/completions")
        for name, value in fields.items():
            setattr(exchange, name, value)
        return exchange

    def settle(self, **fields: object) -> dict[str, Any]:
        """The log line of one exchange with these fields."""
        exchange = self.exchange(**fields)
        self.accounting.open(exchange)
        self.accounting.close(exchange)
        return self.lines()[-1]

    def lines(self) -> list[dict[str, Any]]:
        self.accounting.settle()
        assert self.log.close()
        return [msgspec.json.decode(line) for line in self.path.read_bytes().splitlines()]

    def sample(self, name: str, *labels: str) -> float:
        total = 0.0
        self.metrics.publish()
        for line in self.metrics.render()[0].decode().splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(label in sample for label in labels):
                total += float(value)
        return total

    def end(self) -> None:
        self.log.close()
        os.close(self._fd)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    books = Books(tmp_path / "log")
    yield books
    books.end()


RELAYED: dict[str, object] = {
    "model": "gpt-4o",
    "upstream": "openai",
    "upstream_id": b"req_1",
    "attempts": 1,
    "status": 200,
    "outcome": Outcome.RELAYED,
    "asked_at": 99.3,
    "upstream_started_at": 99.3,
    "first_byte_at": 99.5,
    "upstream_ended_at": 99.9,
    "started_at": 99.25,
}


def test_the_line_says_what_happened(books: Books) -> None:
    """One line with every field, from the exchange's own times and counts."""
    line = books.settle(**RELAYED)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "request",
        "call_id": "call0001",
        "request_id": "req_1",
        "route": "chat/completions",
        "method": "POST",
        "model": "gpt-4o",
        "status": 200,
        "outcome": "relayed",
        "error": None,
        "detail": None,
        "bytes_in": 200,
        "bytes_out": 400,
        "duration_ms": 750.0,
        "ttfb_ms": 250.0,
        "upstream_ms": pytest.approx(600.0, abs=0.01),
        "upstream": "openai",
        "attempts": 1,
        "stream": False,
        "cache": None,
        "key": "",
        "peer": "192.0.2.7",
    }


def test_a_failures_detail_is_for_the_operator(books: Books) -> None:
    """What the client is not told stands in the log, masked where it looks like a key."""
    failure = Failure(Kind.UPSTREAM_ERROR, detail="bad status line from Bearer canary")
    line = books.settle(**RELAYED | {"outcome": Outcome.FAILED, "failure": failure})
    assert line["detail"] == "bad status line from Bearer ***"


def test_an_exchange_counts_once(books: Books) -> None:
    """Closed twice, it is one request; never opened, it is none."""
    exchange = books.exchange(**RELAYED)
    books.accounting.open(exchange)
    assert books.accounting.in_flight == books.sample("askonce_in_flight") == 1
    books.accounting.close(exchange)
    books.accounting.close(exchange)
    books.accounting.close(books.exchange())
    assert books.sample("askonce_requests_total") == 1
    assert books.sample("askonce_in_flight") == 0
    assert len(books.lines()) == 1
    assert repr(books.accounting) == "<Accounting in_flight=0>"


def test_overhead_is_what_the_upstream_did_not_take(books: Books) -> None:
    """Total 0.75 s less 0.6 s upstream, less 0.03 s in which the body arrived."""
    books.settle(**RELAYED, identified_at=99.26, received_at=99.29)
    assert books.sample("askonce_gateway_overhead_seconds_sum") == pytest.approx(0.12)
    assert books.sample("askonce_gateway_overhead_seconds_count") == 1


def test_time_to_first_token_is_that_of_streams(books: Books) -> None:
    """A streamed answer's first byte is observed under its model; a plain answer's is not."""
    books.settle(**RELAYED)
    assert books.sample("askonce_time_to_first_token_seconds_count") == 0
    exchange = books.exchange(**RELAYED | {"event_stream": True})
    books.accounting.open(exchange)
    books.accounting.close(exchange)
    assert books.sample("askonce_time_to_first_token_seconds_sum", 'model="gpt-4o"') == pytest.approx(0.25)


def test_a_client_that_left_before_the_head_is_499(books: Books) -> None:
    """The log and the metrics say 499 where no status went out."""
    client = _Client()
    client.started = False
    line = books.settle(outcome=Outcome.ABANDONED, client=client, attempts=1, upstream="openai")
    assert (line["status"], line["error"], line["level"]) == (499, "client_closed_request", "info")
    assert books.sample("askonce_requests_total", 'status="499"', 'outcome="abandoned"') == 1


def test_a_client_that_left_mid_answer_keeps_its_status(books: Books) -> None:
    """The status that went out is the one that is logged."""
    line = books.settle(**RELAYED | {"outcome": Outcome.ABANDONED, "cut_by": Failure(Kind.CLIENT_CLOSED)})
    assert (line["status"], line["outcome"], line["error"]) == (200, "abandoned", "client_closed_request")


def test_a_refusal_is_no_fault_of_the_upstream(books: Books) -> None:
    """A refused request was never sent: no attempt, no failure, no overhead, its status from the failure."""
    line = books.settle(outcome=Outcome.REFUSED, failure=Failure(Kind.INVALID_JSON))
    assert (line["status"], line["error"], line["level"], line["upstream_ms"]) == (400, "invalid_json", "info", None)
    assert books.sample("askonce_upstream_attempts_total") == 0
    assert books.sample("askonce_upstream_failures_total") == 0


@pytest.mark.parametrize("fields", [{"status": 200}, {"status": 404}, {"outcome": Outcome.ABANDONED}])
def test_what_the_client_did_is_no_upstream_failure(books: Books, fields: dict[str, object]) -> None:
    """Good answers, the client's own mistakes and leavers are not the upstream's failures."""
    books.settle(**RELAYED | fields)
    assert books.sample("askonce_upstream_failures_total") == 0


def test_a_model_is_known_once_an_upstream_answered(books: Books) -> None:
    """Tokens of a name that was only ever refused go to `other`."""
    usage = b'{"usage":{"prompt_tokens":5,"completion_tokens":7}}'
    books.settle(**RELAYED | {"status": 404, "usage_text": usage})
    assert books.sample("askonce_tokens_total", 'model="other"', 'kind="input"') == 5
    good = books.exchange(**RELAYED | {"usage_text": usage})
    books.accounting.open(good)
    books.accounting.close(good)
    assert books.sample("askonce_tokens_total", 'model="gpt-4o"', 'kind="output"') == 7


def test_names_from_outside_cannot_forge_a_line(books: Books) -> None:
    """A model or request id is cut short, freed of control characters and masked if it looks like a key."""
    line = books.settle(**RELAYED | {"model": "x\n\x1b[31m\ud83d" + "y" * 500, "upstream_id": b"sk-canary-0002"})
    assert len(line["model"]) <= 129
    assert line["model"].isprintable()
    assert "canary" not in line["request_id"]


def test_a_line_has_the_time_of_the_end(books: Books) -> None:
    """By the clock of the day, however long after that it is written down."""
    wall = datetime(2026, 9, 21, 14, 13, 20, 123_456, UTC).timestamp()
    books.log.wall = lambda: wall + books.clock()
    exchange = books.exchange(**RELAYED)
    books.accounting.open(exchange)
    books.clock.advance(1.0)
    ended = books.clock()
    books.accounting.close(exchange)
    books.clock.advance(2.5)
    (line,) = books.lines()
    assert line["time"] == datetime.fromtimestamp(wall + ended, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def test_nothing_secret_is_in_the_line(books: Books) -> None:
    """Neither key nor query nor path."""
    books.settle(**RELAYED)
    text = books.path.read_text()
    assert "canary" not in text
    assert "secret" not in text
    assert "/v1" not in text


def test_accounting_never_raises(books: Books) -> None:
    """An exchange that cannot be recorded costs a line in the log, not the pipeline's last stage."""
    exchange = books.exchange(started_at="not a time: sk-canary-0003")
    books.accounting.open(exchange)
    books.accounting.close(exchange)
    assert books.accounting.in_flight == 0
    (line,) = books.lines()
    assert (line["event"], line["error"]) == ("accounting_failed", "TypeError")
    assert line["at"].startswith("proxy/accounting.py:")


def test_a_bug_is_an_error_in_the_log(books: Books) -> None:
    """internal_error stands out from what upstreams and clients do."""
    line = books.settle(outcome=Outcome.FAILED, failure=Failure(Kind.INTERNAL))
    assert (line["level"], line["status"]) == ("error", 500)


def test_the_log_thread_ends_with_the_log(books: Books) -> None:
    """Closing the log leaves no thread behind."""
    books.settle(**RELAYED)
    assert not [thread for thread in threading.enumerate() if thread.name == "askonce-log"]


def test_a_refusal_without_an_exchange_is_told(books: Books) -> None:
    """Bytes that are no request get one line and one count, as every answer does."""
    books.accounting.refused(Failure(Kind.HEADERS_TOO_LARGE), "call0009", "192.0.2.9", 120, 0.25)
    assert books.sample("askonce_requests_total", 'status="431"', 'outcome="refused"', 'method="other"') == 1
    line = books.lines()[-1]
    assert (line["call_id"], line["status"], line["error"]) == ("call0009", 431, "request_headers_too_large")
    assert (line["peer"], line["bytes_out"], line["duration_ms"]) == ("192.0.2.9", 120, 250.0)
    assert books.sample("askonce_response_bytes_total") == 120
    assert books.sample("askonce_request_duration_seconds_sum", 'route="unknown"') == 0.25


def test_lines_stand_in_the_order_in_which_things_ended(books: Books) -> None:
    """Whoever writes them down in batches."""
    exchange = books.exchange(**RELAYED)
    books.accounting.open(exchange)
    books.accounting.close(exchange)
    books.accounting.refused(Failure(Kind.HEADERS_TOO_LARGE), "call0009", "192.0.2.9", 0, 0.0)
    assert [line["call_id"] for line in books.lines()] == ["call0001", "call0009"]


def test_all_attempts_are_time_spent_upstream(books: Books) -> None:
    """From the first on: the gateway is not to blame for what had to be asked again."""
    books.clock.advance(1.0)
    now = books.clock()
    times = {"started_at": now - 0.9, "identified_at": now - 0.9, "received_at": now - 0.9, "asked_at": now - 0.8}
    line = books.settle(**RELAYED | times | {"upstream_started_at": now - 0.1, "upstream_ended_at": now, "attempts": 2})
    assert line["upstream_ms"] == pytest.approx(800.0, abs=0.01)
    assert books.sample("askonce_gateway_overhead_seconds_sum") == pytest.approx(0.1)
