"""Structured lines that nobody waits for."""

import asyncio
import fcntl
import logging
import os
import pty
import re
import select
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.telemetry.capture import capture_logging, loop_exception_handler
from proxy.telemetry.log import Log, RequestLine
from proxy.telemetry.redact import described, printable, redacted
from tests.fakes.polling import until

WALL = 1_790_000_000.123_456


class Output:
    """A pipe with a log at its other end."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.lost = 0
        self._logs: list[Log] = []

    def log(self, **options: Any) -> Log:
        defaults: dict[str, Any] = {"style": "json", "on_lost": self._lose, "wall": lambda: WALL}
        log = Log(fd=self.writing, **defaults | options)
        self._logs.append(log)
        return log

    def _lose(self, lines: int) -> None:
        self.lost += lines

    def fill(self) -> None:
        """Until the pipe takes nothing more."""
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.writing, False)
        try:
            while True:
                os.write(self.writing, b"\n" * 4096)
        except BlockingIOError:
            os.set_blocking(self.writing, True)

    def text(self) -> str:
        """What has been written, once the logs are closed."""
        for log in self._logs:
            assert log.close()
        os.set_blocking(self.reading, False)
        chunks = []
        try:
            while chunk := os.read(self.reading, 65_536):
                chunks.append(chunk)
        except BlockingIOError:
            pass
        return b"".join(chunks).decode()

    def lines(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.text().splitlines() if line]

    def end(self) -> None:
        os.close(self.reading)
        for log in self._logs:
            log.close()
        os.close(self.writing)


@pytest.fixture
def output() -> Iterator[Output]:
    output = Output()
    yield output
    output.end()


def request_line(**fields: Any) -> RequestLine:
    defaults: dict[str, Any] = {
        "time": "2026-09-21T14:13:20.123Z",
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
        "duration_ms": 812.5,
        "ttfb_ms": 310.25,
        "upstream_ms": 800.0,
        "upstream": "openai",
        "attempts": 1,
        "stream": True,
        "cache": "MISS",
        "key": "k1",
        "peer": "192.0.2.7",
    }
    return RequestLine(**defaults | fields)


def test_an_event_is_one_json_line(output: Output) -> None:
    """Time in RFC 3339 with milliseconds, level, event, then its fields."""
    output.log().info("listening", url="http://127.0.0.1:8080", workers=2)
    assert output.text() == (
        '{"time":"2026-09-21T14:13:20.123Z","level":"info","event":"listening",'
        '"url":"http://127.0.0.1:8080","workers":2}\n'
    )


def test_the_time_moves_on(output: Output) -> None:
    """A stamp is right in the second, the next second, and after the clock was set back."""
    now = [WALL]
    log = output.log(wall=lambda: now[0])
    for step in (0.0, 0.9, -2.0):
        now[0] += step
        log.info("tick")
    times = [line["time"][17:] for line in output.lines()]
    assert times == ["20.123Z", "21.023Z", "19.023Z"]


def test_levels_below_the_threshold_are_silent(output: Output) -> None:
    """At `warning`, only warnings and errors are written, requests by their own level."""
    log = output.log(level="warning")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    log.request(request_line(call_id="quiet"))
    log.request(request_line(level="warning", call_id="loud"))
    assert [line.get("call_id", line["event"]) for line in output.lines()] == ["c", "d", "loud"]


def test_lines_keep_their_order_across_threads_whole(output: Output) -> None:
    """Four threads' lines all arrive whole, each thread's in its order."""
    log = output.log()
    fcntl.fcntl(output.writing, fcntl.F_SETPIPE_SZ, 1 << 20)

    def work(name: int) -> None:
        for number in range(500):
            log.info("tick", thread=name, number=number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = output.lines()
    for name in range(4):
        assert [line["number"] for line in lines if line["thread"] == name] == list(range(500))


async def test_a_stuck_pipe_costs_lines_not_time(output: Output) -> None:
    """With nobody reading, writing goes on; lines beyond the bound are counted, and told of afterwards."""
    output.fill()
    log = output.log(limit=50_000)
    for number in range(2_000):
        log.info("tick", number=number, filler="x" * 100)
    assert output.lost > 1_000
    assert "held=" in repr(log)
    lost = output.lost
    fcntl.fcntl(output.writing, fcntl.F_SETPIPE_SZ, 1 << 20)
    os.set_blocking(output.reading, False)
    os.read(output.reading, 4_096)
    await until(lambda: " lost=0>" in repr(log))
    lines = output.lines()
    assert [line["lines"] for line in lines if line["event"] == "log_lines_lost"] == [lost]
    assert [line["number"] for line in lines if line["event"] == "tick"] == list(range(2_000 - lost))


def test_a_close_has_a_deadline(output: Output) -> None:
    """With a stuck pipe, close gives up in time and says so."""
    output.fill()
    log = output.log()
    log.info("never seen")
    assert not log.close(timeout=0.1)
    log.info("too late")
    assert output.lost == 1
    os.read(output.reading, 4_096)


def test_a_reader_that_left_is_survived() -> None:
    """A broken pipe loses lines and counts them; nothing is raised."""
    reading, writing = os.pipe()
    lost: list[int] = []
    log = Log(style="json", fd=writing, on_lost=lost.append)
    os.close(reading)
    log.info("a")
    log.info("b")
    assert log.close()
    assert sum(lost) == 2
    os.close(writing)


def test_a_pipe_that_does_not_block_loses_nothing(output: Output) -> None:
    """A descriptor that somebody made non-blocking is waited for."""
    log = output.log()
    os.set_blocking(output.writing, False)
    for number in range(2_000):
        log.info("tick", number=number, filler="x" * 100)
    collected = bytearray()
    reader = threading.Thread(target=lambda: collected.extend(_read_all(output.reading, 2_000)))
    reader.start()
    reader.join(5.0)
    assert collected.count(b"\n") == 2_000
    assert output.lost == 0


def _read_all(fd: int, lines: int) -> bytes:
    data = bytearray()
    while data.count(b"\n") < lines:
        data += os.read(fd, 65_536)
    return bytes(data)


def test_lines_of_two_processes_do_not_mix(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write is of whole lines, and no more than a pipe takes at once; so that workers can share one."""
    real, pieces = os.write, list[bytes]()

    def write(fd: int, data: memoryview) -> int:
        pieces.append(bytes(data))
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    log = output.log()
    for number in range(100):
        log.info("tick", number=number, filler="x" * 300)
    assert len(output.lines()) == 100
    assert all(len(piece) <= select.PIPE_BUF and piece.endswith(b"\n") for piece in pieces)
    assert len(pieces) < 20


def test_a_write_cut_short_spoils_no_later_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle of a line: the next line stands on its own."""
    real, torn = os.write, [False, True]

    def write(fd: int, data: memoryview) -> int:
        if not torn:
            return real(fd, data)
        if torn.pop():
            return real(fd, data[:10])
        raise OSError(28, "No space left on device")

    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    lost: list[int] = []
    monkeypatch.setattr(os, "write", write)
    first = Log(style="json", fd=fd, on_lost=lost.append)
    first.info("cut")
    deadline = time.monotonic() + 2
    while not lost and time.monotonic() < deadline:
        pass
    first.info("whole")
    assert first.close()
    os.close(fd)
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert msgspec.json.decode(lines[1])["event"] == "whole"
    assert [msgspec.json.decode(line)["lines"] for line in lines if b"log_lines_lost" in line] == [1]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("key sk-canary-abcdef1234 used", "key *** used"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("{'api-key': 'canary-0123456789'}", "{'api-key': '***'}"),
        ("x-api-key=canary-0123456789", "x-api-key=***"),
        ("(b'authorization', b'canary 1')", "(b'authorization', b'*** 1')"),
        ("Basic Y2FuYXJ5OmNhbmFyeQ==", "Basic ***"),
        ("ek_canary0123456789", "***"),
        ("GET http://h/v1/x?key=canary&b=1 HTTP/1.1", "GET http://h/v1/x?*** HTTP/1.1"),
        ("nothing to hide: risk-free task-list", "nothing to hide: risk-free task-list"),
    ],
)
def test_what_looks_like_a_key_is_masked(text: str, left: str) -> None:
    """Keys, credentials and query strings do not survive; ordinary words do."""
    assert redacted(text) == left


def test_fields_of_events_are_masked(output: Output) -> None:
    """A key in a field does not reach the output."""
    output.log().warning("reload_refused", reason="upstreams.openai.key: sk-canary-0001")
    assert output.lines()[0]["reason"] == "upstreams.openai.key: ***"


def test_text_is_bounded_and_printable() -> None:
    """No line ends, no escapes, no surrogates, no novels."""
    assert printable("a\nb\x1b[31m\ud83d\u202e") == "a�b�[31m��"
    assert len(redacted("x" * 1_000_000)) == 501


def test_an_exception_is_described_without_its_values() -> None:
    """Type and place in our code."""
    try:
        Log(level="sk-canary")  # type: ignore[arg-type]
    except KeyError as error:
        fields = described(error)
    assert fields["error"] == "KeyError"
    assert re.fullmatch(r"proxy/telemetry/log\.py:\d+ __init__", fields["at"])


def test_fields_of_any_type_are_written(output: Output) -> None:
    """Exceptions, paths and secrets in fields become redacted text; bytes and reserved names do no harm."""
    output.log().info("odd", error=ValueError("Bearer canary"), path=Path("/x"), fields=["sk-ok"], time="mine")
    (line,) = output.lines()
    assert line["error"] == "Bearer ***"
    assert line["path"] == "/x"
    assert line["time"].startswith("2026-")


def test_libraries_speak_through_the_log(output: Output) -> None:
    """A record of `logging` is one redacted line with the exception's place, and no values."""
    restore = capture_logging(output.log())
    try:
        try:
            _raise("sk-canary-0001")
        except ValueError:
            logging.getLogger("aiohttp.server").exception("Error handling sk-canary-0002\nfuture: canary")
        logging.getLogger("quiet").info("not heard")
        logging.getLogger("odd").warning("%d arguments", "canary")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    finally:
        restore()
    text = output.text()
    assert "canary" not in text
    lines = [msgspec.json.decode(line) for line in text.splitlines()]
    assert [line["logger"] for line in lines] == ["aiohttp.server", "odd", "py.warnings"]
    assert lines[0]["level"] == "error"
    assert lines[0]["error"] == "ValueError"
    assert lines[0]["message"] == "Error handling ***"
    assert not any(type(handler).__module__.startswith("proxy") for handler in logging.getLogger().handlers)


def _raise(value: str) -> None:
    raise ValueError(value)


async def test_an_event_loops_complaint_is_one_line(output: Output) -> None:
    """An unnoticed exception is told by type and place; a complaint without one by its message."""
    handle = loop_exception_handler(output.log())
    loop = asyncio.get_running_loop()
    handle(loop, {"message": "Task exception was never retrieved\ncanary", "exception": ValueError("canary")})
    handle(loop, {"message": "Something else", "future": "canary"})
    first, second = output.lines()
    assert (first["event"], first["error"], first["message"]) == (
        "event_loop",
        "ValueError",
        "Task exception was never retrieved",
    )
    assert second["message"] == "Something else"


def test_text_is_for_people(output: Output) -> None:
    """Without JSON, a request is its essentials in one plain line."""
    log = output.log(style="text")
    log.request(request_line())
    log.request(
        request_line(status=502, level="warning", outcome="failed", error="upstream_error", detail="late", ttfb_ms=None)
    )
    log.info("listening", url="http://127.0.0.1:8080")
    first, second, third = output.text().splitlines()
    assert first.startswith(
        "14:13:20.123 info    200  POST chat/completions  gpt-4o  812 ms  first byte 310 ms  200 B in"
    )
    assert second.startswith("14:13:20.123 warning 502  POST chat/completions  gpt-4o  812 ms  200 B in, 400 B out")
    assert second.endswith("  failed  upstream_error  late  call0001")
    assert third == "14:13:20.123 info    listening url=http://127.0.0.1:8080"


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_coloured_text(monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool) -> None:  # noqa: FBT001
    """`auto` recognises a terminal; NO_COLOR is obeyed."""
    monkeypatch.setenv("NO_COLOR", no_color)
    leader, follower = pty.openpty()
    try:
        log = Log(fd=follower)
        log.info("listening")
        assert log.close()
        text = os.read(leader, 4_096)
    finally:
        os.close(leader)
        os.close(follower)
    assert b"listening" in text
    assert (b"\x1b[" in text) is coloured


def test_auto_is_json_where_nobody_looks(output: Output) -> None:
    """A pipe gets JSON."""
    output.log(style="auto").info("x")
    assert output.lines()[0]["event"] == "x"
