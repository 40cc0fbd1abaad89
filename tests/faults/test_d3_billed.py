"""D3, T4, T9: what an answer used is counted once, whoever of those who shared it is still there."""

import asyncio

import pytest

from tests.fakes.answers import Answer, End, Piece, event_stream, json_answer
from tests.fakes.asking import KEY, completion, completion_answer, herd
from tests.fakes.frames import CHAT, COUNTED, DONE, STREAM, USAGE, chat_frame
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.streams.writing import chunk
from tests.fakes.upstream import ScriptedUpstream

FIRST, FINISH = chunk({"content": "one"}), chunk({}, "stop")
PAUSE = 0.03


async def output_tokens(gateway: Gateway) -> float:
    await gateway.settled()
    await until(lambda: not len(gateway.app._caches._flights[0]))
    return await gateway.sample("askonce_tokens_total", kind="output")


@pytest.fixture
async def kept(start: StartGateway) -> Gateway:
    return await start(cache__enabled=True)


@pytest.mark.parametrize("follows", [True, False], ids=["followed", "alone"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_d3_the_leader_leaves(
    upstream: ScriptedUpstream,
    kept: Gateway,
    stream: bool,  # noqa: FBT001
    follows: bool,  # noqa: FBT001
) -> None:
    """What the upstream says it used counts once, for the one who asked; of a call that is cut, what it had said."""
    gate = asyncio.Event()
    pieces: list[Piece] = [FIRST, USAGE.replace(b'"choices":[]', b'"choices":[{"index":0,"delta":{}}]'), gate]
    upstream.script(event_stream([*pieces, FINISH, USAGE, DONE]) if stream else completion_answer(before=gate))
    body = STREAM if stream else CHAT
    async with kept.client() as leader:
        await leader.send(compose(body=body, headers=[KEY]))
        await upstream.received()
        followers = asyncio.Task(herd(kept, 2 if follows else 0, body))
        if follows:
            await until(lambda: len(kept.app.clients.crew.serving) == 3)
        elif stream:
            await leader.chunk(await leader.start())
            await leader.read()
    await until(lambda: len(kept.app.clients.crew.serving) == 2 * follows)
    gate.set()
    await followers
    assert await output_tokens(kept) == (0 if not follows and not stream else 7)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("body", [STREAM, COUNTED], ids=["hidden", "shown"])
@pytest.mark.parametrize("frames", [1, 600], ids=["short", "long"])
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_d3_a_stream_is_counted_once(
    upstream: ScriptedUpstream, kept: Gateway, body: object, frames: int, encoding: str
) -> None:
    """Judged at once or later, encoded or not, with the usage in the client's sight or without."""
    upstream.script(event_stream([FIRST] * frames + [FINISH, USAGE, DONE], encoding=encoding))
    await herd(kept, 2, body)
    assert await output_tokens(kept) == 7


@pytest.mark.parametrize("size", [10, 300_000], ids=["small", "large"])
@pytest.mark.parametrize("encoding", ["", "br"])
async def test_d3_an_answer_is_counted_once(
    upstream: ScriptedUpstream, kept: Gateway, size: int, encoding: str
) -> None:
    """Not again by those who follow, nor when it is served again."""
    upstream.script(json_answer(completion("x" * size), encoding=encoding))
    await herd(kept, 2)
    await herd(kept, 2)
    assert await output_tokens(kept) == 7
    assert len(upstream.requests) == 1


async def test_d3_an_answer_too_large_to_keep(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Its usage is read from its end, also where the client did not ask to see it."""
    gateway = await start(cache__enabled=True, cache__max_entry_bytes=65_536)
    upstream.script(event_stream([chat_frame("x" * 4_000)] * 50 + [FINISH, USAGE, DONE]))
    (response,) = await herd(gateway, 1, STREAM)
    assert (response.body.endswith(DONE), USAGE in response.body) == (True, False)
    assert await output_tokens(gateway) == 7


@pytest.mark.parametrize(
    "answer",
    [
        event_stream([FIRST, USAGE, PAUSE], terminated=False, end=End.RESET),
        event_stream([FIRST, USAGE]),
        event_stream([FIRST, USAGE, b'data: {"error":{"message":"m"}}\n\n']),
    ],
    ids=["reset", "no end", "error"],
)
async def test_t4_what_a_broken_stream_used_is_counted(
    upstream: ScriptedUpstream, kept: Gateway, answer: Answer
) -> None:
    """Though the client did not ask for the usage and is not shown it."""
    upstream.script(answer)
    (response,) = await herd(kept, 1, STREAM)
    assert USAGE not in response.body
    assert await output_tokens(kept) == 7
