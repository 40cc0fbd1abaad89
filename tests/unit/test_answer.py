"""An answer on its way out: framing by version, method and status; in order, exactly once."""

from typing import Any

import pytest

from proxy.errors import Failure
from proxy.http1.answer import Answer
from proxy.http1.flow import RequestBody
from proxy.http1.messages import RequestHead


class Connection:
    """As much of a client connection as an answer needs."""

    def __init__(self) -> None:
        self.written = b""
        self.events: list[str] = []
        self.transport = self.clients = self
        self.draining = self.write_paused = self.refusing = self.owes_more = False

    def write(self, data: bytes) -> None:
        self.written += data

    def uncork(self) -> None:
        """All that there is has been written."""

    def answered(self, answer: Answer) -> None:
        self.events.append("answered")

    def broken(self, *, reset: bool) -> None:
        self.events.append("reset" if reset else "closed")


def asked(
    method: str = "GET", *, keep_alive: bool = True, http11: bool = True, ended: bool = True, **head: Any
) -> tuple[Answer, Connection]:
    connection = Connection()
    body = RequestBody(0, connection)  # type: ignore[arg-type]
    if ended:
        body.end()
    fields = {"expect_continue": False, "upgrade": b"", "coding": b"", **head}
    request = RequestHead(method, "/", b"", [], [], 0, keep_alive, http11, **fields)
    return Answer(connection, body, request), connection  # type: ignore[arg-type]


def head_of(connection: Connection) -> set[bytes]:
    head = connection.written.partition(b"\r\n\r\n")[0]
    return {line for line in head.split(b"\r\n")[1:] if not line.startswith(b"date:")}


CHUNKED, CLOSE = b"transfer-encoding: chunked", b"connection: close"


@pytest.mark.parametrize(
    ("asking", "status", "length", "fields"),
    [
        ({}, 200, 5, {b"content-length: 5"}),
        ({}, 200, None, {CHUNKED}),
        ({"method": "HEAD"}, 200, 5, {b"content-length: 5"}),
        ({"method": "HEAD"}, 200, None, set()),
        ({}, 204, None, set()),
        ({}, 304, 5, set()),
        ({"keep_alive": False}, 200, 5, {b"content-length: 5", CLOSE}),
        ({"ended": False}, 200, 5, {b"content-length: 5", CLOSE}),
        ({"upgrade": b"websocket"}, 400, 5, {b"content-length: 5", CLOSE}),
        ({"http11": False}, 200, 5, {b"content-length: 5", b"connection: keep-alive"}),
        ({"http11": False}, 200, None, {CLOSE}),
        ({"http11": False, "keep_alive": False}, 204, None, {CLOSE}),
    ],
)
def test_framing(asking: dict[str, Any], status: int, length: int | None, fields: set[bytes]) -> None:
    """As RFC 9112 §6 has it."""
    answer, connection = asked(**asking)
    answer.start(status, b"", length)
    assert head_of(connection) == fields
    assert answer.keep_alive is (CLOSE not in fields)


@pytest.mark.parametrize("owes", [False, True])
def test_the_last_answer_says_that_it_is(owes: bool) -> None:  # noqa: FBT001
    """Of a connection on which no more requests are taken (RFC 9112 §9.6)."""
    answer, connection = asked()
    connection.refusing, connection.owes_more = True, owes
    answer.respond(200, b"", b"")
    assert (CLOSE in head_of(connection)) is not owes


def test_a_drain_ends_connections() -> None:
    """With the next head that is written."""
    answer, connection = asked()
    connection.draining = True
    answer.respond(200, b"", b"")
    assert CLOSE in head_of(connection)


@pytest.mark.parametrize(
    ("lines", "dates"),
    [
        (b"", 1),
        (b"date: yesterday\r\n", 1),
        (b"a: b\r\ndate: yesterday\r\n", 1),
        (b"x-date: yesterday\r\nx: date: yesterday\r\n", 3),
    ],
)
def test_a_date_of_the_upstreams_stays(lines: bytes, dates: int) -> None:
    """There is one, whoever wrote it."""
    answer, connection = asked()
    answer.respond(200, lines, b"")
    assert connection.written.count(b"date: ") == dates


@pytest.mark.parametrize(("http11", "wire"), [(True, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), (False, b"abcde")])
def test_a_body_of_unknown_length(http11: bool, wire: bytes) -> None:  # noqa: FBT001
    """Chunk by chunk, or bare; an empty write is no end."""
    answer, connection = asked(http11=http11)
    answer.start(200, b"", None)
    for chunk in (b"abc", b"", b"de"):
        answer.write(chunk)
    answer.finish()
    assert connection.written.partition(b"\r\n\r\n")[2] == wire
    assert (answer.sent, connection.events) == (5, ["answered"])


def test_nothing_follows_the_end() -> None:
    """Whoever still tries: it would be read as the next answer."""
    answer, connection = asked()
    answer.respond(200, b"", b"all")
    written = connection.written
    answer.write(b": ping\n\n")
    answer.finish()
    answer.abort()
    answer.respond(500, b"", b"late")
    answer.start(500, b"", None)
    assert (connection.written, connection.events) == (written, ["answered"])


@pytest.mark.parametrize(
    ("http11", "length", "end"),
    [(True, None, "closed"), (True, 9, "closed"), (False, 9, "closed"), (False, None, "reset")],
)
def test_a_broken_answer_shows(http11: bool, length: int | None, end: str) -> None:  # noqa: FBT001
    """By its framing, or by a reset where it has none; once."""
    answer, connection = asked(http11=http11)
    answer.start(200, b"", length)
    answer.write(b"half")
    answer.abort()
    answer.abort()
    answer.finish()
    assert connection.events == [end]
    assert not connection.written.endswith(b"0\r\n\r\n")


def test_a_client_that_left_is_told_nothing() -> None:
    """And its connection has no next request."""
    answer, connection = asked()
    answer.start(200, b"", None)
    written = connection.written
    answer.gone = True
    answer.write(b"x")
    answer.finish()
    assert connection.written == written


def test_an_invitation_goes_out_once() -> None:
    """To a client that waits, before its answer has begun."""
    answer, connection = asked(expect_continue=True, ended=False)
    answer.invite()
    answer.invite()
    assert connection.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    late, connection = asked(expect_continue=True, ended=False)
    late.start(200, b"", 0)
    late.invite()
    assert b"100 Continue" not in connection.written
    sending, connection = asked(expect_continue=True, ended=False)
    assert isinstance(sending.body, RequestBody)
    sending.body.feed(b"x")
    sending.invite()
    assert connection.written == b""


async def test_no_tunnel_without_an_upgrade() -> None:
    """A 101 that nobody asked for is the upstream's error."""
    answer, connection = asked()
    with pytest.raises(Failure):
        await answer.tunnel(object(), [], lambda _, _refuse: None, None)  # type: ignore[arg-type]
    assert (connection.written, answer.started) == (b"", False)


@pytest.mark.parametrize("full", [True, False])
def test_a_source_meets_a_full_buffer(*, full: bool) -> None:
    """The head itself may have filled the client's buffer: the upstream is held back before its first byte."""
    answer, connection = asked()
    connection.write_paused = full
    held: list[str] = []

    class Source:
        def pause(self) -> None:
            held.append("paused")

        def resume(self) -> None:
            held.append("resumed")

    answer.source = Source()
    assert held == (["paused"] if full else [])
    answer.source = None
    assert answer.source is None
