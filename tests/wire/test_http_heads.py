"""Targets, methods and fields: what crosses crosses unchanged, what must not cross does not."""

import pytest

from tests.fakes.answers import Answer
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import ScriptedUpstream

LATIN_1 = bytes([9, *range(32, 127), *range(128, 256)])


@pytest.mark.parametrize(
    "target",
    [
        "/v1/files?purpose=a%20b&x=%00&y=%zz&&z==&w",
        "/v1/files/a%2Fb%3F%23%C3%A9",
        "/v1/files/~!$'()*+,;=:@-._",
        "/v1/files/a//b///",
        "/v1/files?",
        "/v1/models/org/name:tag@1?x=..%2f..",
        "/v1/files/...",
        "/v1/files/a.b/.hidden",
    ],
)
async def test_targets_cross_as_they_are(client: RawClient, upstream: ScriptedUpstream, target: str) -> None:
    """No decoding, no encoding, no normalising; a question mark without a query is no query."""
    assert (await client.ask("GET", target)).status == 200
    assert upstream.request.target == target.removesuffix("?").encode()


@pytest.mark.parametrize(
    "target",
    [
        "/v1/..", "/v1/../admin", "/v1/files/../../x", "/v1/%2e%2e/x", "/v1/.%2E/x", "/v1/files/%2e", "/v1/./x",
        "/v1/a%2f..%2fb",
    ],
)  # fmt: skip
async def test_dot_segments_are_refused(client: RawClient, upstream: ScriptedUpstream, target: str) -> None:
    """However they are written: they could climb out of the upstream's base path."""
    response = await client.ask("GET", target)
    assert (response.status, response.error_code) == (400, "invalid_request")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("http://elsewhere.example/v1/models?x=1", b"/v1/models?x=1"),
        ("HTTPS://elsewhere.example:1/v1/models", b"/v1/models"),
    ],
)
async def test_absolute_targets_stay_here(
    client: RawClient, upstream: ScriptedUpstream, target: str, seen: bytes
) -> None:
    """The path counts; the authority decides nothing."""
    assert (await client.ask("GET", target)).status == 200
    assert upstream.request.target == seen
    assert upstream.request.header(b"host") == upstream.origin.removeprefix("http://").encode()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://elsewhere.example", 404),
        ("http://elsewhere.example?/v1/models", 404),
        ("ftp://elsewhere.example/v1/models", 400),
        ("v1/models", 400),
        ("/v1/models#x", 400),
        ("*", 404),
        ("//v1/models", 404),
    ],
)
async def test_other_targets_reach_nobody(
    client: RawClient, upstream: ScriptedUpstream, target: str, status: int
) -> None:
    """A path that only looks like ours is none."""
    assert (await client.ask("GET", target)).status == status
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["CONNECT", "BREW", "get", "GETX"])
async def test_unknown_methods_are_refused(client: RawClient, upstream: ScriptedUpstream, method: str) -> None:
    """With the methods that there are."""
    response = await client.ask(method, "localhost:443" if method == "CONNECT" else "/v1/models")
    assert (response.status, response.error_code) == (405, "method_not_allowed")
    assert b"GET" in (response.header(b"allow") or b"")
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["PURGE", "PROPFIND", "QUERY", "TRACE"])
async def test_methods_we_know_nothing_of_are_forwarded(
    client: RawClient, upstream: ScriptedUpstream, method: str
) -> None:
    """On paths we know nothing of."""
    assert (await client.ask(method, "/v1/things/1")).status == 200
    assert upstream.request.method == method


async def test_options_is_the_upstreams_business(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Preflights cross both ways."""
    upstream.script(Answer(204, [("access-control-allow-origin", "*"), ("vary", "origin")]))
    headers = [("origin", "https://a.example"), ("access-control-request-method", "POST")]
    response = await client.ask("OPTIONS", "/v1/chat/completions", headers=headers)
    assert (response.status, response.header(b"access-control-allow-origin")) == (204, b"*")
    assert upstream.request.header(b"access-control-request-method") == b"POST"


async def test_every_legal_byte_of_a_field_crosses(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Latin-1 and tabs, both ways; spaces around a value are no part of it."""
    value = b"a" + LATIN_1 + b"z"
    upstream.script(Answer(200, [(b"x-back", value)]))
    await client.send(b"GET /v1/models HTTP/1.1\r\nhost: a\r\nX-There:\t  " + value + b"\r\n\r\n")
    assert (await client.response()).header(b"x-back") == value
    assert upstream.request.header(b"x-there") == value


async def test_fields_keep_their_order_and_number(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Repeated ones are neither joined nor dropped, both ways; empty ones stay."""
    cookies = [
        ("set-cookie", "a=1; path=/"),
        ("vary", "x"),
        ("set-cookie", "b=2"),
        ("x-empty", ""),
        ("set-cookie", "a=1"),
    ]
    upstream.script(Answer(200, cookies))
    mine = [("x-a", "1"), ("cookie", "c=1"), ("x-a", "2"), ("x-none", ""), ("x-a", "1")]
    response = await client.ask("GET", "/v1/models", headers=mine)
    sent = [(name, value) for name, value in upstream.request.headers if name in {b"x-a", b"cookie", b"x-none"}]
    assert sent == [(name.encode(), value.encode()) for name, value in mine]
    assert response.headers[:5] == [(name.encode(), value.encode()) for name, value in cookies]


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/files"])
@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
async def test_an_offer_of_h2c_is_ignored(
    client: RawClient, upstream: ScriptedUpstream, target: str, framing: str
) -> None:
    """As Java's client makes it, with or without a body: HTTP/1.1 goes on, with more requests behind it."""
    offer = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
    ]
    json = b'{"model":"m"}'
    match framing:
        case "length":
            data = compose("POST", target, json, offer)
        case "chunked":
            data = compose(
                "POST", target, b"d\r\n" + json + b"\r\n0\r\n\r\n", [*offer, ("transfer-encoding", "chunked")]
            )
        case _:
            data, json = compose("GET", "/v1/models", b"", offer), b""
    for block in (data[:-5], data[-5:] + data):
        await client.send(block)
    for _ in range(2):
        response = await client.response()
        assert (response.status, response.header(b"connection"), response.interim) == (200, None, [])
    assert [request.body for request in upstream.requests] == [json, json]
    assert b"upgrade" not in upstream.requests[0].raw_head.lower()
    assert b"http2-settings" not in upstream.requests[0].raw_head.lower()


async def test_every_answer_says_who_gave_it(client: RawClient) -> None:
    """Ours, the upstream's, and the refusal of what is no request: both ids, a date, what took how long."""
    answers = [
        await client.ask("GET", "/v1/models"),
        await client.ask("GET", "/nowhere"),
        await client.ask("GET", "/healthz"),
        await client.ask("BREW", "/v1/models"),
    ]
    for answer in answers:
        assert (answer.header(b"x-askonce-call-id") or b"").startswith(b"ask-")
        assert answer.header(b"x-request-id")
        assert b"total;dur=" in (answer.header(b"server-timing") or b"")
        assert (answer.header(b"date") or b"").endswith(b"GMT")
