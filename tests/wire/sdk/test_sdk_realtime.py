"""Realtime sessions by the official SDK."""

from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.wire.sdk.parity import both_ways, done, each, entered

pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")
"""The SDK's synchronous client leaves `websockets` in a way that its later versions warn of."""

HELLO: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello there"}]}


async def answered(connection: Any) -> list[Any]:
    """The events up to the end of a response."""
    events = []
    async for event in each(connection):
        events.append(event)
        if event.type == "response.done":
            break
    return events


@both_ways
async def test_text_session(client: Any) -> Any:
    """A session of text: its settings, a message, the deltas of the answer and its usage."""
    async with entered(client.realtime.connect(model="gpt-realtime")) as connection:
        opened = await done(connection.recv())
        await done(connection.session.update(session={"type": "realtime", "output_modalities": ["text"]}))
        await done(connection.conversation.item.create(item=HELLO))
        await done(connection.response.create())
        events = await answered(connection)
    assert opened.type == "session.created"
    assert "response.output_text.delta" in [event.type for event in events]
    assert events[-1].response.usage.total_tokens > 0
    return [opened, *events]


@both_ways
async def test_audio_session(client: Any) -> Any:
    """A session of sound: what is said goes up in pieces, what is answered comes down in pieces."""
    async with entered(client.realtime.connect(model="gpt-realtime")) as connection:
        for _ in range(20):
            await done(connection.input_audio_buffer.append(audio="AAAA" * 2_000))
        await done(connection.input_audio_buffer.commit())
        await done(connection.response.create())
        events = await answered(connection)
    assert "response.output_audio.delta" in [event.type for event in events]
    return events


@both_ways
async def test_large_message(client: Any) -> Any:
    """A message of 2 MiB goes up and comes back in one piece."""
    item = {**HELLO, "content": [{"type": "input_text", "text": "ä" * (1 << 20)}]}
    options = {"max_size": 1 << 24}
    manager = client.realtime.connect(model="gpt-realtime", websocket_connection_options=options)
    async with entered(manager) as connection:
        await done(connection.recv())
        await done(connection.conversation.item.create(item=item))
        return await done(connection.recv())


@both_ways
async def test_errors_in_a_session(client: Any) -> Any:
    """An event that the server does not know is answered with an error, and the session goes on."""
    async with entered(client.realtime.connect(model="gpt-realtime")) as connection:
        await done(connection.recv())
        await done(connection.send({"type": "no.such.event", "event_id": "mine"}))
        error = await done(connection.recv())
        await done(connection.input_audio_buffer.clear())
        cleared = await done(connection.recv())
    assert error.error.event_id == "mine"
    return [error, cleared]


@both_ways
async def test_close_code(client: Any) -> Any:
    """The code and reason of the server's close reach the client."""
    async with entered(client.realtime.connect(model="demo-close-4008")) as connection:
        await done(connection.recv())
        with pytest.raises(ConnectionClosed) as closed:
            await done(connection.recv())
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4008
    return [closed.value.rcvd.code, closed.value.rcvd.reason]


@both_ways
async def test_unknown_model(client: Any) -> Any:
    """A session with an unknown model is told so and closed."""
    async with entered(client.realtime.connect(model="nope")) as connection:
        error = await done(connection.recv())
        with pytest.raises(ConnectionClosed) as closed:
            await done(connection.recv())
    assert closed.value.rcvd is not None
    return [error, closed.value.rcvd.code, closed.value.rcvd.reason]


@both_ways
async def test_refused_handshake(client: Any) -> Any:
    """A handshake that the upstream refuses is refused with the upstream's answer."""
    other = client.with_options(api_key="sk-invalid-0000")
    with pytest.raises(InvalidStatus) as refused:
        async with entered(other.realtime.connect(model="gpt-realtime")):
            pass
    response = refused.value.response
    return [response.status_code, response.body, response.headers["x-request-id"]]


@both_ways
async def test_responses_over_a_socket(client: Any) -> Any:
    """The Responses API works over a WebSocket of its own, one response after another."""
    events = []
    async with entered(client.responses.connect()) as connection:
        for question in ("One?", "Two?"):
            await done(connection.response.create(model="gpt-5", input=question))
            async for event in each(connection):
                events.append(event)
                if event.type == "response.completed":
                    break
    assert len([event for event in events if event.type == "response.completed"]) == 2
    return events
