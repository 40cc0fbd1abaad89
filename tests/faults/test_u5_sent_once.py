"""U5: once a request was sent, a reset or a time-out never sends it again."""

import pytest

from tests.fakes.answers import CLOSE, RESET, SILENCE, Answer, End, Framing, Piece
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.gateway import StartGateway
from tests.fakes.raw import RawClient
from tests.fakes.upstream import ScriptedUpstream

JSON = [("content-type", "application/json")]
ENDS = {
    "reset": (RESET, 502, "upstream_error"),
    "closed": (CLOSE, 502, "upstream_error"),
    "half a head": (Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-", end=End.CLOSE), 502, "upstream_error"),
    "no HTTP": (Answer(raw=b"SSH-2.0-OpenSSH\r\n", end=End.HANG), 502, "upstream_error"),
    "silence": (SILENCE, 504, "upstream_timeout"),
}


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["json", "stream"])
@pytest.mark.parametrize("end", ENDS)
async def test_u5_a_post_goes_out_once(
    upstream: ScriptedUpstream, start: StartGateway, end: str, body: dict[str, object]
) -> None:
    """Exactly one POST reaches the upstream, and the client is told not to retry."""
    answer, status, code = ENDS[end]
    upstream.script(answer)
    gateway = await start(timeouts__first_byte=0.15)
    async with gateway.client() as client:
        response = await client.ask(body=body)
    assert (response.status, response.error_code) == (status, code)
    assert response.header(b"x-should-retry") == b"false"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("answer", [RESET, CLOSE], ids=["reset", "closed"])
async def test_u5_a_bare_get_goes_out_once(upstream: ScriptedUpstream, client: RawClient, answer: Answer) -> None:
    """So does a GET, bare as it came; but its client may retry, for it bills nobody."""
    upstream.script(answer)
    response = await client.ask("GET", "/v1/models")
    assert (response.status, response.error_code) == (502, "upstream_error")
    assert response.header(b"x-should-retry") is None
    request = upstream.request
    assert not request.all(b"content-length") + request.all(b"transfer-encoding")


async def test_u5_an_upload_goes_out_once(upstream: ScriptedUpstream, client: RawClient) -> None:
    """A streamed body that the upstream took whole is not sent again either."""
    upstream.script(RESET)
    response = await client.ask("POST", "/v1/files", b"x" * 300_000, [("content-type", "application/octet-stream")])
    assert (response.status, response.header(b"x-should-retry")) == (502, b"false")
    assert upstream.request.length == 300_000


async def test_u5_total_time_is_bounded(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """An answer that does not stream and drips for ever is a time-out in the end, and no half of an answer."""
    drip: list[Piece] = [b"x", 0.02]
    upstream.script(Answer(200, JSON, drip * 500, Framing.CHUNKED))
    gateway = await start(timeouts__total=0.3)
    async with gateway.client() as client:
        response = await client.ask(body=CHAT)
    assert (response.status, response.error_code) == (504, "upstream_timeout")
    assert response.header(b"x-should-retry") == b"false"
    await upstream.aborted()


async def test_u5_a_cut_answer_is_an_error(upstream: ScriptedUpstream, client: RawClient) -> None:
    """JSON that breaks off reaches nobody: clients would take it for a broken connection, and ask, and pay, again."""
    upstream.script(Answer(200, JSON, [b"x" * 100, 0.03, b"x" * 100], length=1000, end=End.CLOSE))
    response = await client.ask(body=CHAT)
    assert (response.status, response.error_code) == (502, "upstream_disconnected")
    assert response.header(b"x-should-retry") == b"false"


async def test_u5_a_long_answer_that_is_cut_is_seen_to_be_cut(upstream: ScriptedUpstream, client: RawClient) -> None:
    """What is too long to be held passes as it comes, ends short of its length, and with its connection."""
    upstream.script(Answer(200, JSON, [b"x" * 100, 0.03, b"x" * 100], length=2 << 20, end=End.CLOSE))
    response = await client.ask(body=CHAT)
    assert (response.status, response.whole, client.ended) == (200, False, True)


async def test_u5_silence_of_a_slow_reader_is_a_time_out(start: StartGateway) -> None:
    """An upstream that reads nothing of a large request costs the write deadline, and may be retried."""
    stuck = Answer(raw=b"", reads=1, end=End.HANG, before=30.0)
    async with ScriptedUpstream(stuck, receive_buffer=4096) as narrow:
        gateway = await start(narrow.url, timeouts__upstream_write=0.2)
        async with gateway.client() as client:
            response = await client.ask(body=CHAT | {"pad": "x" * (8 << 20)})
        assert (response.status, response.error_code) == (504, "upstream_timeout")
        assert response.header(b"x-should-retry") is None
