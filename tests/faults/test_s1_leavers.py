"""S1, S2, S3, S4, S6: who shares a call, and what becomes of the others when one leaves, lags or fails."""

import asyncio

import pytest

from tests.fakes.answers import Answer, End, Framing, event_stream, json_answer
from tests.fakes.asking import KEY, completion_answer, herd, status_of
from tests.fakes.frames import CHAT, DONE, STREAM, chat_frame
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.streams.writing import chunk
from tests.fakes.upstream import Request, ScriptedUpstream

FIRST, LAST = chunk({"content": "one"}), [chunk({"content": "two"}), chunk({}, "stop"), DONE]
ASK, ASK_STREAM = (compose(body=body, headers=[KEY]) for body in (CHAT, STREAM))
PARALLEL = 4
EVENTS = [("content-type", "text/event-stream")]


async def _waiting(gateway: Gateway, count: int) -> None:
    await until(lambda: len(gateway.app.clients.crew.serving) == count, 5.0, f"{count} requests wait")


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_s1_the_leader_leaves(
    start: StartGateway,
    upstream: ScriptedUpstream,
    leave: str,
    stream: bool,  # noqa: FBT001
) -> None:
    """The others get the whole answer, of the one call."""
    gateway, gate = await start(cache__enabled=True), asyncio.Event()
    upstream.script(
        event_stream([FIRST, gate, *LAST]) if stream else completion_answer("shared", before=gate), completion_answer()
    )
    async with gateway.client() as leader:
        await leader.send(ASK_STREAM if stream else ASK)
        await upstream.received()
        followers = asyncio.Task(herd(gateway, 5, STREAM if stream else CHAT))
        await _waiting(gateway, 6)
        getattr(leader, leave)()
        await _waiting(gateway, 5)
    gate.set()
    (body,) = {response.body for response in await followers}
    assert body == b"".join([FIRST, *LAST]) if stream else b"shared" in body
    assert (len(upstream.requests), upstream.aborts) == (1, [])


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_s2_all_leave(start: StartGateway, upstream: ScriptedUpstream, stream: bool) -> None:  # noqa: FBT001
    """The upstream is closed within a second, and nothing is left of the call."""
    gateway = await start(cache__enabled=True)
    upstream.script(event_stream([FIRST, 30.0]) if stream else completion_answer(before=30.0))
    clients = [gateway.client() for _ in range(5)]
    for client in clients:
        await client.connect()
        await client.send(ASK_STREAM if stream else ASK)
    await _waiting(gateway, 5)
    await upstream.received()
    begun = asyncio.get_running_loop().time()
    for client in clients:
        client.close()
    assert (await upstream.aborted()).at - begun < 1.0
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({"error": {"message": "m", "type": "t", "param": None, "code": None}}, 500),
        Answer(503, [("content-type", "application/json")], [b"{}", 0.05], Framing.CHUNKED),
        Answer(429, [("content-type", "application/json")], [b"{", 0.05, b"}"], length=2),
        Answer(raw=b"", end=End.CLOSE),
        Answer(200, [("content-type", "application/json")], [b'{"id":', 0.05], length=999, end=End.CLOSE),
    ],
    ids=["500", "503 in pieces", "429 that is slow", "closed", "broken off"],
)
async def test_s3_a_new_leader(start: StartGateway, upstream: ScriptedUpstream, answer: Answer) -> None:
    """Where the upstream fails, exactly one of those who waited asks anew, and all the others get its answer."""
    gateway, gate = await start(cache__enabled=True), asyncio.Event()

    def first(_: Request) -> Answer:
        return Answer(**{**vars(answer), "before": gate})

    upstream.script(first, completion_answer("second", before=0.05), completion_answer("third"))
    responses = asyncio.Task(herd(gateway, 20))
    await _waiting(gateway, 20)
    gate.set()
    bodies = [response.body for response in await responses]
    assert len([body for body in bodies if b"second" in body]) == 19
    assert len(upstream.requests) == 2


async def test_s3_the_second_failure_is_everybodys(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """A herd before an upstream that is down asks it twice, not a hundred times."""
    gateway, gate = await start(cache__enabled=True), asyncio.Event()
    down = Answer(503, [("content-type", "application/json"), ("retry-after", "1")], b"{}", before=gate)
    upstream.script(down)
    responses = asyncio.Task(herd(gateway, 100))
    await _waiting(gateway, 100)
    gate.set()
    assert {(response.status, response.header(b"retry-after")) for response in await responses} == {(503, b"1")}
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        completion_answer("no", "content_filter"),
        json_answer({"error": {"message": "m", "type": "t", "param": None, "code": None}}, 400),
        completion_answer(framing=Framing.CLOSE),
    ],
    ids=["content_filter", "400", "no framing"],
)
async def test_s3_uncacheable(start: StartGateway, upstream: ScriptedUpstream, answer: Answer) -> None:
    """What is good for one only is asked for by each, and never by more than a few at once."""
    gateway, gate = await start(cache__enabled=True), asyncio.Event()
    present, most = 0, 0

    def one(_: Request) -> Answer:
        nonlocal present, most
        present += 1
        most = max(most, present)
        # Each but the first stays for a while, so that those who are there at once are seen.
        return Answer(**{**vars(answer), "before": 0.02 if gate.is_set() else gate, "then": leaves})

    async def leaves(*_: object) -> None:
        nonlocal present
        present -= 1

    upstream.script(one)
    responses = asyncio.Task(herd(gateway, 30))
    await _waiting(gateway, 30)
    await upstream.received()
    assert (len(upstream.requests), most) == (1, 1)
    gate.set()
    assert {response.status for response in await responses} == {answer.status}
    assert len(upstream.requests) == 30
    assert most <= PARALLEL


async def test_s4_a_slow_follower(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Who reads nothing delays nobody: the others have all of 4 MiB, and it gets the rest later."""
    gateway, gate = await start(cache__enabled=True), asyncio.Event()
    frames = [chat_frame("x" * 4_000) for _ in range(1_000)]
    upstream.script(event_stream([FIRST, gate, *frames, *LAST]))
    async with gateway.client(receive_buffer=4_096) as slow:
        await slow.send(ASK_STREAM)
        others = asyncio.Task(herd(gateway, 3, STREAM))
        await _waiting(gateway, 4)
        gate.set()
        whole = b"".join([FIRST, *frames, *LAST])
        assert {response.body for response in await others} == {whole}
        assert (await slow.response()).body == whole
    assert len(upstream.requests) == 1


async def test_s4_a_slow_leader(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """One that joins a call whose leader has stopped reading gets all of it at its own pace."""
    gateway = await start(cache__enabled=True)
    frames = [chat_frame("x" * 4_000) for _ in range(1_500)]
    upstream.script(event_stream([*frames, *LAST]))
    async with gateway.client(receive_buffer=4_096) as slow:
        await slow.send(ASK_STREAM)
        await upstream.received()
        (response,) = await herd(gateway, 1, STREAM)
        assert (status_of(response), response.body) == ("COALESCED", b"".join([*frames, *LAST]))
    assert len(upstream.requests) == 1


async def test_s4_a_laggard_in_what_is_not_kept(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Past the cap of an entry, who lags a window behind is cut with an error; the other gets all."""
    gateway, gate = await start(cache__enabled=True, cache__max_entry_bytes=65_536), asyncio.Event()
    frames = [chat_frame("x" * 16_000) for _ in range(1_000)]
    upstream.script(event_stream([FIRST, gate, *frames, *LAST]))
    async with gateway.client(receive_buffer=4_096) as slow:
        await slow.send(ASK_STREAM)
        (others) = asyncio.Task(herd(gateway, 1, STREAM))
        await _waiting(gateway, 2)
        gate.set()
        (quick,) = await others
        assert quick.body == b"".join([FIRST, *frames, *LAST])
        cut = await slow.response()
        assert (cut.whole, b"client_too_slow" in cut.body[-400:], DONE in cut.body) == (True, True, False)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        [KEY, ("cache-control", "no-cache")],
        [KEY, ("cache-control", "no-store")],
        [("authorization", "Bearer sk-two")],
        [KEY, ("openai-organization", "org-2")],
    ],
    ids=["no-cache", "no-store", "another key", "another organisation"],
)
async def test_s6_never_shared(start: StartGateway, upstream: ScriptedUpstream, headers: list[tuple[str, str]]) -> None:
    """Another scope, or a client that wants no cache, has a call of its own."""
    gateway, gate = await start(cache__enabled=True), asyncio.Event()
    upstream.script(completion_answer(before=gate))
    tasks = [asyncio.Task(herd(gateway, 1)), asyncio.Task(herd(gateway, 2 if len(headers) > 1 else 1, headers=headers))]
    shared = headers[-1][0] == "openai-organization"
    await until(lambda: len(upstream.requests) == (2 if shared or len(headers) == 1 else 3))
    gate.set()
    await asyncio.gather(*tasks)


async def test_s6_coalescing_switched_off(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """By endpoint: then each goes upstream."""
    gateway, gate = await start(cache__enabled=True, coalesce__off=["chat_completions"]), asyncio.Event()
    upstream.script(completion_answer(before=gate))
    task = asyncio.Task(herd(gateway, 3))
    await until(lambda: len(upstream.requests) == 3)
    gate.set()
    await task
