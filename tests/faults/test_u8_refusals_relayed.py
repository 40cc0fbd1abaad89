"""U8: what an upstream refuses, its client is told as it was said, once."""

import pytest

from tests.fakes.answers import Answer, json_answer
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.gateway import Gateway
from tests.fakes.raw import RawClient
from tests.fakes.upstream import ScriptedUpstream

BODY = {"error": {"message": "No.", "type": "invalid_request_error", "param": "n", "code": None, "extra": [1.50]}}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 529])
async def test_u8_relayed_and_not_retried(upstream: ScriptedUpstream, client: RawClient, status: int) -> None:
    """Status, body bytes and fields of an upstream's error cross unchanged; it is asked once."""
    headers = [("x-request-id", "req_1"), ("x-should-retry", "true"), ("x-ratelimit-remaining-requests", "0")]
    upstream.script(json_answer(BODY, status, headers))
    response = await client.ask(body=CHAT)
    assert (response.status, response.json()) == (status, BODY)
    for name, value in headers:
        assert response.header(name.encode()) == value.encode()
    assert len(upstream.requests) == 1


async def test_u8_retry_after_crosses(upstream: ScriptedUpstream, client: RawClient) -> None:
    """The upstream's own words about when to come back reach the client."""
    upstream.script(json_answer(BODY, 429, [("retry-after", "7"), ("retry-after-ms", "6500")]))
    response = await client.ask(body=CHAT)
    assert (response.header(b"retry-after"), response.header(b"retry-after-ms")) == (b"7", b"6500")


async def test_u8_nobody_is_told_to_come_back_in_a_year(upstream: ScriptedUpstream, client: RawClient) -> None:
    """Nor before now: more than a day is a day, and what makes no sense is left out."""
    upstream.script(json_answer(BODY, 503, [("retry-after", "31536000"), ("retry-after-ms", "-5")]))
    response = await client.ask(body=CHAT)
    assert (response.header(b"retry-after"), response.header(b"retry-after-ms")) == (b"86400", None)


async def test_u8_a_refused_stream_is_a_status(upstream: ScriptedUpstream, client: RawClient) -> None:
    """A stream that is refused at once is answered with the upstream's status, not with an event."""
    upstream.script(json_answer(BODY, 429))
    response = await client.ask(body=STREAM)
    assert (response.status, response.json()) == (429, BODY)


async def test_u8_counted_as_relayed(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient) -> None:
    """A relayed 4xx is no failure of the gateway's."""
    upstream.script(Answer(404))
    await client.ask(body=CHAT)
    await gateway.settled()
    assert await gateway.sample("askonce_requests_total", status="404", outcome="relayed") == 1
