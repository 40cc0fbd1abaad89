"""The life of a request, without a socket: every stage, every refusal, and an end at every step."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from proxy.errors import Failure, Kind
from proxy.exchange import Ask, Exchange, Outcome
from tests.fakes.frames import chat_frame, error_frames
from tests.fakes.seams import FakeBody, FakeClient, FakeReply, House, house, sent_header

EVENTS = b"text/event-stream"
STREAM = {"model": "m", "stream": True}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "log") as built:
        yield built
        assert built.accounting.in_flight == 0
        assert built.metrics.in_flight == 0
        assert built.watch.watched == []


async def _serve(home: House, body: object = None, **fields: object) -> tuple[Exchange, FakeClient]:
    exchange, client = home.exchange(body, **fields)  # type: ignore[arg-type]
    await home.pipeline.serve(exchange)
    return exchange, client


async def test_an_answer(home: House) -> None:
    """Asked once, answered once, accounted for once."""
    home.transport.reply = reply = FakeReply(body=b"{}")
    exchange, client = await _serve(home)
    assert (client.status, client.body, client.finished) == (200, b"{}", True)
    assert (exchange.attempts, exchange.upstream, exchange.outcome) == (1, "test", Outcome.RELAYED)
    assert len(home.transport.asks) == 1
    assert reply.aborted == 1
    (line,) = home.lines()
    assert (line["status"], line["outcome"], line["error"]) == (200, "relayed", None)


async def test_what_is_asked(home: House) -> None:
    """Method, target under the base path, body, fields; JSON that does not stream is bound in total."""
    home.transport.reply = FakeReply(body=b"{}")
    await _serve(home, b'{"model":"m"}', headers=[(b"x", b"y"), (b"accept-encoding", b"gzip")])
    (ask,) = home.transport.asks
    assert (ask.method, ask.target, ask.body) == ("POST", b"/base/chat/completions", b'{"model":"m"}')
    assert ask.lines == b"x: y\r\naccept-encoding: identity\r\n"
    assert ask.timeouts.total == 5.0


@pytest.mark.parametrize(
    ("body", "path"), [(STREAM, "/v1/chat/completions"), (FakeBody(), "/v1/files")], ids=["stream", "upload"]
)
async def test_no_total_for_what_may_last(home: House, body: object, path: str) -> None:
    """Streams and uploads have no total time-out."""
    home.transport.reply = FakeReply(body=b"{}")
    await _serve(home, body, path=path)
    assert home.transport.asks[0].timeouts.total == float("inf")


async def test_the_operators_key(tmp_path: Path) -> None:
    """With a key in the configuration no credential of the client's leaves."""
    with house(tmp_path / "log", key="sk-ours") as home:
        home.transport.reply = FakeReply(body=b"{}")
        await _serve(home, headers=[(b"authorization", b"Bearer sk-theirs"), (b"x-api-key", b"sk-theirs")])
        (ask,) = home.transport.asks
        assert sent_header(ask, b"authorization") == b"Bearer sk-ours"
        assert b"theirs" not in ask.lines


REFUSALS = [
    (b"{", {}, Kind.INVALID_JSON),
    (None, {"path": "/nowhere"}, Kind.UNKNOWN_ROUTE),
    (None, {"path": "/v1/../x"}, Kind.INVALID_REQUEST),
    (None, {"method": "DELETE", "path": "/v1/embeddings"}, Kind.METHOD_NOT_ALLOWED),
    ({"pad": "x" * (1 << 16)}, {}, Kind.REQUEST_TOO_LARGE),
    (b"x" * ((1 << 20) + 1), {"path": "/v1/files"}, Kind.REQUEST_TOO_LARGE),
    (None, {"headers": [(b"content-encoding", b"br")]}, Kind.UNSUPPORTED_ENCODING),
    (None, {"headers": [(b"content-encoding", b"gzip")]}, Kind.INVALID_REQUEST),
]


@pytest.mark.parametrize(("body", "fields", "kind"), REFUSALS, ids=lambda value: getattr(value, "value", ""))
async def test_refusals(home: House, body: object, fields: dict[str, object], kind: Kind) -> None:
    """What is refused never reaches the upstream, and is one error in OpenAI's shape."""
    exchange, client = await _serve(home, body, **fields)
    assert home.transport.asks == []
    assert (client.status, client.error["code"], client.finished) == (kind.status, kind.value, True)
    assert client.header(b"x-request-id") == b"ask-1"
    assert exchange.outcome is Outcome.REFUSED
    (line,) = home.lines()
    assert (line["status"], line["outcome"], line["error"]) == (kind.status, "refused", kind.value)


async def test_a_model_that_nobody_serves(tmp_path: Path) -> None:
    """404 model_not_found, naming `model`."""
    with house(tmp_path / "log", models=("gpt-*",)) as home:
        _, client = await _serve(home, {"model": "claude"})
        assert (client.status, client.error["param"], client.error["code"]) == (404, "model", "model_not_found")


async def test_a_key_is_required(tmp_path: Path) -> None:
    """401, before a byte of the body is waited for."""
    with house(tmp_path / "log", required=True) as home:
        _, client = await _serve(home, FakeBody(None))
        assert (client.status, client.error["code"]) == (401, "invalid_api_key")


async def test_draining(home: House) -> None:
    """A process on its way out says so; what is not the upstream's business it still answers."""
    home.pipeline.draining = True
    _, client = await _serve(home)
    assert (client.status, client.error["code"], client.header(b"retry-after")) == (503, "draining", b"1")
    assert client.header(b"x-should-retry") == b""
    _, client = await _serve(home, FakeBody(), method="GET", path="/healthz")
    assert (client.status, client.body) == (200, b'{"status":"alive"}')


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.value.startswith("upstream")])
async def test_an_upstream_that_fails(home: House, kind: Kind) -> None:
    """The failure is the answer; a POST that may have been processed is not to be retried."""
    home.transport.reply = Failure(kind, detail="canary")
    exchange, client = await _serve(home)
    assert (client.status, client.error["code"]) == (kind.status, kind.value)
    assert client.header(b"x-should-retry") == b"false"
    assert exchange.outcome is Outcome.FAILED
    assert b"canary" not in client.body


async def test_a_bug(home: House) -> None:
    """An exception is a 500 that says nothing, is logged by its type, and must not bill twice."""

    async def stumble(_: Ask) -> None:
        raise KeyError("canary")

    home.transport.hook = stumble
    exchange, client = await _serve(home)
    assert (client.status, client.error["code"]) == (500, "internal_error")
    assert client.header(b"x-should-retry") == b"false"
    assert b"canary" not in client.body
    assert exchange.outcome is Outcome.FAILED
    home.log.close()
    assert "canary" not in home._path.read_text()
    assert "KeyError" in home._path.read_text()


async def test_a_bug_before_the_upstream(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that strikes before anything was sent may be retried."""

    class Broken:
        def identify(self, exchange: Exchange) -> None:
            raise ZeroDivisionError

    monkeypatch.setattr(home.pipeline, "_auth", Broken())
    _, client = await _serve(home)
    assert (client.status, client.header(b"x-should-retry")) == (500, b"")


async def test_a_switch_that_was_not_asked_for(home: House) -> None:
    """The request id of an upstream whose answer can't be relayed still reaches the client."""
    home.transport.reply = FakeReply(101, headers=[(b"x-request-id", b"req_1")])

    async def refuse(*_: object) -> None:
        raise Failure(Kind.UPSTREAM_ERROR)

    exchange, client = home.exchange()
    client.tunnel = refuse  # type: ignore[method-assign,assignment]
    await home.pipeline.serve(exchange)
    assert (client.status, client.header(b"x-request-id")) == (502, b"req_1")


# An end at every step


async def _steps(
    home: House, steps: int, body: object, reply: FakeReply | None
) -> "tuple[FakeClient, asyncio.Task[None]]":
    home.transport.reply = reply

    async def yielding(_: Ask) -> None:
        for _step in range(3):
            await asyncio.sleep(0)

    home.transport.hook = yielding
    exchange, client = home.exchange(body)
    task = asyncio.Task(home.pipeline.serve(exchange))
    for _ in range(steps):
        await asyncio.sleep(0)
    return client, task


BODIES = {"json": ({"model": "m"}, b"application/json"), "stream": (STREAM, EVENTS)}


@pytest.mark.parametrize("steps", range(1, 9))
@pytest.mark.parametrize("form", BODIES)
async def test_cut_at_every_step(home: House, steps: int, form: str) -> None:
    """However far a request has come when the process ends: one answer, one line, the upstream let go of."""
    body, content_type = BODIES[form]
    reply = FakeReply(content_type=content_type)
    client, task = await _steps(home, steps, body, reply)
    started = client.started
    task.cancel()
    await task
    assert task.done()
    assert client.over
    assert reply.aborted + home.transport.cancelled <= 1
    if not started:
        assert (client.status, client.error["code"]) == (503, "draining")
        assert client.header(b"x-should-retry") == (b"false" if home.transport.asks else b"")
    elif form == "stream":
        (error,) = error_frames(client.body)
        assert error["code"] == "draining"
    else:
        assert client.aborted
    if home.transport.asks:
        assert reply.aborted + home.transport.cancelled == 1
    assert len(home.lines()) == 1


@pytest.mark.parametrize("steps", range(1, 9))
async def test_the_client_leaves_at_every_step(home: House, steps: int) -> None:
    """The same when it is the client who ends it: nobody is told, and the line says 499 or what had begun."""
    reply = FakeReply(content_type=EVENTS)
    home.transport.reply = reply
    exchange, client = home.exchange(STREAM)
    task = asyncio.Task(home.pipeline.serve(exchange))
    for _ in range(steps):
        await asyncio.sleep(0)
    started = client.started
    exchange.cut_by = Failure(Kind.CLIENT_CLOSED)
    task.cancel()
    await task
    assert client.started is started
    assert exchange.outcome is Outcome.ABANDONED
    (line,) = home.lines()
    assert (line["outcome"], line["status"]) == ("abandoned", 200 if started else 499)


async def test_cut_while_the_body_comes(home: House) -> None:
    """A request that was still arriving is told to go elsewhere."""
    exchange, client = home.exchange(FakeBody(None))
    task = asyncio.Task(home.pipeline.serve(exchange))
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert (client.status, client.header(b"x-should-retry")) == (503, b"")
    assert home.transport.asks == []


async def test_cut_in_a_tunnel(home: House) -> None:
    """A session is let go of, and accounted for."""
    home.transport.reply = reply = FakeReply(101)
    exchange, client = home.exchange(FakeBody(), method="GET", path="/v1/realtime", upgrade=b"websocket")
    task = asyncio.Task(home.pipeline.serve(exchange))
    for _ in range(4):
        await asyncio.sleep(0)
    assert client.tunnelled
    client.tunnelled(
        msgspec.json.encode({"response": {"usage": {"output_tokens": 4}}}), lambda failure: pytest.fail(repr(failure))
    )
    exchange.cut_by = Failure(Kind.CLIENT_CLOSED)
    task.cancel()
    await task
    assert reply.aborted == 1
    assert exchange.bill is not None
    assert home.lines()[0]["outcome"] == "abandoned"


async def test_nothing_is_held_on_to(home: House) -> None:
    """After an exchange nothing refers to it: no cycle, no registry."""
    home.transport.reply = FakeReply(body=chat_frame("x"), content_type=EVENTS)
    gc.collect()
    before = [each for each in gc.get_objects() if isinstance(each, Exchange)]
    gc.disable()
    try:
        for _ in range(3):
            home.transport.reply = FakeReply(body=b"{}")
            await _serve(home)
        home.transport.asks.clear()
        home.accounting.settle()
        held = [each for each in gc.get_objects() if isinstance(each, Exchange)]
    finally:
        gc.enable()
    assert len(held) == len(before)
