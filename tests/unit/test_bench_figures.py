"""The bench's figures mean what they say."""

import os
import subprocess
import sys

import pytest

from bench import cpu
from bench.lanes import TAKES, Lane, Measure, Plan, slices_of, spec_of
from bench.load import LoadError, parse_wrk
from bench.payload import DONE, FINISH, Frames, Sequence, chat_body, frame, plan_of
from bench.payload import Plan as Asked
from bench.report import TARGETS, Bound, Spread, as_json, ratios, rows, verdicts
from bench.rounds import Slice
from bench.spec import Spec
from cache.fingerprint import digest


def _slice(
    lane: Lane,
    index: int,
    cpu_us: float,
    measure: Measure = Measure.REQUESTS,
    rate: float = 1_000.0,
    calls: int = 0,
    herds: int = 0,
) -> Slice:
    return Slice(
        lane=lane,
        measure=measure,
        round=index,
        rate=rate,
        cpu_us=cpu_us,
        p50_ms=1.0,
        p99_ms=2.0,
        rss_before=1,
        rss_peak=2,
        failed=0,
        units_per_read=1.0,
        complaints=[],
        calls=calls,
        herds=herds,
    )


def _verdict(slices: list[Slice], measure: Measure, bound: Bound) -> tuple[float | None, bool | None]:
    found, *_ = [each for each in verdicts(slices) if (each.target.measure, each.target.bound) == (measure, bound)]
    return found.found, found.holds


def test_a_ratio_is_the_median_of_same_round_ratios() -> None:
    """A round that was slow for everybody does not bend the ratio."""
    slices = [
        *(_slice(Lane.NGINX, index, cost) for index, cost in enumerate([10.0, 20.0, 100.0])),
        *(_slice(Lane.ASKONCE, index, cost) for index, cost in enumerate([30.0, 50.0, 400.0])),
    ]
    assert ratios(slices, Measure.REQUESTS, Lane.ASKONCE, Lane.NGINX) == Spread(3.0, 2.5, 4.0)


def test_a_slice_that_served_nothing_counts_in_no_ratio() -> None:
    """The CPU of a server that answers nothing is no cost of a request."""
    slices = [_slice(Lane.NGINX, 0, 10.0), _slice(Lane.ASKONCE, 0, 1.0, rate=0.0)]
    assert ratios(slices, Measure.REQUESTS, Lane.ASKONCE, Lane.NGINX) is None


def test_a_target_is_held_against_the_median() -> None:
    """Held at the bound, broken above it, and unknown without the lane to compare with."""
    slices = [
        _slice(Lane.NGINX, 0, 10.0),
        _slice(Lane.ASKONCE, 0, 40.0),
        _slice(Lane.NGINX, 0, 10.0, Measure.STREAMS),
        _slice(Lane.ASKONCE, 0, 15.1, Measure.STREAMS),
    ]
    held = {(found.target.measure, found.target.to): found.holds for found in verdicts(slices)}
    assert held[Measure.REQUESTS, (Measure.REQUESTS, Lane.NGINX)] is True
    assert held[Measure.REQUESTS, (Measure.REQUESTS, Lane.AIOHTTP_ASYNCIO)] is None
    assert held[Measure.STREAMS, (Measure.STREAMS, Lane.NGINX)] is False
    assert held[Measure.REPLAY, None] is None


def test_the_target_for_requests_speaks_of_aiohttp_as_it_comes() -> None:
    """The relay on uvloop is told beside it and decides nothing."""
    slices = [
        _slice(Lane.AIOHTTP_ASYNCIO, 0, 200.0),
        _slice(Lane.AIOHTTP_UVLOOP, 0, 100.0),
        _slice(Lane.ASKONCE, 0, 80.0),
    ]
    (found,) = [each for each in verdicts(slices) if each.beside is not None]
    assert (found.found, found.beside, found.holds) == (0.4, 0.8, True)


def test_a_hit_in_redis_is_held_against_one_in_memory() -> None:
    """Round by round: 120 µs more, and no more."""
    memory = [_slice(Lane.CACHE, index, cost, Measure.HITS) for index, cost in enumerate([50.0, 150.0, 50.0])]
    redis = [_slice(Lane.REDIS, index, cost, Measure.REDIS) for index, cost in enumerate([160.0, 270.0, 180.0])]
    assert _verdict([*memory, *redis], Measure.REDIS, Bound.MORE) == (120.0, True)
    assert _verdict([*memory, *redis[2:]], Measure.REDIS, Bound.MORE) == (130.0, False)
    assert _verdict(redis, Measure.REDIS, Bound.MORE) == (None, None)


def test_one_herd_with_two_calls_breaks_the_law() -> None:
    """The worst round counts, not the median."""
    rounds = [_slice(Lane.CACHE, at, 1.0, Measure.COALESCED, calls=20, herds=20) for at in range(4)]
    assert _verdict(rounds, Measure.COALESCED, Bound.CALLS) == (1.0, True)
    rounds.append(_slice(Lane.CACHE, 4, 1.0, Measure.COALESCED, calls=21, herds=20))
    assert _verdict(rounds, Measure.COALESCED, Bound.CALLS) == (1.05, False)


def test_a_replayed_frame_has_a_price_of_its_own() -> None:
    """Ten microseconds, whatever others need."""
    assert _verdict([_slice(Lane.CACHE, 0, 10.0, Measure.REPLAY)], Measure.REPLAY, Bound.MICROSECONDS)[1] is True
    assert _verdict([_slice(Lane.CACHE, 0, 10.1, Measure.REPLAY)], Measure.REPLAY, Bound.MICROSECONDS)[1] is False


def test_every_target_can_be_measured() -> None:
    """It speaks of lanes that its measures take."""
    for target in TARGETS:
        assert target.lane in TAKES[target.measure]
        assert target.to is None or target.to[1] in TAKES[target.to[0]]


def test_rows_and_json_hold_every_lane_that_was_measured() -> None:
    """One row for a lane and measure, in their fixed order."""
    slices = [_slice(Lane.ASKONCE, 0, 40.0), _slice(Lane.NGINX, 0, 10.0), _slice(Lane.NGINX, 1, 12.0)]
    assert [(row.lane, row.rounds) for row in rows(slices)] == [(Lane.NGINX, 2), (Lane.ASKONCE, 1)]
    assert b'"not installed"' in as_json(slices, {Lane.BARE: "not installed"}, 1)


def test_every_round_takes_every_lane_once() -> None:
    """The lanes alternate; the order follows from the seed; an upload is taken once."""
    plan = Plan(rounds=4, seed=7)
    order = slices_of(plan)
    for index in range(4):
        for measure in (Measure.REQUESTS, Measure.HITS):
            lanes = [lane for at, taken, lane in order if at == index and taken is measure]
            assert sorted(lanes) == sorted(TAKES[measure])
    assert sum(measure is Measure.UPLOAD for _, measure, _ in order) == len(TAKES[Measure.UPLOAD])
    assert order == slices_of(plan)
    assert order != slices_of(Plan(rounds=4, seed=8))


def test_only_lanes_that_a_measure_takes_are_started() -> None:
    """Of those that were asked for."""
    assert Plan(measures=(Measure.REDIS,)).needed == [Lane.REDIS, Lane.TEAM_REDIS]
    assert Plan(lanes=(Lane.NGINX, Lane.CACHE), measures=(Measure.HITS,)).needed == [Lane.CACHE]


def test_what_is_a_hit_and_what_a_miss_follows_from_the_question() -> None:
    """To the cache, requests differ by their question's number alone; not by what the upstream shall do."""
    ring, new = Spec("requests", 1, questions=3, first=10), Spec("requests", 1, questions=0, first=10)
    assert [ring.question(index) for index in range(5)] == [10, 11, 12, 10, 11]
    assert [new.question(index) for index in range(5)] == [10, 11, 12, 13, 14]
    herd = Spec("herds", 1, gap=0.05)
    assert digest(herd.body(4)) == digest(new.body(4)) != digest(new.body(5))
    assert herd.body(4) != new.body(4)


def test_measures_on_one_server_share_no_question() -> None:
    """A stream that is replayed was not asked for as JSON before, and what is a miss was never asked."""
    hit, replayed = (spec_of(Plan(), measure, 1).question(0) for measure in (Measure.HITS, Measure.REPLAY))
    fresh = spec_of(Plan(), Measure.MISSES, 1, first=10_000_000).question(0)
    assert len({hit, replayed, fresh}) == 3


def test_wrk_is_read_from_its_result_line() -> None:
    """Microseconds become seconds and milliseconds; without the line there is an error."""
    errors = '{"connect":0,"read":1,"write":0,"status":2,"timeout":0}'
    line = f'RESULT {{"requests":1000,"duration_us":2000000,"p50_us":640,"p99_us":1660,"errors":{errors}}}'
    result = parse_wrk(f"Running 2s test\n{line}\n")
    assert (result.done, result.failed, result.seconds, result.p50_ms, result.p99_ms) == (1000, 3, 2.0, 0.64, 1.66)
    assert result.complaints == ["1 × read", "2 × status"]
    with pytest.raises(LoadError):
        parse_wrk("unable to connect")


def test_stat_is_read_whatever_a_process_is_called() -> None:
    """Blanks and parentheses in a command's name shift no field."""
    fields = "S 7 1 1 0 -1 4194560 100 0 0 0 30 12 5 4 20 0 1 0 1000 200000 321 18446744073709551615"
    stat = cpu.parse_stat(f"42 (a) b (c)) {fields}")
    assert (stat.pid, stat.parent, stat.own_ticks, stat.reaped_ticks, stat.pages) == (42, 7, 42, 9, 321)


def test_the_cpu_of_a_child_counts_for_its_tree() -> None:
    """Work that a child does is work of the server, and no work of others is."""
    burn = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    before = cpu.sample(os.getpid()).cpu_seconds
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert cpu.sample(os.getpid()).cpu_seconds - before >= 0.2
        assert cpu.sample(child.pid).cpu_seconds >= 0.2
        assert child.pid in [stat.pid for stat in cpu.tree(os.getpid())]
        child.communicate(b"\n")


def test_a_body_carries_its_plan() -> None:
    """What a client asks the upstream to do arrives there."""
    asked = Asked(stream=True, frames=7, gap=0.25, number=12, status=503, reset_at=3, stall_at=4)
    assert plan_of(chat_body(asked)) == asked


@pytest.mark.parametrize(
    ("order", "lost", "reordered", "duplicated"),
    [
        ([0, 1, 2, 3], 0, 0, 0),
        ([0, 1, 3], 1, 0, 0),
        ([0, 1, 2], 1, 0, 0),
        ([], 4, 0, 0),
        ([0, 2, 1, 3], 0, 1, 0),
        ([0, 1, 1, 2, 3], 0, 0, 1),
        ([3, 0, 0], 2, 1, 1),
    ],
)
def test_frames_lost_reordered_and_duplicated_are_told_apart(
    order: list[int], lost: int, reordered: int, duplicated: int
) -> None:
    """Of four frames, whatever comes in whatever order."""
    sequence = Sequence()
    for index in order:
        sequence.take(index)
    assert (sequence.lost(4), sequence.reordered, sequence.duplicated) == (lost, reordered, duplicated)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_frames_are_read_however_they_are_cut(size: int) -> None:
    """Comments are skipped, the end is seen, and no event is taken for another's."""
    stream = b": ping\n\n" + frame(5, 0) + frame(5, 1) + FINISH + DONE
    frames = Frames(5)
    for at in range(0, len(stream), size):
        frames.feed(stream[at : at + size])
    assert (frames.count, frames.sequence.lost(2), frames.done, frames.foreign) == (2, 0, True, b"")


@pytest.mark.parametrize(
    "odd",
    [
        frame(6, 0),
        b"data: {}\n\n",
        frame(5, 0).replace(b"gpt", b"GPT"),
        DONE + DONE,
        DONE + FINISH,
        FINISH + frame(5, 0),
    ],
)
def test_an_event_that_nobody_sent_is_noticed(odd: bytes) -> None:
    """Another stream's frame, an altered frame, anything after the end."""
    frames = Frames(5)
    frames.feed(odd)
    assert frames.foreign
