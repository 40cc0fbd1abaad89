"""The laws of an overload can be broken, and notice when they are."""

import asyncio
import math
from typing import NoReturn

import pytest
import typer
from rich.console import Console

from bench.chaos.__main__ import chaos_of
from bench.chaos.flood import Answered, Flood, flood, saturate
from bench.chaos.laws import quantile
from bench.chaos.overload import good_share, offered, prompt_refusals, recovered, unblocked
from bench.chaos.scenarios import Scenario, Settings, replayed_by
from bench.load import LoadError

LAG = "askonce_event_loop_lag_seconds"


def served(times: list[float], *, seconds: float = 11.0, takes: float = 0.1) -> Flood:
    """Good answers that came at these times."""
    return Flood(0.0, seconds, good=[Answered(at - takes, takes) for at in times])


def histogram(buckets: dict[str, int]) -> str:
    return "".join(f'{LAG}_bucket{{le="{bound}"}} {count}\n' for bound, count in buckets.items())


def test_goodput_is_what_was_answered_while_too_much_was_asked() -> None:
    """Nine in ten of the peak, not counting the first second and what came after the end."""
    steady = [1 + at / 90 for at in range(900)]
    assert good_share(served(steady), peak=100).holds
    assert not good_share(served(steady[:-10]), peak=100).holds
    assert not good_share(served([*steady[:-10], *[11.5] * 10, *[0.5] * 10]), peak=100).holds


def test_an_overload_is_one() -> None:
    """Five times the peak is offered, but for a thirtieth."""
    assert offered(Flood(0.0, 10.0, sent=4_850), peak=100, used=1.0).holds
    assert not offered(Flood(0.0, 10.0, sent=4_840), peak=100, used=1.0).holds


def test_a_hundredth_of_the_refusals_may_be_late() -> None:
    """And where nobody is refused, nothing is known."""
    prompt, late = Answered(0.0, 0.009), Answered(0.0, 0.011)
    assert prompt_refusals(Flood(0.0, refused=[prompt] * 991 + [late] * 9)).holds
    assert not prompt_refusals(Flood(0.0, refused=[prompt] * 980 + [late] * 20)).holds
    assert not prompt_refusals(Flood(0.0)).holds


@pytest.mark.parametrize(("last", "holds"), [(4.9, True), (5.1, False)])
def test_an_overload_is_forgotten_in_five_seconds(last: float, holds: bool) -> None:  # noqa: FBT001
    """Counted to the last that is refused, or is slower than it was before."""
    good = [Answered(at / 10, 0.1) for at in range(89)]
    assert recovered(Flood(0.0, good=good, refused=[Answered(last, 0.001)]), 0.0, 0.1).holds is holds
    assert recovered(Flood(0.0, good=[*good, Answered(last, 0.2)]), 0.0, 0.1).holds is holds


def test_after_an_overload_somebody_must_be_served() -> None:
    """Silence is no recovery."""
    assert not recovered(Flood(0.0), 0.0, 0.1).holds


def test_a_quantile_is_of_what_came_in_between() -> None:
    """Its bucket's bound; what was counted before does not count, and of nothing there is none."""
    before = histogram({"0.05": 0, "0.1": 1_000, "+Inf": 1_000})
    after = histogram({"0.05": 98, "0.1": 1_099, "+Inf": 1_100})
    assert quantile(LAG, 0.5, before, after) == 0.05
    assert quantile(LAG, 0.99, before, after) == 0.1
    assert math.isnan(quantile(LAG, 0.5, before, before))
    assert not unblocked(before, after).holds
    assert unblocked(before, histogram({"0.05": 99, "0.1": 1_100, "+Inf": 1_100})).holds
    assert not unblocked(before, before).holds


async def _answering(status: bytes, headers: bytes, body: bytes, *, once: bool = False) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            head = b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n" % (status, headers, len(body))
            writer.write(head + body)
            if once:
                break
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("status", "headers", "code", "found"),
    [
        (b"200 OK", b"", b"", "good"),
        (b"503 Busy", b"retry-after: 1\r\n", b"overloaded", "refused"),
        (b"503 Busy", b"", b"overloaded", "wrong"),
        (b"503 Busy", b"retry-after: 1\r\n", b"upstream_unavailable", "wrong"),
        (b"500 No", b"retry-after: 1\r\n", b"overloaded", "wrong"),
    ],
)
async def test_each_answer_is_good_a_refusal_or_wrong(status: bytes, headers: bytes, code: bytes, found: str) -> None:
    """A refusal says why, and when to come again."""
    server = await _answering(status, headers, b'{"error":{"code":"%b"}}' % code)
    async with server:
        port = server.sockets[0].getsockname()[1]
        flooded = await flood(port, b"ask\n", rate=500, seconds=0.05, connections=4)
    counts = {"good": len(flooded.good), "refused": len(flooded.refused), "wrong": flooded.wrong.total()}
    assert counts.pop(found) == flooded.sent > 0
    assert set(counts.values()) == {0}


async def test_who_asks_at_a_rate_does_not_wait_for_answers() -> None:
    """What finds no connection free is counted, and not sent; a closed loop sends one at a time on each."""
    async with await asyncio.start_server(lambda _, writer: _hold(writer), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        flooded = await flood(port, b"ask\n", rate=1_000, seconds=0.03, connections=2)
        assert (flooded.sent, flooded.unsent) == (2, 28)
        filled = await saturate(port, b"ask\n", seconds=0.03, connections=3)
        assert filled.sent == 3


async def test_who_is_never_answered_is_told_of() -> None:
    """As an error of the load, with how many wait, for how long, and what has come of it."""
    silent = await asyncio.start_server(_silence, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        for act in (
            flood(port, b"ask\n", rate=500, seconds=0.01, connections=3, patience=0.05),
            saturate(port, b"ask\n", seconds=0.01, connections=3, patience=0.05),
        ):
            with pytest.raises(LoadError, match=r"3 of 3 requests .* 0\.05 s .* s ago, status 0 and 0 bytes came"):
                await act


async def test_a_connection_that_is_closed_is_not_asked_on() -> None:
    """Neither one whose answer says that it was its last, nor one that ended while it was idle."""
    async with await _answering(b"200 OK", b"connection: close\r\n", b"") as server:
        port = server.sockets[0].getsockname()[1]
        flooded = await flood(port, b"ask\n", rate=500, seconds=0.01, connections=2)
    assert (len(flooded.good), flooded.sent, flooded.unsent) == (2, 2, 3)
    async with await _answering(b"200 OK", b"", b"", once=True) as server:
        port = server.sockets[0].getsockname()[1]
        flooded = await flood(port, b"ask\n", rate=50, seconds=0.1, connections=2, patience=5.0)
    assert len(flooded.good) + flooded.wrong.total() == flooded.sent


@pytest.mark.parametrize("error", [LoadError("nobody listens"), TimeoutError()])
def test_a_run_that_failed_can_be_replayed(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it failed of, the command is printed."""

    def run(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("bench.chaos.__main__.run", run)
    with pytest.raises((typer.Exit, TimeoutError)):
        chaos_of(Scenario.OVERLOAD, Settings(20.0, 1_000, 7), Console())
    assert "again with: make chaos ARGS='overload --seed 7 --seconds 20'" in capsys.readouterr().out


def test_a_replay_has_all_that_was_asked_for() -> None:
    """And nothing that the scenario does not heed."""
    told = {each: replayed_by(each, Settings(None, 50, 3)) for each in (Scenario.STREAMS, Scenario.SOAK)}
    assert told[Scenario.STREAMS] == "make chaos ARGS='streams --seed 3 --streams 50'"
    assert told[Scenario.SOAK] == "make chaos ARGS='soak --seed 3'"
    assert replayed_by(Scenario.STREAMS, Settings(0.5, 50, 3)).endswith("--seconds 0.5 --streams 50'")


async def _hold(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.05)
    writer.close()


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()
