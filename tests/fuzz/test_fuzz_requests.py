"""Requests, well-formed or not: either messages or one named refusal, whatever the bytes and wherever they are cut."""

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.http1.messages import Known
from tests.fuzz.http import cuts, pipelined, requests, spoiled
from tests.fuzz.oracle import as_h11_reads
from tests.fuzz.recording import Event, pieces, read_requests

ANYTHING = st.one_of(spoiled(pipelined), st.binary(max_size=200))
MORE_LENIENT = re.compile(r"no request line|illegal request line|illegal chunk header: .*0{16}")
"""What llhttp reads in the only way there is to read it, and h11 refuses: blanks and line ends before a request or in
its first line, thousands of zeros."""
POST, GET = b"POST / HTTP/1.1\r\nhost: a\r\n", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
CLOSE = POST + b"connection: close\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
DROPPED = frozenset([
    b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"te", b"trailer", b"upgrade",
    b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"http2-settings",
])  # fmt: skip


def whole(events: list[Event]) -> list[tuple[str, tuple[str, bytes], tuple[tuple[bytes, bytes], ...], bytes]]:
    """The requests that ended: method, path and query, end-to-end fields, body."""
    found = []
    for place, event in enumerate(events):
        if event[0] == "end":
            behind_body = events[place - 1][0] == "body"
            head = events[place - 2] if behind_body else events[place - 1]
            found.append((head[1], head[2], head[3], events[place - 1][1] if behind_body else b""))
    return found


@given(pipelined)
def test_well_formed_requests_are_read(data: bytes) -> None:
    """Each begins with a head and comes to its end; nothing is refused."""
    events = read_requests([data])
    heads, ends = [e for e in events if e[0] == "head"], [e for e in events if e[0] == "end"]
    assert len(heads) == len(ends) == len(as_h11_reads(data).requests)
    assert events[-1] == ("end",)


@given(st.one_of(pipelined, ANYTHING), cuts)
@example(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n\0", [26])
def test_cuts_do_not_matter(data: bytes, cuts: list[int]) -> None:
    """Any split of the bytes gives the same events, and the same refusal."""
    assert read_requests(pieces(data, cuts)) == read_requests([data])


@given(st.lists(st.one_of(requests(), ANYTHING), min_size=1, max_size=4), ANYTHING, cuts, cuts)
@example([b"\r\n\r\n" + GET], b"\r\n\r\n", [], [])
@example([POST + b"content-length: 4\r\n\r\nabcd"], POST + b"content-length: 4\r\n\r\nab", [], [])
@example([GET], CLOSE + GET, [len(CLOSE)], [])
@example([GET], POST + CHUNKED + b"\r\n1a\r\n" + GET + b"\r\n0\r\n\r\n", [61], [])
def test_known_heads_mean_what_they_meant(first: list[bytes], then: bytes, cuts: list[int], others: list[int]) -> None:
    """Whatever was read before on other connections, the same bytes give the same events and the same refusal."""
    known = Known()
    for data in first:
        read_requests(pieces(data, others), known=known)
    for data in (*first, then, b"".join(first) + then):
        assert read_requests(pieces(data, cuts), known=known) == read_requests([data])


@given(ANYTHING)
def test_single_bytes_are_enough(data: bytes) -> None:
    """Byte by byte the events are those of the whole."""
    assert read_requests([data[i : i + 1] for i in range(len(data))]) == read_requests([data])


@settings(max_examples=4 * settings().max_examples)
@given(st.one_of(spoiled(pipelined), spoiled(requests())))
@example(POST + b"content-length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + GET)
@example(POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
@example(POST + b"transfer-encoding: identity\r\n\r\n")
@example(b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n")
@example(POST + b"connection: transfer-encoding\r\n" + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n" + GET)
@example(POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc" + GET)
def test_another_server_reads_the_same(data: bytes) -> None:
    """What is accepted, h11 reads with the same method, target, fields and body: nothing can be smuggled."""
    events = read_requests([data])
    mine = whole(events)
    if any(event[0] == "head" and event[-1] for event in events):
        mine = mine[:-1]
    other = as_h11_reads(data)
    if other.end == "bad" and len(other.requests) < len(mine):
        assert MORE_LENIENT.match(other.why), f"accepted, and refused by h11: {other.why}"
        mine = mine[: len(other.requests)]
    for (method, target, fields, body), theirs in zip(mine, other.requests, strict=False):
        named = {name.strip().lower() for key, value in theirs[2] if key == b"connection" for name in value.split(b",")}
        dropped = DROPPED | named - {b"close", b"keep-alive"}
        assert (method, body) == (theirs[0], theirs[3])
        path, _, query = theirs[1].partition(b"?")
        assert path.decode("latin-1").endswith(target[0]) or target[0] == "/"
        assert query == target[1]
        kept = [(key, value) for key, value in theirs[2] if key not in dropped]
        assert [(key, value.rstrip(b" \t")) for key, value in fields] == kept
    if other.end != "closed":
        assert len(mine) <= len(other.requests)


@given(st.lists(requests(), min_size=2, max_size=4))
def test_a_refused_upgrade_hides_nothing(messages: list[bytes]) -> None:
    """Requests that offer h2c, with a body or without, are read as if they did not."""
    offer = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    plain = [message.replace(b"connection: keep-alive\r\n", b"") for message in messages]
    offering = [message.replace(b"host: a\r\n", b"host: a\r\n" + offer, 1) for message in plain]
    assert read_requests([b"".join(offering)]) == read_requests([b"".join(plain)])
