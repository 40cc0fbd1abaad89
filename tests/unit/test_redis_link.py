"""The link against a real server: answers, batches, scripts, and nothing left behind by whoever gives up."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from cache.link import Script
from proxy.redis_link import LinkDown, LinkFault, LinkRefused, LinkState, RedisLink, Refusal
from tests.fakes.link_events import Heard
from tests.fakes.polling import until
from tests.fakes.redis_server import RedisServer
from tests.fakes.tls_front import tls_front
from tests.fakes.toxics import ToxicProxy

ECHO = Script("echo", b"return {KEYS[1], ARGV[1], ARGV[2]}")


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    redis_link = RedisLink(redis_server.url)
    yield redis_link
    await redis_link.close()


async def test_answers_are_what_redis_says(link: RedisLink) -> None:
    """Bytes, integers, lists and nothing, for words of every type, binary values included."""
    value = bytes(range(256)) * 300
    assert await link.call("SET", "a", value, "PX", 60_000) == b"OK"
    assert await link.call("GET", "a") == value
    assert await link.call("GET", b"nothing") is None
    assert await link.call("INCRBY", "n", 41) == 41
    assert await link.call("MGET", "n", "none") == [b"41", None]
    assert await link.call("INCRBYFLOAT", "f", 0.5) == b"0.5"


async def test_many_answers_in_order_with_each_error_in_its_place(link: RedisLink) -> None:
    """A command that is refused leaves its neighbours alone."""
    await link.call("SET", "text", "x")
    answers = await link.many([("GET", "text"), ("INCR", "text"), ("INCR", "n"), ("NONSENSE", "x")])
    assert [answers[0], answers[2]] == [b"x", 1]
    assert isinstance(answers[1], LinkRefused)
    assert isinstance(answers[3], LinkRefused)
    assert (answers[1].refusal, answers[3].refusal) == (Refusal.OTHER, Refusal.COMMAND)
    assert await link.many([]) == []


async def test_commands_of_one_turn_go_together(redis_server: RedisServer) -> None:
    """A hundred that are asked at once share a round trip; each gets its own answer."""
    heard = Heard()
    link = RedisLink(redis_server.url, events=heard)
    await link.call("PING")
    answers = await asyncio.gather(*(link.call("INCRBY", f"key {n}", n) for n in range(100)))
    assert answers == list(range(100))
    assert heard.commands == 101
    assert heard.batches <= 3
    await link.close()


async def test_a_burst_is_one_batch_however_many_connections_rest(redis_server: RedisServer) -> None:
    """A second one would only share out what one carries."""
    heard = Heard()
    link = RedisLink(redis_server.url, deadline=5.0, events=heard)
    holder = asyncio.Task(link.call("BLPOP", "list", 0))
    await until(lambda: redis_server.tell("INFO", "clients")["blocked_clients"] == 1)
    await link.call("LPUSH", "list", "x")
    await holder
    await until(lambda: repr(link).count("<Lane in flight 0>") == 2)
    batches = heard.batches
    await asyncio.gather(*(link.call("PING") for _ in range(100)))
    assert heard.batches == batches + 1
    await link.close()


async def test_what_was_given_up_before_it_was_sent_is_not_sent(redis_server: RedisServer) -> None:
    """It waits for a connection when its caller leaves."""
    link = RedisLink(redis_server.url, deadline=5.0, connections=1)
    holder = asyncio.Task(link.call("BLPOP", "list", 0))
    await until(lambda: redis_server.tell("INFO", "clients")["blocked_clients"] == 1)
    leaver, stayer = (asyncio.Task(link.call("SET", name, "x")) for name in ("leaver", "stayer"))
    await asyncio.sleep(0)
    leaver.cancel()
    redis_server.tell("LPUSH", "list", "x")
    await asyncio.gather(holder, stayer)
    assert await link.call("EXISTS", "leaver") == 0
    await link.close()


async def test_whoever_gives_up_spoils_nothing(link: RedisLink) -> None:
    """Callers that are cancelled at any moment leave every other one with the answer to his own question."""
    await link.many([("SET", str(n), n) for n in range(200)])

    async def ask(n: int) -> None:
        for _ in range(20):
            assert await link.call("GET", str(n)) == str(n).encode()

    tasks = [asyncio.Task(ask(n)) for n in range(200)]
    for n in range(0, 200, 2):
        await asyncio.sleep(0)
        tasks[n].cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each for each in ended if each is not None and not isinstance(each, asyncio.CancelledError)] == []
    assert ended[1::2] == [None] * 100


async def test_a_script_is_sent_once(redis_server: RedisServer, link: RedisLink) -> None:
    """From then on by its digest, until the server forgets it."""
    for _ in range(3):
        assert await link.script(ECHO, ["k"], [1, b"\xff"]) == [b"k", b"1", b"\xff"]
    assert (calls(redis_server, "eval"), calls(redis_server, "evalsha")) == (1, 3)


def calls(server: RedisServer, command: str) -> int:
    stats = server.tell("INFO", "commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_a_script_that_fails_is_refused(link: RedisLink) -> None:
    """What it says is not repeated: it may quote its arguments."""
    broken = Script("broken", b"return redis.error_reply('canary ' .. ARGV[1])")
    with pytest.raises(LinkRefused, match=r"^Redis refused: other$"):
        await link.script(broken, ["k"], ["secret"])


async def test_more_than_may_wait_is_refused_at_once(redis_server: RedisServer) -> None:
    """The queue has a limit; what fits is answered."""
    link = RedisLink(redis_server.url, queue=10)
    ended = await asyncio.gather(*(link.call("PING") for _ in range(30)), return_exceptions=True)
    faults = [each.fault for each in ended if isinstance(each, LinkDown)]
    assert faults == [LinkFault.FULL] * 20
    assert ended[:10] == [b"PONG"] * 10
    await link.close()


async def test_closing_ends_what_waits(redis_server: RedisServer) -> None:
    """Callers are told, later ones too, and no connection is left."""
    link = RedisLink(redis_server.url, deadline=5.0)
    await link.call("PING")
    with redis_server.frozen():
        waiting = asyncio.Task(link.call("PING"))
        await asyncio.sleep(0.01)
        await link.close()
    with pytest.raises(LinkDown, match="closed"):
        await waiting
    with pytest.raises(LinkDown, match="closed"):
        await link.call("PING")


async def test_closing_before_anything_began(redis_server: RedisServer) -> None:
    """In the very turn in which the first command was asked."""
    link = RedisLink(redis_server.url)
    asked = asyncio.Task(link.call("PING"))
    await asyncio.sleep(0)
    await link.close()
    with pytest.raises(LinkDown, match="closed"):
        await asked
    assert "lanes=[]" in repr(link)


async def test_a_connection_that_the_server_closed_is_replaced_unnoticed(
    redis_server: RedisServer, link: RedisLink
) -> None:
    """While it rested; nobody gets an error for it."""
    await link.call("PING")
    redis_server.tell("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.02)
    assert await link.call("PING") == b"PONG"


async def test_a_socket_file(redis_server: RedisServer) -> None:
    """Instead of a port, with a database."""
    link = RedisLink(f"redis+unix://{redis_server.socket}?db=3")
    await link.call("SET", "a", "in the third")
    assert redis_server.tell("INFO", "keyspace")["db3"]["keys"] == 1
    await link.close()


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_is_verified(
    redis_server: RedisServer,
    server_tls: ssl.SSLContext,
    ca_file: Path,
    trusted: bool,  # noqa: FBT001  (a parameter of the test)
) -> None:
    """A certificate of an authority that nobody named is no server's."""
    async with tls_front(server_tls, redis_server.port) as port:
        link = RedisLink(f"rediss://localhost:{port}" + (f"?ca_certs={ca_file}" if trusted else ""), deadline=1.0)
        if trusted:
            assert await link.call("PING") == b"PONG"
        else:
            with pytest.raises(LinkDown, match="unreachable"):
                await link.call("PING")
        await link.close()


async def test_what_is_no_redis_is_named(upstream_port: int) -> None:
    """A server of another protocol on that port."""
    link = RedisLink(f"redis://127.0.0.1:{upstream_port}", deadline=1.0)
    with pytest.raises(LinkDown, match="foreign"):
        await link.call("PING")
    await link.close()


@pytest.fixture
async def upstream_port() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with suppress(OSError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_the_link_says_what_it_is_doing(redis_server: RedisServer) -> None:
    """Where it leads without credentials, the breaker's state, each connection."""
    link = RedisLink(f"redis://:canary@127.0.0.1:{redis_server.port}/2", deadline=1.0)
    assert "canary" not in repr(link)
    assert "<Breaker closed failures=0/3> lanes=[] waiting=0" in repr(link)
    await link.close()


async def test_a_large_value_on_a_slow_network_has_the_time_it_needs(redis_server: RedisServer) -> None:
    """Writing takes longer than the deadline; values have more of it by their size."""
    async with ToxicProxy("127.0.0.1", redis_server.port) as network:
        network.up.bandwidth = 40e6
        link = RedisLink(f"redis://127.0.0.1:{network.port}")
        await link.call("PING")
        assert await link.call("SET", "large", b"x" * 6_000_000) == b"OK"
        await until(lambda: redis_server.tell("STRLEN", "large") == 6_000_000)
        await link.close()


async def test_a_server_is_said_to_be_up_from_the_start(redis_server: RedisServer) -> None:
    """An alert on `askonce_redis_up` has a series to look at before anything has gone wrong."""
    heard = Heard()
    link = RedisLink(redis_server.url, events=heard)
    assert heard.states == [LinkState.UP]
    assert await link.call("PING") == b"PONG"
    assert heard.states == [LinkState.UP]
    await link.close()
