"""U1, U2: while one upstream can't be reached another answers, and each answer is stored under who made it."""

import asyncio
import ssl

import pytest

from tests.fakes.answers import Answer, End, json_answer
from tests.fakes.asking import KEY, completion_answer, herd, status_of
from tests.fakes.frames import CHAT
from tests.fakes.pair import NO_WAIT, pair, said, told
from tests.fakes.realtime import realtime_upstream, session
from tests.fakes.toxics import black_hole
from tests.fakes.uploads import HEADERS, TRANSCRIPTIONS, upload

CACHED = {"cache__enabled": True}
BATCH = {"model": "text-embedding-3-small", "input": ["one", "two"]}
VECTORS = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": index, "embedding": [0.5]} for index in range(2)],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
OCTETS = [("content-type", "application/octet-stream")]


async def test_u1_refused() -> None:
    """A refused connection costs the client nothing but a moment."""
    async with pair() as two:
        await two.first.stop()
        response = await two.ask()
        assert (response.status, said(response), told(response)) == (200, "from b", ("b", 2))
        assert await two.gateway.sample("askonce_upstream_attempts_total", upstream="a") == 1
        assert await two.gateway.sample("askonce_upstream_failures_total", kind="upstream_unreachable") == 1
        assert await two.gateway.sample("askonce_upstream_retries_total", upstream="b", step="elsewhere") == 1


async def test_u1_black_hole() -> None:
    """So does one that nobody answers, after the connect deadline of its own upstream."""
    with black_hole() as (host, port):
        async with pair(upstreams__a__base_url=f"http://{host}:{port}/v1", upstreams__a__timeouts__connect=0.1) as two:
            assert told(await two.ask()) == ("b", 2)


async def test_u1_mute_tls() -> None:
    """So does a handshake that nobody takes part in."""
    async with pair(timeouts__connect=0.1) as two:
        two.reload(upstreams__a__base_url=two.first.url.replace("http:", "https:"))
        assert told(await two.ask()) == ("b", 2)
        assert two.sent == (0, 1)


async def test_u1_certificate_of_nobody(server_tls: ssl.SSLContext) -> None:
    """So does a certificate that nobody we trust has signed: nothing is sent there."""
    async with pair() as two:
        two.first._tls = server_tls
        await two.first.stop()
        await two.first.start()
        two.reload(upstreams__a__base_url=f"https://127.0.0.1:{two.first.port}/v1")
        assert told(await two.ask()) == ("b", 2)
        assert two.sent == (0, 1)


async def test_u2_no_such_host() -> None:
    """So does a name that does not resolve."""
    async with pair(upstreams__a__base_url="http://nowhere.invalid/v1") as two:
        assert told(await two.ask()) == ("b", 2)


async def test_u1_back_again_is_asked_again() -> None:
    """What the second answered is not given for the first's: once that is back it is asked, byte for byte the same."""
    async with pair(**CACHED) as two:
        await two.first.stop()
        for expected in ("MISS", "HIT"):
            response = await two.ask()
            assert (said(response), status_of(response), told(response)[0]) == ("from b", expected, "b")
        await two.first.start()
        for expected in ("MISS", "HIT"):
            response = await two.ask()
            assert (said(response), status_of(response), told(response)[0]) == ("from a", expected, "a")
        assert two.sent == (1, 1)


async def test_u1_a_stored_answer_of_the_first_needs_nobody() -> None:
    """It is served while the first is down, and the second is not asked."""
    async with pair(**CACHED) as two:
        await two.ask()
        await two.first.stop()
        response = await two.ask()
        assert (said(response), status_of(response), told(response)) == ("from a", "HIT", ("a", 0))
        assert two.sent == (1, 0)


async def test_u1_many_at_once_are_one_call() -> None:
    """Equal requests share a call of the second as they would one of the first, and all are told whose answer it is."""
    async with pair(**CACHED) as two:
        await two.first.stop()
        two.second.script(completion_answer("from b", before=0.05))
        responses = await herd(two.gateway, 20)
        assert {(response.status, said(response)) for response in responses} == {(200, "from b")}
        assert {told(response)[0] for response in responses} == {"b"}
        assert two.sent == (0, 1)


async def test_u1_an_upload_that_nobody_read_goes_to_the_second() -> None:
    """All of its 5 MB, which nothing of had been read when the first refused."""
    async with pair() as two:
        await two.first.stop()
        response = await two.ask(b"x" * 5_000_000, OCTETS, target="/v1/files")
        assert (response.status, told(response)) == (200, ("b", 2))
        assert two.second.request.length == 5_000_000


async def test_u1_an_upload_is_renamed_for_whom_it_goes_to() -> None:
    """Its model stands in a form that streams through: what was written for the first is not seen by the second."""
    body = upload(("model", "whisper"), file=b"x" * 3_000_000)
    async with pair(upstreams__a__rename__whisper="first", upstreams__b__rename__whisper="the-second") as two:
        await two.first.stop()
        response = await two.ask(body, HEADERS, target=TRANSCRIPTIONS)
        assert (response.status, told(response)) == (200, ("b", 2))
        assert two.second.request.length == len(body) + len("the-second") - len("whisper")


async def test_u1_an_upload_that_was_read_stays() -> None:
    """Some of it is gone: whoever refused it, nobody else is asked."""
    async with pair() as two:
        two.first.script(Answer(raw=b"", reads=100_000, end=End.RESET))
        response = await two.ask(b"x" * 5_000_000, OCTETS, target="/v1/files")
        assert (response.status, told(response)[1]) == (502, 1)
        assert two.sent == (1, 0)


async def test_u1_a_realtime_session() -> None:
    """It is opened with the second, holds its slot while it goes on, and gives it back."""
    async with realtime_upstream() as url, pair(upstreams__b__base_url=url) as two:
        await two.first.stop()
        async with session(two.gateway) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            assert await two.gateway.sample("askonce_upstream_busy", upstream="b") == 1
        await two.idle()


async def test_u1_both_down() -> None:
    """E(502, upstream_unreachable): the second's failure, in the shape of one; a client may retry."""
    async with pair(retry__base=0.0) as two:
        await asyncio.gather(two.first.stop(), two.second.stop())
        response = await two.ask()
        assert (response.status, response.error_code) == (502, "upstream_unreachable")
        assert response.header(b"x-should-retry") is None
        assert told(response)[0] == "b"


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_u8_a_refusal_is_an_answer(status: int) -> None:
    """Of the request, and not of the upstream: nobody else is asked."""
    async with pair() as two:
        two.first.script(Answer(status, [("content-type", "application/json")], b"{}"))
        response = await two.ask(CHAT)
        assert (response.status, response.body, told(response)) == (status, b"{}", ("a", 1))
        assert two.sent == (1, 0)


@pytest.mark.parametrize("embeds", [False, True])
async def test_u1_whoever_answered_is_looked_for_by_who_wants_no_call(*, embeds: bool) -> None:
    """`only-if-cached` is a hit on what the second made, and a miss where neither has made anything; none is asked."""
    target, body = ("/v1/embeddings", BATCH) if embeds else ("/v1/chat/completions", CHAT)
    async with pair(cache__enabled=True, **NO_WAIT) as two:
        cached = [KEY, ("cache-control", "only-if-cached")]
        absent = await two.ask(body, cached, target=target)
        assert (absent.status, absent.error_code, two.sent) == (504, "cache_miss", (0, 0))
        await two.first.stop()
        two.second.script(json_answer(VECTORS) if embeds else completion_answer("from b"))
        assert told(await two.ask(body, target=target)) == ("b", 2)
        response = await two.ask(body, cached, target=target)
        assert (response.status, response.header(b"x-cache-status")) == (200, b"HIT")
        assert two.sent == (0, 1)
