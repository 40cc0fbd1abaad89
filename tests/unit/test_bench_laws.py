"""The laws of chaos can be broken, and notice when they are."""

import json

import pytest

from bench.chaos.laws import audit, flat, memory_bound, metric
from bench.chaos.traffic import MIXED, STORM, Kind, Seen, Visit, judge, plan_visit
from bench.payload import DONE, Frames, Plan, frame

_RELAYED = frozenset(["relayed"])


def _line(call: str, outcome: str = "relayed", error: str | None = None) -> str:
    told = {"event": "request", "level": "info", "call_id": call, "outcome": outcome, "error": error}
    return json.dumps(told) + "\n"


def _seen(visit: Visit, stream: bytes = b"", **changed: object) -> Seen:
    frames = Frames(visit.plan.number)
    frames.feed(stream)
    known: dict[str, object] = {"status": 200, "call_id": "a", "whole": True, "body": b""}
    return Seen(frames=frames, **{**known, **changed})  # type: ignore[arg-type]


def _error(code: str) -> bytes:
    return b'{"error":{"message":"","type":"","param":null,"code":"%b"}}' % code.encode()


def test_memory_may_grow_with_streams_only() -> None:
    """200 MB and 64 KiB a stream, to the byte."""
    bound = 200_000_000 + 10 * 65_536
    assert memory_bound(bound, 10).holds
    assert not memory_bound(bound + 1, 10).holds


def test_flat_forgives_a_warm_up_and_nothing_else() -> None:
    """Growth in the first third is fine; a leak from there on is not, and too few samples prove nothing."""
    mebibyte = 1 << 20
    warm = [at * mebibyte for at in range(40, 70)]
    assert flat(warm + [70 * mebibyte] * 60).holds
    assert not flat([(40 + at) * mebibyte for at in range(90)]).holds
    assert not flat([1, 1]).holds


def test_a_metric_is_the_sum_of_its_samples() -> None:
    """Labels are added up; a longer name is another metric."""
    text = '# HELP a_total x\na_total{b="1"} 2.0\na_total{b="c d"} 3\na_total_other 7\n'
    assert metric(text, "a_total") == 5


def test_the_log_is_held_against_what_clients_saw() -> None:
    """A repeated line, a missing one, a wrong outcome and an internal error are each counted."""
    expected = dict.fromkeys(("a", "b", "c", "d"), _RELAYED)
    lines = [
        _line("a"),
        _line("a"),
        _line("b", "broken"),
        _line("c", "relayed", "internal_error"),
        _line("unseen", "abandoned"),
        _line("unseen too", "relayed"),
        '{"event":"accounting_failed","level":"error"}\n',
        "Traceback (most recent call last):\n",
        '{"event":"listening","level":"info"}\n',
    ]
    found = audit(lines, expected)
    assert (found.requests, found.repeated, found.missing, found.mistaken, found.unclassified) == (6, 1, 1, 2, 3)


def test_a_visit_follows_from_seed_and_number_alone() -> None:
    """A run can be replayed, and another seed is another run."""
    first = [plan_visit(3, index, STORM) for index in range(200)]
    assert first == [plan_visit(3, index, STORM) for index in range(200)]
    assert first != [plan_visit(4, index, STORM) for index in range(200)]
    assert {visit.kind for visit in first} == set(STORM)
    assert sum(STORM.values()) == sum(MIXED.values()) == 100


def test_a_whole_stream_is_judged_by_its_last_frame_too() -> None:
    """Every frame and [DONE], or it is wrong."""
    visit = Visit(Kind.STREAM, Plan(stream=True, frames=2))
    assert judge(visit, _seen(visit, frame(0, 0) + frame(0, 1) + DONE)) == ""
    assert judge(visit, _seen(visit, frame(0, 0) + DONE))
    assert judge(visit, _seen(visit, frame(0, 0) + frame(0, 1)))
    assert judge(visit, _seen(visit, frame(0, 1) + frame(0, 0) + DONE))
    assert judge(visit, _seen(visit, frame(0, 0) + frame(0, 1) + DONE, whole=False))
    assert judge(visit, _seen(visit, frame(0, 0) + frame(0, 1) + DONE, call_id=""))


def test_a_fault_before_the_head_is_a_status_with_its_code() -> None:
    """502 for a reset, 504 for silence, and neither stands for the other."""
    reset = Visit(Kind.RESET, Plan(stream=True, reset_at=0))
    stall = Visit(Kind.STALL, Plan(stream=True, stall_at=0))
    assert judge(reset, _seen(reset, status=502, body=_error("upstream_disconnected"))) == ""
    assert judge(stall, _seen(stall, status=504, body=_error("upstream_timeout"))) == ""
    assert judge(stall, _seen(stall, status=500, body=_error("internal_error")))
    assert judge(stall, _seen(stall, status=502, body=_error("upstream_timeout")))
    assert judge(reset, _seen(reset, status=502, body=b"oops"))


def test_a_fault_in_a_stream_is_an_error_event_without_done() -> None:
    """Frames up to the fault; only a reset may swallow some that were on their way."""
    reset = Visit(Kind.RESET, Plan(stream=True, frames=5, reset_at=2))
    stall = Visit(Kind.STALL, Plan(stream=True, frames=5, stall_at=2))
    cut, silent = (b"data: %b\n\n" % _error(code) for code in ("upstream_disconnected", "upstream_timeout"))
    sent = frame(0, 0) + frame(0, 1)
    assert judge(reset, _seen(reset, sent + cut)) == ""
    assert judge(reset, _seen(reset, frame(0, 0) + cut)) == ""
    assert judge(stall, _seen(stall, sent + silent)) == ""
    assert judge(stall, _seen(stall, frame(0, 0) + silent))
    assert judge(reset, _seen(reset, sent + frame(0, 2) + cut))
    assert judge(reset, _seen(reset, sent + DONE))
    assert judge(stall, _seen(stall, sent + silent + DONE))


@pytest.mark.parametrize("kind", [Kind.LEAVE_EARLY, Kind.LEAVE_STREAM, Kind.LEAVE_UPLOAD])
def test_who_left_got_no_whole_answer(kind: Kind) -> None:
    """A client that resets its connection cannot have seen the end."""
    visit = Visit(kind, Plan())
    assert judge(visit, _seen(visit, whole=False)) == ""
    assert judge(visit, _seen(visit, whole=True))


def test_an_upstreams_error_status_crosses() -> None:
    """Another status than the upstream's is wrong."""
    visit = Visit(Kind.ERROR, Plan(status=429))
    assert judge(visit, _seen(visit, status=429)) == ""
    assert judge(visit, _seen(visit, status=500))
