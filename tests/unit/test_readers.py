"""What the readers accept, what they refuse, and how much they hold."""

import re
import time
import tracemalloc
from collections.abc import Callable
from typing import final

import pytest

from proxy.http1.messages import BadMessage, Caps, Defect, Known, RequestHead
from proxy.http1.readers import RequestReader, ResponseReader
from tests.fuzz.recording import Recorder, read_requests, read_responses

HOST = b"host: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


def get(fields: bytes = HOST, target: bytes = b"/", version: bytes = b"1.1") -> bytes:
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + fields + b"\r\n"


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (b"/", ("/", b"")),
        (b"/a?b", ("/a", b"b")),
        (b"/%C3??", ("/%C3", b"?")),
        (b"*", ("*", b"")),
        (b"http://h", ("/", b"")),
        (b"http://h/", ("/", b"")),
        (b"http://h?a=/b", ("/", b"a=/b")),
        (b"http://h/a?b=/c", ("/a", b"b=/c")),
        (b"HTTPS://u@h:1/a", ("/a", b"")),
    ],
)
def test_targets_become_origin_form(target: bytes, seen: tuple[str, bytes]) -> None:
    """Path and query; the authority is dropped."""
    assert read_requests([get(target=target)])[0][2] == seen


@pytest.mark.parametrize(
    ("fields", "coding"),
    [
        (b"", b""),
        (b"Content-Encoding: gzip\r\n", b"gzip"),
        (b"content-encoding: identity\r\nx: y\r\nContent-encoding: br\r\n", b"identity, br"),
    ],
)
def test_a_coding_is_all_that_is_said_of_it(fields: bytes, coding: bytes) -> None:
    """A field that comes twice is a list (RFC 9110 §5.3)."""
    assert read_requests([get(HOST + fields)])[0][-2] == coding


@pytest.mark.parametrize(
    ("data", "defect"),
    [
        (get(b""), Defect.MALFORMED),
        (get(HOST * 2), Defect.MALFORMED),
        (get(version=b"0.9"), Defect.BAD_VERSION),
        (get(version=b"2.0"), Defect.BAD_VERSION),
        (get(version=b"1.2"), Defect.MALFORMED),
        (get(target=b"ftp://h/"), Defect.MALFORMED),
        (get(target=b"/a#b"), Defect.MALFORMED),
        (get(target=b"h:443"), Defect.MALFORMED),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Defect.MALFORMED),
        (b"CONNECT h:1 HTTP/1.1\r\nhost: a\r\n\r\n", Defect.BAD_METHOD),
        (b"GETT / HTTP/1.1\r\nhost: a\r\n\r\n", Defect.BAD_METHOD),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Defect.BAD_METHOD),
        (get(HOST + b"content-length: " + b"0" * 5_000 + b"\r\n"), Defect.MALFORMED),
        (get(HOST + b"x" * 9_000 + b": y\r\n"), Defect.HEAD_TOO_LARGE),
        (get(HOST + b"a: b\r\n" * 128), Defect.HEAD_TOO_LARGE),
        (get(target=b"/" + b"t" * 9_000), Defect.HEAD_TOO_LARGE),
    ],
)
def test_refusals_have_a_name(data: bytes, defect: Defect) -> None:
    """And nothing is reported before one, or behind it."""
    assert read_requests([data + get()]) in (
        [("bad", defect)],
        [("bad", Defect.MALFORMED)] if b" HTTP/1.2" in data else None,
    )


def test_a_reader_knows_that_a_message_has_begun() -> None:
    """From its first byte to its last, also when both came with those of others."""
    reader = RequestReader(Recorder(), Caps(), Known())
    states = []
    for block in (b"", b"G", get()[1:], get() + b"GE", get()[2:] + CHUNKED, b"1\r\na", b"\r\n0\r\n\r\n"):
        reader.feed(block)
        states.append(reader.mid_message)
    assert states == [False, True, False, True, True, True, False]


def test_a_head_just_within_the_caps() -> None:
    """Lines, line length and total are inclusive."""
    caps = Caps(header_bytes=300, head_bytes=700, headers=4)
    longest = b"x: " + b"y" * 295 + b"\r\n"
    assert read_requests([get(HOST + longest * 2)], caps)[-1] == ("end",)
    assert read_requests([get(HOST + longest.replace(b"x", b"xx"))], caps)[-1][0] == "bad"
    assert read_requests([get(HOST + b"a: b\r\n" * 3)], caps)[-1] == ("end",)
    assert read_requests([get(HOST + b"a: b\r\n" * 4)], caps)[-1][0] == "bad"
    assert read_requests([get(HOST + longest * 2 + b"z: " + b"y" * 90 + b"\r\n")], caps)[-1][0] == "bad"


@pytest.mark.parametrize("token", [b"websocket", b"WebSocket", b"foo/2, bar"])
def test_an_upgrade_opens_a_tunnel(token: bytes) -> None:
    """What follows its head belongs to the new protocol."""
    head = get(HOST + b"connection: Upgrade\r\nupgrade: " + token + b"\r\n")
    for blocks in ([head + b"GET / HT", b"TP\r\n"], [head, b"GET / HTTP\r\n"]):
        events = read_requests(blocks)
        assert [event[0] for event in events] == ["head", "end", "tunnel"]
        assert (events[0][-1], events[0][5], events[2][1]) == (token, False, b"GET / HTTP\r\n")


@pytest.mark.parametrize(
    "fields",
    [
        b"upgrade: websocket\r\n",
        b"connection: upgrade\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 1\r\n",
    ],
)
def test_an_upgrade_that_is_none(fields: bytes) -> None:
    """Goes on as plain HTTP/1.1."""
    body = b"x" if b"length" in fields else b""
    events = read_requests([get(HOST + fields) + body + get()])
    assert [event[0] for event in events if event[0] != "body"] == ["head", "end", "head", "end"]
    assert [event[-1] for event in events if event[0] == "head"] == [b"", b""]


@pytest.mark.parametrize(
    ("data", "head_only", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", False, ["head", "end"]),
        (b"HTTP/1.1 304 X\r\ncontent-length: 10\r\n\r\n", False, ["head", "end"]),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", True, ["head", "end"]),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", True, ["head", "end"]),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", False, ["head", "body", "end"]),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", False, ["head", "body", "end"]),
        (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", False, ["head", "end"]),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", False, ["head", "body", "bad"]),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", False, ["head", "body", "bad"]),
        (b"HTTP/1.1 200 OK\r\ncontent-le", False, ["bad"]),
        (b"", False, ["bad"]),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 17, False, ["bad"]),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", False, ["bad"]),
        (b"HTTP/1.1 099 X\r\n\r\n", False, ["bad"]),
        (b"HTTP/2 200\r\n\r\n", False, ["bad"]),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", False, ["head", "body", "end", "bad"]),
    ],
)
def test_responses_end_as_they_say(data: bytes, head_only: bool, expected: list[str]) -> None:  # noqa: FBT001
    """Or are refused, once the connection has ended."""
    assert [event[0] for event in read_responses([data], heads_only=(head_only,), eof=True)] == expected


def test_an_answer_to_nothing_is_refused() -> None:
    """Bytes on an idle connection, in a block of their own or behind an answer."""
    reader = ResponseReader(Recorder(), Caps())
    with pytest.raises(BadMessage):
        reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    assert [event[0] for event in read_responses([answer + answer])] == ["head", "end", "bad"]


def held_after(feed: Callable[[bytes], None], block: bytes, count: int) -> int:
    """Bytes held once it refused, or has taken all blocks."""
    tracemalloc.start()
    try:
        for _ in range(count):
            feed(block)
    except BadMessage:
        pass
    finally:
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return held


ENDLESS = {
    "target": (b"GET /", b"t" * 10_000),
    "name": (b"GET / HTTP/1.1\r\n", b"n" * 10_000),
    "value": (b"GET / HTTP/1.1\r\nx: ", b"v" * 10_000),
    "blanks": (b"GET / HTTP/1.1\r\nx: ", b" " * 10_000),
    "empty lines": (b"", b"\r\n" * 5_000),
    "lines": (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 2_000),
    "extension": (CHUNKED + b"100000\r\n" + b"x" * (1 << 20) + b"\r\n1;", b"e" * 10_000),
    "trailer": (CHUNKED + b"100000\r\n" + b"x" * (1 << 20) + b"\r\n0\r\nx: ", b"t" * 10_000),
    "trailers": (CHUNKED + b"100000\r\n" + b"x" * (1 << 20) + b"\r\n0\r\n", b"x: y\r\n" * 2_000),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_what_never_ends_is_refused(case: str) -> None:
    """A request without end, wherever: before it fills memory."""

    class Nobody:
        request_head = request_body = request_end = request_whole = tunnel_data = staticmethod(lambda *_: None)

    start, more = ENDLESS[case]
    reader = RequestReader(Nobody(), Caps(), Known())
    reader.feed(start)
    assert held_after(reader.feed, more, 500) < 200_000
    with pytest.raises(BadMessage):
        for _ in range(500):
            reader.feed(more)


@pytest.mark.parametrize("end", [b"0\r\nx: ", b"1;", b"0\r\n"])
def test_answers_that_never_end_are_refused(end: bytes) -> None:
    """In their framing; a body may go on for ever."""
    data = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n100000\r\n" + b"x" * (1 << 20) + b"\r\n" + end
    more = b"x: y\r\n" * 2_000 if end == b"0\r\n" else b"t" * 10_000
    events = read_responses([data] + [more] * 500)
    assert events[-1] == ("bad", Defect.MALFORMED)
    assert read_responses([b"HTTP/1.1 200 OK\r\n\r\n"] + [b"x" * 100_000] * 5)[-1] == ("body", b"x" * 500_000)


def seconds(data: bytes, block: int) -> float:
    """The best of three."""
    best = 1e9
    for _ in range(3):
        begun = time.thread_time()
        read_requests([data[i : i + block] for i in range(0, len(data), block)])
        best = min(best, time.thread_time() - begun)
    return best


SHAPES: dict[str, Callable[[int], bytes]] = {
    "one chunk a byte": lambda n: CHUNKED + b"1\r\nx\r\n" * n + b"0\r\n\r\n",
    "extensions": lambda n: CHUNKED + b"1;abcdef=ghi\r\nx\r\n" * n + b"0\r\n\r\n",
    "requests": lambda n: get() * n,
    "offers of h2c": lambda n: get(HOST + b"connection: upgrade\r\nupgrade: h2c\r\n") * n,
    "a head": lambda n: get(HOST + b"".join(b"x-%d: y\r\n" % i for i in range(n))),
}


@pytest.mark.alone
@pytest.mark.parametrize("block", [1, 4_096])
@pytest.mark.parametrize("shape", SHAPES)
def test_time_is_linear_in_the_input(shape: str, block: int) -> None:
    """Eight times the input takes about eight times as long."""
    size = 110 if shape == "a head" else 2_000
    small, large = SHAPES[shape](size // 8), SHAPES[shape](size)
    assert seconds(large, block) < 3 * len(large) / len(small) * seconds(small, block)


@final
class Heads:
    """Keeps the heads themselves."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.bodies: list[bytes] = []

    def request_head(self, head: RequestHead) -> None:
        self.heads.append(head)

    def request_body(self, chunk: bytes) -> None:
        self.bodies.append(chunk)

    def request_end(self) -> None:
        self.bodies.append(b"end")

    def request_whole(self, head: RequestHead, body: bytes) -> None:
        self.heads.append(head)
        self.bodies += [body, b"end"] if body else [b"end"]

    def tunnel_data(self, data: bytes) -> None:
        raise AssertionError(data)


LENGTH = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n"


@pytest.mark.parametrize("first", [[LENGTH + b"abcd"], [LENGTH, b"abcd"], [LENGTH + b"ab", b"cd"]], ids=repr)
def test_a_head_is_read_once(first: list[bytes]) -> None:
    """The same bytes on another connection are the same head, with a body of their own, however it comes."""
    known, heads = Known(), Heads()
    for blocks in (first, [LENGTH + b"efgh" + LENGTH, b"ij", b"kl"]):
        reader = RequestReader(heads, Caps(), known)
        for block in blocks:
            reader.feed(block)
        assert not reader.mid_message
    assert len({id(head) for head in heads.heads}) == 1
    assert b"".join(heads.bodies) == b"abcdendefghendijklend"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\na",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: %b\r\n\r\n" % (b"x" * 4_096),
    ],
    ids=["1.0", "close", "expect", "chunked", "long"],
)
def test_heads_that_are_read_every_time(head: bytes) -> None:
    """Those whose end does not follow from themselves, or that would fill memory."""
    known, heads = Known(), Heads()
    for _ in range(2):
        RequestReader(heads, Caps(), known).feed(head)
    assert len({id(one) for one in heads.heads}) == 2


def test_the_heads_known_have_a_bound() -> None:
    """A client that never sends the same twice fills no memory; what was used last stays."""
    known, heads = Known(limit=20_000), Heads()
    reader = RequestReader(heads, Caps(), known)
    for number in range(100):
        reader.feed(LENGTH + b"abcd")
        reader.feed(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % number)
    assert len({id(head) for head in heads.heads[::2]}) == 1
    assert re.match(r"<Known 1[0-9] heads, 1[0-9]{4} bytes>", repr(known))
