"""H7, H10: answers that come before the body was read, and what the connection carries afterwards."""

from typing import Any

import pytest

from tests.fakes.gateway import StartGateway
from tests.fakes.raw import compose
from tests.fakes.upstream import ScriptedUpstream

EXPECT = ("expect", "100-continue")
HIDDEN = compose("GET", "/v1/models/hidden")
EARLY = {
    "413": ("/v1/chat/completions", [("api-key", "sk-a"), ("content-length", "5000000")], "request_too_large"),
    "413 upload": ("/v1/files", [("api-key", "sk-a"), ("content-length", "5000000")], "request_too_large"),
    "401": ("/v1/chat/completions", [("content-length", str(len(HIDDEN)))], "invalid_api_key"),
    "404": ("/nowhere", [("content-length", str(len(HIDDEN)))], "unknown_route"),
    "405": ("/v1/models", [("content-length", str(len(HIDDEN)))], "method_not_allowed"),
}  # fmt: skip
CAPS: dict[str, Any] = {
    "auth__require_key": True,
    "http__max_json_bytes": 1_000_000,
    "http__max_upload_bytes": 1_000_000,
}


@pytest.mark.parametrize("case", EARLY)
async def test_h7_a_refusal_needs_no_body(start: StartGateway, upstream: ScriptedUpstream, case: str) -> None:
    """The final status at once, no 100, no byte upstream."""
    target, headers, code = EARLY[case]
    gateway = await start(**CAPS)
    async with gateway.client() as client:
        await client.send(compose("POST", target, b"", [*headers, EXPECT]))
        response = await client.response()
        assert (response.status, response.error_code, response.interim) == (int(case[:3]), code, [])
    assert upstream.requests == []


async def test_h7_a_good_one_is_invited(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """100, then 200; and again on the same connection."""
    gateway = await start(**CAPS)
    async with gateway.client() as client:
        for _ in range(2):
            data = compose(body={"model": "m"}, headers=[EXPECT, ("api-key", "sk-a")])
            head, _, body = data.partition(b"\r\n\r\n")
            await client.send(head + b"\r\n\r\n")
            assert await client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            response = await client.response()
            assert (response.status, response.header(b"connection")) == (200, None)
    assert upstream.accepted == 1


@pytest.mark.parametrize("with_body", [True, False])
@pytest.mark.parametrize("case", EARLY)
async def test_h10_an_unread_body_is_never_a_request(
    start: StartGateway, upstream: ScriptedUpstream, case: str, with_body: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Refused before its body was read: the body's bytes, and the request behind them, are not parsed as requests."""
    target, headers, code = EARLY[case]
    gateway = await start(**CAPS)
    async with gateway.client() as client:
        head = compose("POST", target, b"", headers)
        if with_body:
            head += HIDDEN[:-1]
        await client.send(head)
        response = await client.response()
        assert (response.error_code, response.header(b"connection")) == (code, b"close")
        await client.send(HIDDEN * 3)
        assert await client.closed()
    assert upstream.requests == []


async def test_h10_a_body_that_was_here_lets_the_connection_live(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """Refused with its whole body in hand: the request behind it is served."""
    gateway = await start(**CAPS)
    async with gateway.client() as client:
        refused = compose("POST", "/v1/chat/completions", b"GET / HTTP/1.1\r\n\r\n")
        await client.send(refused + compose("GET", "/v1/models", headers=[("api-key", "sk-a")]))
        first = await client.response()
        assert (first.status, first.header(b"connection")) == (401, None)
        assert (await client.response()).status == 200
    assert upstream.request.target == b"/v1/models"
