"""Calls upstream that are paid for: charged before they are made, and told to tell what they used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from limits import Kind, MemoryLimiter
from proxy.exchange import Exchange
from proxy.limiting.metered import Metering
from tests.fakes.frames import CHAT, COUNTED, DONE, STREAM, USAGE, chat_frame
from tests.fakes.limited import Desk, Limited, limited
from tests.fakes.limiting import Time
from tests.fakes.seams import FakeClient, FakeReply

EVENTS = b"text/event-stream"
BODY = b'{"model":"m","max_tokens":3}'
PRICE = 7 * 1_000 + 3 * 2_000
"""Four tokens around no message, and three of answer: an upper bound."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Limited]:
    time = Time()
    with limited(tmp_path / "log", MemoryLimiter(time, time), key={Kind.SPEND: PRICE}) as built:
        yield built


async def served(home: Limited, body: object, *frames: bytes, **fields: Any) -> tuple[Exchange, FakeClient]:
    exchange, client = home.ask(body, **fields)
    content = b"".join(frames)
    home.transport.reply = FakeReply(200, EVENTS if frames else b"application/json", content or b"{}")
    await home.serve(exchange)
    return exchange, client


async def test_what_is_refused_is_not_sent(home: Limited) -> None:
    """The upstream hears nothing of it."""
    _, client = await served(home, BODY.replace(b":3", b":300"))
    assert (client.status, client.error["code"], home.transport.asks) == (429, "insufficient_quota", [])


async def test_a_stream_is_asked_for_its_usage(home: Limited) -> None:
    """Its client is not told, for it did not ask; what it used is known."""
    exchange, client = await served(home, STREAM | {"max_tokens": 1}, chat_frame("one"), USAGE, DONE)
    (ask,) = home.transport.asks
    assert isinstance(ask.body, bytes)
    assert msgspec.json.decode(ask.body)["stream_options"] == {"include_usage": True}
    assert client.body == chat_frame("one") + DONE
    home.accounting.settle()
    assert [(row.used, row.estimated) for row in home.rows] == [({"input": 11, "output": 7}, False)]
    assert exchange.bill is not None


@pytest.mark.parametrize("body", [COUNTED, CHAT], ids=["asked", "plain"])
async def test_others_are_sent_as_they_are(home: Limited, body: dict[str, object]) -> None:
    """Who asks for the usage gets it; what is no stream tells it anyway."""
    frames = [chat_frame("one"), USAGE, DONE] if "stream" in body else []
    _, client = await served(home, body | {"max_tokens": 1}, *frames)
    (ask,) = home.transport.asks
    assert isinstance(ask.body, bytes)
    assert msgspec.json.decode(ask.body) == body | {"max_tokens": 1}
    assert (USAGE in client.body) == ("stream" in body)


async def test_streams_of_other_routes_are_sent_as_they_are(home: Limited) -> None:
    """They have no such option."""
    await served(home, {"model": "m", "input": "hi", "stream": True, "max_output_tokens": 1}, path="/v1/responses")
    (ask,) = home.transport.asks
    assert isinstance(ask.body, bytes)
    assert b"stream_options" not in ask.body


def test_metering_says_what_it_is() -> None:
    """In a log, or to whoever debugs it."""
    time = Time()
    desk = Desk(MemoryLimiter(time, time), time)
    assert isinstance(desk.metering, Metering)
    assert repr(desk.metering).startswith("<Metering <Limits")
