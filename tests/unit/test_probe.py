"""What asks an upstream whether it lives."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.admission.gate import Gate
from proxy.errors import Failure, Kind
from proxy.exchange import Ask, LiveReply, PhaseTimeouts
from proxy.upstream.balance import PeakEwma
from proxy.upstream.breaker import Breaker, Result, Settings, State
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.probe import Probe
from proxy.upstream.retry import RetryBudget
from tests.fakes.clock import Clock
from tests.fakes.polling import until

SETTINGS = Settings(failures=3, share=0.9, window=30.0, least=20, cool_down=5.0, longest=60.0, probes=1)
TIMES = PhaseTimeouts(1.0, 1.0, 1.0, 1.0, 1.0)


class Reply:
    status = 200

    def abort(self) -> None: ...


class Line:
    """Answers with what the `turns` bring forth, the last of them for good."""

    def __init__(self, *turns: Callable[[], Any]) -> None:
        self._turns = [*turns]

    async def send(self, _: Ask) -> LiveReply:
        turn = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
        reply: LiveReply = turn()
        return reply


def raises(error: Exception) -> Callable[[], Any]:
    def turn() -> Any:
        raise error

    return turn


def made(line: Line, breaker: Breaker | None, told: list[bool], interval: float = 60.0) -> Probe:
    clock = Clock()
    gate = Gate(None, queue=1, patience=1.0, clock=clock)
    endpoint = Endpoint("u", gate, RetryBudget(0.1), PeakEwma(clock), breaker)
    return Probe(endpoint, line, b"/models", [], TIMES, interval, lambda: 0.5, lambda _, lives: told.append(lives))


async def test_a_defect_is_told_and_the_next_probe_is_made() -> None:
    """What nobody thought of costs one probe and not all of them."""
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    told: list[bool] = []
    defect = RuntimeError("of the code")
    probe = made(Line(raises(defect), Reply), None, told, interval=0.001)
    probe.start()
    try:
        await until(lambda: told != [])
    finally:
        probe.stop()
    assert errors == [defect]
    assert told[0]


async def test_an_answer_takes_back_no_failures_of_requests() -> None:
    """That it lives does not say that it serves: the breaker opens with as many failures in a row as without probes."""
    breaker, told = Breaker("u", SETTINGS, Clock(), lambda: 0.5), list[bool]()
    probe = made(Line(Reply), breaker, told)
    for _ in range(3):
        assert breaker.state is State.CLOSED
        breaker.leave(breaker.enter() or 0, Result.FAILED)
        await probe.once()
    assert breaker.state is State.OPEN
    assert told == [True, True]


async def test_an_answer_ends_a_row_of_probes() -> None:
    """Those that are lost now and then do not add up, however many of them; as many in a row open."""
    clock = Clock()
    breaker = Breaker("u", SETTINGS, clock, lambda: 0.5)
    down = raises(Failure(Kind.UPSTREAM_UNREACHABLE))
    probe = made(Line(*[down, down, Reply] * 9, down), breaker, [])
    for _ in range(9 * 3 + 2):
        clock.advance(10.0)
        await probe.once()
        assert breaker.state is State.CLOSED
    await probe.once()
    assert breaker.state is State.OPEN


async def test_an_answer_is_no_success_of_a_request() -> None:
    """It ends no row in which a request failed, and makes no share of failures smaller."""
    clock = Clock()
    breaker = Breaker("u", replace(SETTINGS, failures=99, share=0.5, least=4), clock, lambda: 0.5)
    probe = made(Line(Reply), breaker, [])
    for _ in range(3):
        breaker.leave(breaker.enter() or 0, Result.FAILED)
        for _ in range(9):
            await probe.once()
        assert (breaker.state, breaker.failing) == (State.CLOSED, True)
    breaker.leave(breaker.enter() or 0, Result.FAILED)
    assert breaker.state is State.OPEN


async def test_an_answer_is_no_recovery() -> None:
    """Until an answer to a request has come whole, the next cool-down is twice as long."""
    clock = Clock()
    breaker = Breaker("u", SETTINGS, clock, lambda: 0.5)
    probe = made(Line(Reply), breaker, [])
    for seconds in (5.0, 10.0):
        for _ in range(3):
            breaker.leave(breaker.enter() or 0, Result.FAILED)
        assert breaker.retry_after() == seconds
        clock.advance(seconds)
        breaker.leave(breaker.enter() or 0, Result.SUCCEEDED)
        await probe.once()
    assert breaker.state is State.CLOSED


async def test_probes_open_and_close() -> None:
    """Those that fail count as requests do; one that is answered after the cool-down closes what they opened."""
    clock = Clock()
    breaker, told = Breaker("u", SETTINGS, clock, lambda: 0.5), list[bool]()
    down = raises(Failure(Kind.UPSTREAM_UNREACHABLE))
    probe = made(Line(down, down, down, Reply), breaker, told)
    for _ in range(4):
        await probe.once()
    assert (breaker.state, told) == (State.OPEN, [False] * 3)
    clock.advance(SETTINGS.cool_down)
    await probe.once()
    assert (breaker.state, told) == (State.CLOSED, [False] * 3 + [True])


async def test_an_answer_does_not_close_where_requests_have_failed() -> None:
    """Each request is a probe then, and the cool-down grows: an upstream may list its models and serve none of them."""
    clock = Clock()
    breaker, told = Breaker("u", SETTINGS, clock, lambda: 0.5), list[bool]()
    probe = made(Line(Reply), breaker, told)
    for _ in range(3):
        breaker.leave(breaker.enter() or 0, Result.FAILED)
    for seconds in (5.0, 10.0, 20.0):
        assert breaker.retry_after() == seconds
        clock.advance(seconds)
        await probe.once()
        await probe.once()
        assert (breaker.state, breaker.allows()) == (State.HALF_OPEN, True)
        breaker.leave(breaker.enter() or 0, Result.FAILED)
    assert told == [True] * 6


async def test_a_request_that_fails_after_probes_opened_counts() -> None:
    """From then on an answer to a probe closes no more; once a request was served it does again."""
    clock = Clock()
    breaker = Breaker("u", SETTINGS, clock, lambda: 0.5)
    down = raises(Failure(Kind.UPSTREAM_UNREACHABLE))
    probe = made(Line(down, down, down, Reply, down, down, down, Reply), breaker, [])
    for _ in range(3):
        await probe.once()
    clock.advance(5.0)
    breaker.leave(breaker.enter() or 0, Result.FAILED)
    clock.advance(10.0)
    await probe.once()
    assert (breaker.state, breaker.allows()) == (State.HALF_OPEN, True)
    breaker.leave(breaker.enter() or 0, Result.SUCCEEDED)
    for _ in range(3):
        await probe.once()
    clock.advance(60.0)
    await probe.once()
    assert breaker.state is State.CLOSED


async def test_who_may_not_probe_yet_asks_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker gives way to who wants to probe; by the next interval it would be somebody else's turn."""
    monkeypatch.setattr("proxy.upstream.probe.AGAIN", 0.001)
    clock, may, draws, told = Clock(), iter([False, True, True]), iter([-4.5, 1e6, 1e6]), list[bool]()
    breaker = Breaker("u", SETTINGS, clock, lambda: 0.5, may_probe=lambda: next(may))
    breaker.heard_open(0.0, 1)
    probe = made(Line(Reply), breaker, told)
    probe._draw = lambda: next(draws)
    probe.start()
    try:
        await until(lambda: told == [True])
    finally:
        probe.stop()
