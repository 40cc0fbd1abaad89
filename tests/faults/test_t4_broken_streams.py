"""T4, T5: streams that fail after they have started."""

import msgspec
import pytest

from tests.fakes.answers import Answer, End, Framing, Piece, event_stream
from tests.fakes.frames import DONE, STREAM, USAGE, chat_frame, error_frames, payloads
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import RawClient, Response, compose
from tests.fakes.toxics import ToxicProxy
from tests.fakes.upstream import ScriptedUpstream

EVENTS = [("content-type", "text/event-stream")]
FIRST = chat_frame("one")
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","param":null,"code":"oops"}}\n\n'
PAUSE = 0.03
"""Lets what was written leave before the connection is reset."""


def _assert_broken(response: Response, code: str = "upstream_disconnected") -> None:
    """A well-formed answer whose last event is the error, and none is `[DONE]`."""
    assert (response.status, response.whole) == (200, True)
    assert b"[DONE]" not in response.body
    (error,) = error_frames(response.body)
    assert (error["type"], error["param"], error["code"]) == ("upstream_error", None, code)
    assert b'"error"' in payloads(response.body)[-1]


DEATHS: dict[str, Answer] = {
    "closed": event_stream([FIRST, PAUSE], terminated=False, end=End.CLOSE),
    "reset": event_stream([FIRST, PAUSE], terminated=False, end=End.RESET),
    "short of its length": Answer(200, EVENTS, [FIRST], Framing.LENGTH, End.CLOSE, length=10_000),
    "closed without framing": Answer(200, EVENTS, [FIRST], Framing.CLOSE),
}


@pytest.mark.parametrize("death", DEATHS)
async def test_t4_upstream_dies(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient, death: str) -> None:
    """However the upstream goes, what it sent arrives, then an error event, no `[DONE]`, and a clean end."""
    upstream.script(DEATHS[death])
    response = await client.ask(body=STREAM)
    _assert_broken(response)
    assert response.body.startswith(FIRST)
    await gateway.settled()
    assert await gateway.sample("askonce_requests_total", outcome="broken") == 1
    assert await gateway.sample("askonce_upstream_failures_total", kind="upstream_disconnected") == 1


async def test_t4_no_chunk_any_more(upstream: ScriptedUpstream, client: RawClient) -> None:
    """Bytes that are no chunk end the stream like a lost connection."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    upstream.script(Answer(raw=head + b"%x\r\n%b\r\nzz\r\n" % (len(FIRST), FIRST), end=End.HANG))
    _assert_broken(await client.ask(body=STREAM))


@pytest.mark.usefixtures("untraced")
async def test_t4_cut_at_every_byte(upstream: ScriptedUpstream, client: RawClient) -> None:
    """Wherever the cut falls, what comes before the error is whole events, which any SDK can parse."""
    first = chat_frame("grüße").replace(b"\n", b"\r\n")
    stream = first + chat_frame("two")
    for cut in range(1, len(stream)):
        upstream.script(event_stream([stream[:cut], PAUSE / 10], terminated=False, end=End.CLOSE))
        response = await client.ask(body=STREAM)
        assert (response.status, response.whole) == (200, True)
        assert b"[DONE]" not in response.body
        *events, last = [msgspec.json.decode(payload) for payload in payloads(response.body)]
        assert "error" in last, f"cut at {cut}: {response.body!r}"
        assert len(events) == (cut >= len(first) - 1), f"cut at {cut}: {response.body!r}"


async def test_t4_what_was_sent_is_billed(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient) -> None:
    """Usage that had been reported counts although the stream broke."""
    upstream.script(event_stream([FIRST, USAGE, PAUSE], terminated=False, end=End.RESET))
    _assert_broken(await client.ask(body=STREAM))
    await gateway.settled()
    assert await gateway.sample("askonce_tokens_total", kind="output") == 7


async def test_t4_the_connection_goes_on(upstream: ScriptedUpstream, client: RawClient) -> None:
    """A client whose stream broke can ask again on the same connection."""
    upstream.script(DEATHS["reset"], event_stream([FIRST, DONE]))
    _assert_broken(await client.ask(body=STREAM))
    response = await client.ask(body=STREAM)
    assert response.body == FIRST + DONE


async def test_t4_reset_in_the_network(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """A reset on the way, with frames in flight, is no different."""
    pieces: list[Piece] = [FIRST, 5.0]
    upstream.script(event_stream(pieces))
    async with ToxicProxy("127.0.0.1", upstream.port) as link:
        gateway = await start(link.url)
        async with gateway.client() as client:
            await client.send(compose(body=STREAM))
            response = await client.start()
            assert await client.chunk(response) == FIRST
            link.reset_peers()
            while await client.chunk(response):
                pass
        _assert_broken(response)


async def test_t5_an_error_event_is_relayed(upstream: ScriptedUpstream, gateway: Gateway, client: RawClient) -> None:
    """An upstream's own error event crosses as it is, with what follows it; the exchange counts as failed."""
    upstream.script(event_stream([FIRST, ERROR, DONE]))
    response = await client.ask(body=STREAM)
    assert (response.body, response.whole) == (FIRST + ERROR + DONE, True)
    await gateway.settled()
    assert await gateway.sample("askonce_requests_total", outcome="failed", status="200") == 1
    assert await gateway.sample("askonce_upstream_failures_total", kind="error_frame") == 1


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"message":"m","code":"c"}\n\n',
        b"event:error\ndata: x\n\n",
        b'data: {"type":"error","code":"c"}\n\n',
        b'data: {"type":"response.failed","response":{"status":"failed"}}\n\n',
    ],
)
async def test_t5_every_form_of_error(
    upstream: ScriptedUpstream, gateway: Gateway, client: RawClient, event: bytes
) -> None:
    """Named error events and the Responses API's forms are known as failures too."""
    upstream.script(event_stream([FIRST, event]))
    assert (await client.ask("POST", "/v1/responses", STREAM)).body == FIRST + event
    await gateway.settled()
    assert await gateway.sample("askonce_requests_total", outcome="failed") == 1


@pytest.mark.parametrize(
    "event",
    [
        chat_frame('{"error": "no"}'),
        b'data: {"error":null,"choices":[]}\n\n',
        b'data: {"type":"response.created","response":{"error":null}}\n\n',
    ],
)
async def test_t5_talk_of_errors_is_none(
    upstream: ScriptedUpstream, gateway: Gateway, client: RawClient, event: bytes
) -> None:
    """An answer that speaks of errors, or says that there is none, has not failed."""
    upstream.script(event_stream([event, DONE]))
    await client.ask(body=STREAM)
    await gateway.settled()
    assert await gateway.sample("askonce_requests_total", outcome="relayed") == 1
