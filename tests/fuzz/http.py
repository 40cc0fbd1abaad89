"""Requests and responses that are well-formed, and ways to spoil them."""

from hypothesis import strategies as st

__all__ = ["cuts", "pipelined", "requests", "responses", "spoiled", "streams"]

TOKEN = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
VALUE = st.text(st.sampled_from('abc xyz,;="()\t\x80\xe9\xff/'), max_size=12).map(lambda text: text.strip(" \t"))
NAMES = st.text(TOKEN, min_size=1, max_size=8).filter(
    lambda name: name.lower() not in {"host", "connection", "upgrade", "expect", "te"}
)
SPOILERS = st.sampled_from([
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b",", b":", b";", b"+", b"-", b"0", b"1", b"f", b"0x", b"\x7f", b"\xff",
    b"\x0b", b"\r\n ", b"\n\n", b"\r\n\r\n", b"_", b"chunked", b"HTTP/1.1", b"HTTP/1.0",
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"Content-Length: 5\r\n", b"content-length: 3\r\n", b"Content-Length : 5\r\n", b"Content-Length: +5\r\n",
    b"Content-Length: 5, 5\r\n", b"Content-Length: 18446744073709551616\r\n", b"Content-Length: 0x5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding:\x0bchunked\r\n",
    b"transfer-encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked \r\n", b"Transfer_Encoding: chunked\r\n", b" Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: content-length\r\n", b"Host: b\r\n", b"0\r\n\r\n", b"5;x=y\r\nhello\r\n",
])  # fmt: skip


@st.composite
def field_lines(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.tuples(NAMES, VALUE), max_size=4))
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in lines)


@st.composite
def framed(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Framing fields, and a body that follows them."""
    body = draw(st.binary(max_size=40))
    if draw(st.booleans()):
        name = draw(st.sampled_from([b"content-length", b"Content-Length", b"CONTENT-LENGTH"]))
        return b"%b: %d\r\n" % (name, len(body)), body
    wire, rest = b"", body
    while rest:
        size = draw(st.integers(1, len(rest)))
        extension = draw(st.sampled_from([b"", b"", b";a", b";a=b", b';a="b c"']))
        zeros = draw(st.sampled_from([b"", b"0", b"000"]))
        wire += b"%b%x%b\r\n%b\r\n" % (zeros, size, extension, rest[:size])
        rest = rest[size:]
    trailers = draw(st.sampled_from([b"", b"", b"x-sum: 1\r\n", b"x-a: \xe9\r\nx-b:\r\n"]))
    return b"transfer-encoding: chunked\r\n", wire + b"0\r\n" + trailers + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]))
    target = draw(st.sampled_from(["/", "/v1/models", "/v1/a%2Fb?x=1&y=%00", "http://other/v1/x", "/v1/~!$'()*+,;=:@"]))
    extra = draw(st.sampled_from([b"", b"", b"", b"connection: keep-alive\r\n", b"expect: 100-continue\r\n"]))
    framing, body = draw(st.one_of(st.just((b"", b"")), framed()))
    lines = [draw(field_lines()), b"host: a\r\n", framing, extra]
    draw(st.randoms(use_true_random=False)).shuffle(lines)
    return f"{method} {target} HTTP/1.1\r\n".encode() + b"".join(lines) + b"\r\n" + body


pipelined = st.lists(requests(), min_size=1, max_size=4).map(b"".join)


INTERIM = st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\na: b\r\n\r\n"])


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    interim = b"".join(draw(st.lists(INTERIM, max_size=2)))
    status = draw(st.sampled_from([200, 201, 204, 304, 400, 429, 500, 599, 101]))
    framing, body = draw(st.one_of(st.just((b"", b"until the end")), framed()))
    if status in {204, 304}:
        framing, body = b"", b""
    if status == 101:
        framing, body = b"connection: upgrade\r\nupgrade: websocket\r\n", b"\x81\x01a"
    reason = draw(st.sampled_from([b"OK", b"", b"Some reason \xe9"]))
    return interim + b"HTTP/1.1 %d %b\r\n" % (status, reason) + draw(field_lines()) + framing + b"\r\n" + body


@st.composite
def spoiled(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """One to three accidents to a valid message."""
    data = draw(messages)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        # Line starts are where a smuggler writes.
        if draw(st.booleans()) and b"\r\n" in data:
            starts = [i + 2 for i in range(len(data)) if data[i : i + 2] == b"\r\n"]
            place = starts[place % len(starts)]
        removed = draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
        data = data[:place] + draw(st.one_of(SPOILERS, st.just(b""), st.binary(max_size=3))) + data[place + removed :]
    return data


CHUNKS = st.sampled_from([
    b"3\r\na\n\n\r\n", b"7\r\nhello\n\n\r\n", b"a\r\n01234567\n\n\r\n", b"A\r\n01234567\n\n\r\n",
    b"07\r\nhello\n\n\r\n", b"7;x=y\r\nhello\n\n\r\n", b"4\r\n1\r\n\n\r\n", b"2\r\n\n\n\r\n",
    b"102\r\n%b\n\n\r\n" % (256 * b"x"), b"8\r\n1\r\na\n\n\r\n\r\n", b"7\r\nerror\n\n\r\n", b"7\r\nhell\n\n\r\n",
    b"6\r\nhello\n\n\r\n", b"+7\r\nhello\n\n\r\n", b"0x7\r\nhello\n\n\r\n", b"7\nhello\n\n\r\n",
    b" 7\r\nhello\n\n\r\n", b"7 \r\nhello\n\n\r\n", b"7\r\nhello\r\n", b"0\r\n", b"1", b"0\r\n\r\n", b"7", b"7\r",
    b"\r", b"\n", b"\r\n", b"7\r\n", b"hello", b"7\r\nhello\n\n\r", b"7\r\nhello\n\n", b"\n\n\r\n", b"X-A: b\r\n",
    b"X-A: b\n\n\r\n",
])  # fmt: skip
chunked_reads = st.lists(st.one_of(CHUNKS, CHUNKS, st.binary(min_size=1, max_size=4)), max_size=12)
"""What may come, read by read, behind the head of a chunked answer."""

cuts = st.lists(st.integers(0, 4_000), max_size=12)

LINES = st.sampled_from([
    b'data: {"a":1}', b"data:x", b"data", b"data:", b"data:  two", b"event: error", b"event:e", b": comment", b":",
    b"retry: 5", b"", b"", b"", b"\xef\xbb\xbf", b"data: [DONE]", b"data: \xc3\xa9\xe2\x80\xa8\xc2\x85", b"id: 1",
    b"data: \x0b\x0c\x1c",
    b"nonsense", b"\xef\xbb\xbfdata: late", b"dat", b"datas: no", b" data: no", b"data : no", b"event", b"data: a: b",
])  # fmt: skip
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r", b""])
CRUMBS = st.sampled_from([b"\r", b"\n", b"data", b":", b" ", b"a", b"event", b"\xef\xbb\xbf", b"\0"])
streams = st.one_of(
    st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=14).map(b"".join),
    st.lists(CRUMBS, max_size=30).map(b"".join),
)
