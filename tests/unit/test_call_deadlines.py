"""How long one call may take."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange import Headers, PhaseTimeouts
from proxy.upstream.deadlines import MAX_REMEMBERED, CallTimeouts, asked_for, within
from tests.fakes import sdk
from tests.fakes.answers import json_answer
from tests.fakes.upstream import ScriptedUpstream

GENERAL = PhaseTimeouts(connect=5.0, write=60.0, first_byte=600.0, idle=120.0, total=900.0)
CALLS = CallTimeouts(GENERAL)


def said(**fields: str) -> Headers:
    return [(b"x-" + name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]


def of(headers: Headers, *, streams: bool = False) -> PhaseTimeouts:
    """Asked twice: what is remembered is what was said."""
    first = CALLS.of(headers, streams=streams)
    assert CALLS.of([(b"accept", b"*/*"), *headers], streams=streams) == first
    return first


def test_who_says_nothing_has_what_is_configured() -> None:
    """An active stream has no end."""
    assert CALLS.of([(b"accept", b"*/*")], streams=False) is CALLS.plain
    assert CALLS.of([], streams=True) is CALLS.streaming
    assert CALLS.streaming == PhaseTimeouts(5.0, 60.0, 600.0, 120.0, inf)


@pytest.mark.parametrize("headers", [said(stainless_timeout="2.5"), said(askonce_timeout_ms="2500")])
def test_a_client_shortens_the_whole(headers: Headers) -> None:
    """All that has not begun by then; what is written and what streams goes on."""
    assert of(headers) == PhaseTimeouts(2.5, 60.0, 2.5, 120.0, 2.5, 2.5)
    assert of(headers, streams=True) == PhaseTimeouts(2.5, 60.0, 2.5, 120.0, inf, 2.5)
    assert asked_for(headers, streams=False) == asked_for(headers, streams=True) == 2.5


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("headers", [said(stainless_timeout="2.5"), said(askonce_timeout_ms="2500")])
def test_whoever_is_asked_next_has_what_is_left(headers: Headers, *, streams: bool) -> None:
    """Of the time that a client gives the whole, to begin within; and the next client has all of it."""
    left = CALLS.of(headers, streams=streams, spent=1.0)
    assert left == PhaseTimeouts(1.5, 60.0, 1.5, 120.0, inf if streams else 1.5, 1.5)
    over = CALLS.of(headers, streams=streams, spent=3.0)
    assert 0 < over.first_byte == over.connect < 0.01
    assert CALLS.of(headers, streams=streams).first_byte == 2.5


def test_a_client_says_how_long_it_waits_for_bytes() -> None:
    """Until an answer begins; a stream has comments in between, for as long as it may take to begin."""
    headers = said(stainless_read_timeout="2.5")
    assert of(headers) == PhaseTimeouts(2.5, 60.0, 2.5, 120.0, 900.0, 2.5)
    assert CALLS.of(headers, streams=False, spent=1.0) == PhaseTimeouts(1.5, 60.0, 1.5, 120.0, 900.0, 1.5)
    assert of(headers, streams=True) == CALLS.streaming
    assert asked_for(headers, streams=False) == 2.5
    assert asked_for(headers, streams=True) is None


def test_the_shortest_counts() -> None:
    """Of what a client says in several ways, or twice."""
    headers = said(stainless_timeout="20", stainless_read_timeout="7", askonce_timeout_ms="9000")
    assert of(headers) == PhaseTimeouts(5.0, 60.0, 7.0, 120.0, 9.0, 7.0)
    assert asked_for(headers, streams=True) == 9.0
    twice = said(stainless_timeout="20") + said(stainless_timeout="3")
    assert of(twice) == of(twice[::-1]) == within(GENERAL, 3.0)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "value", ["", "0", "0.0", "-1", "nan", "inf", "1e-3", "1_0", "5 s", "+5", ".5", "5.", "9" * 20, "\u0665", "5, 6"]
)
def test_what_says_nothing_is_ignored(value: str, *, streams: bool) -> None:
    """Also 0, which is what some clients make of less than a second."""
    for headers in (said(stainless_timeout=value), said(stainless_read_timeout=value), said(askonce_timeout_ms=value)):
        assert of(headers, streams=streams) == CALLS.of([], streams=streams)
        assert asked_for(headers, streams=streams) is None
    assert asked_for(said(askonce_timeout_ms="2.5"), streams=streams) is None


@given(st.floats(0.001, 1e6).map(lambda seconds: f"{seconds:.3f}"), st.booleans())
def test_no_client_lengthens(value: str, streams: bool) -> None:  # noqa: FBT001  (hypothesis gives it)
    """Whatever it says; and no phase of an active stream is shortened."""
    base = CALLS.of([], streams=streams)
    for name in (b"x-stainless-timeout", b"x-stainless-read-timeout"):
        short = CALLS.of([(name, value.encode())], streams=streams)
        assert (short.write, short.idle) == (base.write, base.idle)
        assert short.connect <= base.connect
        assert short.first_byte <= base.first_byte
        assert short.total == base.total if streams else short.total <= base.total


def test_what_is_remembered_is_bounded() -> None:
    """Whatever clients say."""
    calls = CallTimeouts(GENERAL)
    for number in range(3 * MAX_REMEMBERED):
        calls.of(said(stainless_timeout=f"{number}.5"), streams=False)
    calls.of(said(stainless_timeout="9" * 5_000), streams=False)
    assert 0 < len(calls._remembered[False]) <= MAX_REMEMBERED
    assert max(len(value) for _, value in calls._remembered[False]) < 10
    assert repr(calls) == f"<CallTimeouts {GENERAL!r}>"


async def test_what_the_official_client_says(upstream: ScriptedUpstream) -> None:
    """Seconds between bytes, on every request."""
    upstream.script(json_answer({"object": "list", "data": []}))
    client = sdk.asynchronous(f"http://127.0.0.1:{upstream.port}/v1", timeout=12.5)
    await client.models.list()
    await client.close()
    headers = [(name.lower(), value) for name, value in upstream.requests[0].headers]
    assert of(headers).first_byte == asked_for(headers, streams=False) == 12.5
