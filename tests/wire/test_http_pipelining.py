"""Requests that come before their turn: answered in order, each out of its own bytes, or not at all."""

import asyncio
import json

from tests.fakes.answers import Answer, Framing, event_stream
from tests.fakes.asking import KEY, completion_answer
from tests.fakes.frames import CHAT, DONE, STREAM
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.streams.writing import chunk
from tests.fakes.upstream import Request, ScriptedUpstream


def echo(request: Request) -> Answer:
    return Answer(200, (), request.target)


def numbered(count: int) -> bytes:
    return b"".join(compose("GET", f"/v1/models/{i}") for i in range(count))


async def test_answers_come_in_order(client: RawClient, upstream: ScriptedUpstream) -> None:
    """As many requests as may wait, in one write, over any upstream connections."""
    upstream.script(echo)
    await client.send(numbered(16))
    for i in range(16):
        assert (await client.response()).body == b"/v1/models/%d" % i
    assert (await client.ask("GET", "/v1/models/last")).body == b"/v1/models/last"


async def test_a_body_may_follow_later(client: RawClient, upstream: ScriptedUpstream) -> None:
    """A request that waits its turn gets the rest of its body afterwards, JSON or upload."""
    gate = asyncio.Event()
    for target in ("/v1/chat/completions", "/v1/files"):
        gate.clear()
        upstream.script(Answer(200, (), b"first", before=gate), Answer())
        body = b'{"model":"' + b"m" * 100_000 + b'"}'
        post = compose("POST", target, body)
        await client.send(compose("GET", "/v1/models") + post[:200])
        await until(lambda: len(upstream.requests) % 2 == 1)
        gate.set()
        assert (await client.response()).body == b"first"
        await client.send(post[200:])
        assert (await client.response()).status == 200
        assert upstream.requests[-1].body == body


async def test_a_waiting_client_is_invited_in_its_turn(client: RawClient, upstream: ScriptedUpstream) -> None:
    """`100 Continue` follows the answer before it."""
    upstream.script(Answer(200, (), [b"fi", 0.05, b"rst"], length=5), Answer())
    head, body = compose("POST", "/v1/files", b"abc", [("expect", "100-continue")]).split(b"\r\n\r\n")
    await client.send(compose("GET", "/v1/models") + head + b"\r\n\r\n")
    assert (await client.response()).body == b"first"
    assert await client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(body)
    assert (await client.response()).status == 200
    assert upstream.requests[-1].body == b"abc"


async def test_upstream_sees_them_one_at_a_time(client: RawClient, upstream: ScriptedUpstream) -> None:
    """The second is sent once the first is answered."""
    gate = asyncio.Event()
    upstream.script(Answer(200, (), b"first", before=gate), echo)
    await client.send(numbered(2))
    await upstream.received()
    await asyncio.sleep(0.03)
    assert len(upstream.requests) == 1
    gate.set()
    await client.response()
    assert (await client.response()).body == b"/v1/models/1"


async def test_nonsense_behind_a_request_is_refused_in_its_turn(client: RawClient, upstream: ScriptedUpstream) -> None:
    """The request is answered, then the nonsense, then the connection ends."""
    upstream.script(Answer(200, (), b"first", before=0.03))
    await client.send(compose("GET", "/v1/models") + b"\0\0\0\r\n\r\n")
    assert (await client.response()).body == b"first"
    refusal = await client.response()
    assert (refusal.status, refusal.header(b"connection")) == (405, b"close")
    assert await client.closed()


async def test_a_close_ends_the_queue(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Nothing behind a request with `Connection: close` is read, and its answer arrives whole."""
    upstream.script(echo)
    last = compose("GET", "/v1/models/last", headers=[("connection", "close")])
    await client.send(compose("GET", "/v1/models/0") + last + numbered(3))
    assert (await client.response()).body == b"/v1/models/0"
    response = await client.response()
    assert (response.body, response.header(b"connection")) == (b"/v1/models/last", b"close")
    assert await client.closed()
    assert len(upstream.requests) == 2


async def test_no_request_begins_while_answers_are_not_taken(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """A client that asks on and on and reads nothing holds a few small answers, not all; then it gets them all."""
    gateway = await start()
    upstream.script(Answer(200, (), b"x" * 200_000))
    async with gateway.client(receive_buffer=4_096) as client:
        await client.send(numbered(16))
        await until(lambda: len(upstream.requests) >= 2)
        await asyncio.sleep(0.05)
        assert len(upstream.requests) <= 6
        for _ in range(16):
            assert len((await client.response()).body) == 200_000


async def test_no_request_begins_on_a_connection_that_is_full(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """The same for a client that sends each request once the one before is answered, and reads none of the answers."""
    gateway = await start()
    upstream.script(Answer(200, (), b"x" * 200_000))
    async with gateway.client(receive_buffer=4_096) as client:
        for i in range(12):
            await client.send(compose("GET", "/v1/models"))
            await asyncio.sleep(0.02)
            assert len(upstream.requests) <= min(i + 1, 6)
        for _ in range(12):
            assert len((await client.response()).body) == 200_000


async def test_an_upload_that_waits_its_turn_is_held_back(start: StartGateway) -> None:
    """Also once its turn has come, and its upstream takes nothing of it."""
    gate = asyncio.Event()
    stuck = Answer(reads=1, before=30.0)
    async with ScriptedUpstream(Answer(200, (), b"first", before=gate), stuck, receive_buffer=4_096) as upstream:
        gateway = await start(upstream.url)
        async with gateway.client() as client:
            upload = compose("POST", "/v1/files", b"x" * 30_000_000)
            filling = asyncio.Task(client.send(compose("GET", "/v1/models") + upload))
            await until(lambda: bool(upstream.requests))
            await asyncio.sleep(0.05)
            gate.set()
            assert (await client.response()).body == b"first"
            for _ in range(8):
                await asyncio.sleep(0.05)
            assert not filling.done()
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
            client.reset()
            await until(lambda: not gateway.app.clients.connections)


async def test_a_stream_behind_unread_answers_is_held_back(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """What waits for the client stays bounded, whichever answer it belongs to."""
    gateway = await start()
    endless = (b"data: " + b"x" * 60_000 + b"\n\n" for _ in range(1_000))
    stream = Answer(200, [("content-type", "text/event-stream")], endless, Framing.CHUNKED)
    upstream.script(*[Answer(200, (), b"y" * 400_000)] * 12, stream)
    async with gateway.client(receive_buffer=4_096) as client:
        await client.send(numbered(12) + compose(body={"model": "m", "stream": True}))
        transports = [connection.transport for connection in gateway.app.clients.connections]
        for _ in range(10):
            await asyncio.sleep(0.03)
            assert sum(transport.get_write_buffer_size() for transport in transports) < 1 << 20
        for _ in range(12):
            assert len((await client.response()).body) == 400_000
        assert (await client.start()).status == 200
        client.close()
        await upstream.aborted()


async def test_a_client_that_left_is_missed_while_requests_wait(client: RawClient, upstream: ScriptedUpstream) -> None:
    """Reading is paused, and the upstream is let go within a second all the same."""
    upstream.script(Answer(before=30.0))
    await client.send(numbered(3))
    await upstream.received()
    client.reset()
    await upstream.aborted(timeout=1.2)
    assert len(upstream.requests) == 1


async def test_a_client_that_left_is_missed_while_its_upload_waits(start: StartGateway) -> None:
    """The upstream takes nothing, so nothing is read of the client: its reset is seen within a second all the same."""
    async with ScriptedUpstream(Answer(reads=1, before=30.0), receive_buffer=4_096) as stuck:
        gateway = await start(stuck.url)
        async with gateway.client() as client:
            await client.send(compose("POST", "/v1/files", b"", [("content-length", "50000000")]))
            filling = asyncio.Task(client.send(b"x" * 30_000_000))
            await asyncio.sleep(0.05)
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
            assert gateway.app.clients.crew.serving
            client.reset()
            await until(lambda: not gateway.app.clients.connections, 1.2)
        await gateway.settled()


async def test_what_is_at_hand_leaves_before_what_follows(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Answers from the cache, a stream and a refusal behind them, in one write of the client's."""
    frames = [chunk({"content": "Hi"}), chunk({}, "stop"), DONE]
    upstream.script(completion_answer(), event_stream(frames))
    gateway = await start(cache__enabled=True)
    asked = compose("POST", "/v1/chat/completions", json.dumps(CHAT).encode(), [KEY])
    streamed = compose("POST", "/v1/chat/completions", json.dumps(STREAM | {"model": "other"}).encode(), [KEY])
    async with gateway.client() as client:
        for status in (b"MISS", b"HIT"):
            await client.send(asked)
            assert (await client.response()).header(b"x-cache-status") == status
        await client.send(asked * 2 + streamed + asked + streamed + asked + b"\0\0\0\r\n\r\n")
        answers = [await client.response() for _ in range(7)]
        told = [answer.header(b"x-cache-status") for answer in answers]
        assert told == [b"HIT", b"HIT", b"MISS", b"HIT", b"HIT", b"HIT", None]
        assert answers[2].body == answers[4].body == b"".join(frames)
        assert answers[6].status == 405
        assert await client.closed()


async def test_what_is_at_hand_leaves_before_the_connection_ends(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """A close that the client asks for, and one that the gateway's own end brings."""
    upstream.script(completion_answer())
    gateway = await start(cache__enabled=True)
    body = json.dumps(CHAT).encode()
    asked = compose("POST", "/v1/chat/completions", body, [KEY])
    last = compose("POST", "/v1/chat/completions", body, [KEY, ("connection", "close")])
    async with gateway.client() as client:
        await client.send(asked)
        await client.response()
        await client.send(asked + last)
        answers = [await client.response() for _ in range(2)]
        assert [answer.header(b"x-cache-status") for answer in answers] == [b"HIT", b"HIT"]
        assert answers[1].header(b"connection") == b"close"
        assert await client.closed()


async def test_a_refusal_tells_its_own_time(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Not that of the request before it, whose head came slowly."""
    gate = asyncio.Event()
    upstream.script(Answer(200, (), b"x", before=gate))
    gateway = await start()
    head = compose("GET", "/v1/models")
    async with gateway.client() as client:
        await client.send(head[:10])
        await asyncio.sleep(0.3)  # what is slow
        await client.send(head[10:])
        await until(lambda: len(upstream.requests) == 1)
        await client.send(b"no request\r\n\r\n")
        gate.set()
        assert (await client.response()).status == 200
        refusal = await client.response()
    assert refusal.status == 405
    assert float((refusal.header(b"server-timing") or b"").removeprefix(b"total;dur=")) < 250
