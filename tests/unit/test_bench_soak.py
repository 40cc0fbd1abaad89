"""The laws of a soak can be broken, and notice when they are."""

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import servers
from bench.chaos import weather as under_test
from bench.chaos.canary import (
    BIG,
    Order,
    Reading,
    answer,
    embeddings,
    events,
    read_answer,
    read_embeddings,
    read_events,
)
from bench.chaos.errands import Herd
from bench.chaos.laws import Audit, audit, cache_memory_bound, metric, steady
from bench.chaos.questions import KEYS, SOAK, Answer, Errand, Question, errand_of, judge, judge_probe, outcomes
from bench.chaos.record import Record, outcome_laws
from bench.chaos.soak import bounded, called, gone, in_time, one_call_each, weathered
from bench.chaos.watch import Watched
from bench.chaos.weather import SOAKED, Spell, Trouble, Weather

ME, OTHER = KEYS
RELAYED = frozenset(["relayed"])
MIB = 1 << 20


def _line(call: str, outcome: str = "relayed", cache: str | None = "MISS") -> str:
    told = {"event": "request", "level": "info", "call_id": call, "outcome": outcome, "error": None, "cache": cache}
    return json.dumps(told) + "\n"


def _error(code: str) -> bytes:
    return b'{"error":{"message":"","type":"","param":null,"code":"%b"}}' % code.encode()


def _stream(key: str, question: int, serial: int) -> bytes:
    return b"".join(events(key, question, serial, usage=False))


# what clients find in answers


def test_an_errand_follows_from_seed_and_number_alone() -> None:
    """A soak can be replayed, another seed is another soak, and there are all kinds of errands."""
    first = [errand_of(3, index) for index in range(600)]
    assert first == [errand_of(3, index) for index in range(600)]
    assert first != [errand_of(4, index) for index in range(600)]
    assert {question.errand for question in first} == set(SOAK)
    assert sum(SOAK.values()) == 100


@pytest.mark.parametrize("question", [7, 40, BIG + 1])
def test_an_answer_is_ones_own_to_this_question_and_to_the_byte(question: int) -> None:
    """Another key's, another question's, a mixture of two calls' and one of other bytes are each told apart."""
    mine = answer(ME, question, 5)
    assert read_answer(mine, ME, question, exact=True) == Reading(5, "")
    assert "another tenant" in read_answer(answer(OTHER, question, 5), ME, question, exact=True).wrong
    assert "not the whole answer" in read_answer(answer(ME, question + 1, 5), ME, question, exact=True).wrong
    assert read_answer(mine[:-1], ME, question, exact=True).wrong
    assert read_answer(mine + b" ", ME, question, exact=True).wrong
    assert not read_answer(mine + b" ", ME, question, exact=False).wrong


def test_a_stream_is_whole_and_made_of_one_call() -> None:
    """An event that is missing, doubled or of another call, and an end that is missing, are each wrong."""
    mine, later = events(ME, 7, 5, usage=False), events(ME, 7, 6, usage=False)
    assert read_events(b"".join(mine), ME, 7, exact=True).wrong == ""
    for broken in ([*mine[:2], *mine[3:]], [mine[0], *mine], [*mine[:2], later[2], *mine[3:]], mine[:-1]):
        assert read_events(b"".join(broken), ME, 7, exact=False).wrong
    assert read_events(b": ping\n\n" + b"".join(mine), ME, 7, exact=True).wrong
    assert read_events(b": ping\n\n" + b"".join(mine), ME, 7, exact=False).wrong == ""


@pytest.mark.parametrize("packed", [True, False])
def test_each_vector_is_ones_own_to_the_text_in_its_place(packed: bool) -> None:  # noqa: FBT001
    """Another tenant's, another order, one too few, and two for the same text are each wrong."""
    mine = embeddings(ME, [1, 5_000, 1], 70_000, packed=packed)
    assert read_embeddings(mine, ME, [1, 5_000, 1], packed=packed) == ""
    assert "another tenant" in read_embeddings(mine, OTHER, [1, 5_000, 1], packed=packed)
    assert "another text" in read_embeddings(mine, ME, [5_000, 1, 1], packed=packed)
    assert read_embeddings(mine, ME, [1, 5_000], packed=packed)
    assert read_embeddings(mine, ME, [1, 5_000, 1], packed=not packed)
    both = json.loads(mine)
    both["data"][2] = json.loads(embeddings(ME, [1, 5_000, 1], 70_001, packed=packed))["data"][2]
    assert "two vectors" in read_embeddings(json.dumps(both).encode(), ME, [1, 5_000, 1], packed=packed)


# what has to come back


def test_a_hit_has_the_status_and_the_bytes_that_its_errand_allows() -> None:
    """A question that is new is no hit; one that is asked both ways may be made of the other form."""
    new = Question(Errand.NEW, ME, 7)
    came = Answer(200, whole=True, body=answer(ME, 7, 5), cache="MISS", call_id="a")
    assert judge(new, came) == (5, "")
    assert judge(new, replace(came, cache="HIT"))[1]
    assert judge(new, replace(came, whole=False))[1]
    assert judge(new, replace(came, status=500))[1]
    assert judge(new, replace(came, call_id=""))[1]
    either, spaced = replace(new, errand=Errand.EITHER), replace(came, cache="HIT", body=came.body + b" ")
    assert judge(either, spaced) == (5, "")
    assert judge(replace(new, errand=Errand.JSON), spaced)[1]


@pytest.mark.parametrize(
    ("errand", "status", "code"),
    [(Errand.RESET, 502, "upstream_disconnected"), (Errand.STALL, 504, "upstream_timeout")],
)
def test_a_fault_is_told_by_its_own_code(errand: Errand, status: int, code: str) -> None:
    """Before the head by status, in a stream by an event that nothing follows, else by the missing rest."""
    order = Order(reset_at=2) if errand is Errand.RESET else Order(stall_at=2)
    asked = Question(errand, ME, 7, stream=True, order=order)
    begun = b"".join(events(ME, 7, 5, usage=False)[:2])
    told = begun + b"data: " + _error(code) + b"\n\n"
    came = Answer(200, whole=True, body=told, call_id="a")
    assert judge(asked, came)[1] == ""
    assert judge(asked, replace(came, body=begun))[1]
    assert judge(asked, replace(came, body=told + b"data: [DONE]\n\n"))[1]
    assert judge(asked, replace(came, body=begun + b"data: " + _error("other") + b"\n\n"))[1]
    assert judge(asked, replace(came, status=status, body=_error(code)))[1] == ""
    assert judge(asked, replace(came, status=500, body=_error("internal_error")))[1]
    foreign = b"".join(events(OTHER, 7, 5, usage=False)[:2]) + b"data: " + _error(code) + b"\n\n"
    assert judge(asked, replace(came, body=foreign))[1]
    assert outcomes(errand, came, left=False) == {"failed", "broken"}


def test_an_upstreams_error_crosses_as_it_is() -> None:
    """Another status, or another error of the same, is none that the upstream sent."""
    asked = Question(Errand.ERROR, ME, 7, order=Order(status=429))
    came = Answer(429, whole=True, body=_error("as_asked_429"), cache="MISS", call_id="a")
    assert judge(asked, came)[1] == ""
    assert judge(asked, replace(came, status=503))[1]
    assert judge(asked, replace(came, body=_error("overloaded")))[1]
    flaky = replace(asked, errand=Errand.FLAKY)
    assert judge(flaky, replace(came, status=503, body=_error("as_asked_503")))[1] == ""
    assert judge(flaky, replace(came, status=200, body=answer(ME, 7, 5), cache="STALE")) == (5, "")


def test_who_leaves_has_read_the_beginning_of_ones_own_answer() -> None:
    """The rest is gone with the connection; a whole answer can't have been left."""
    asked = Question(Errand.LEAVE, ME, 7, stream=True)
    came = Answer(200, whole=False, body=_stream(ME, 7, 5)[:700], cache="MISS", call_id="a")
    assert judge(asked, came)[1] == ""
    assert judge(asked, replace(came, body=b"", status=0, call_id=""))[1] == ""
    assert judge(asked, replace(came, whole=True))[1]
    assert judge(asked, replace(came, body=_stream(OTHER, 7, 5)[:700]))[1]


def test_of_a_broken_answer_nothing_may_be_stored() -> None:
    """Whoever asks for what is stored gets `cache_miss` and nothing else."""
    assert judge_probe(Answer(504, whole=True, body=_error("cache_miss"))) == ""
    assert judge_probe(Answer(504, whole=True, body=_error("upstream_timeout")))
    assert judge_probe(Answer(200, whole=True, body=answer(ME, 7, 5)))


# what the log and the metrics say


def test_a_killed_worker_may_take_what_it_had_not_written() -> None:
    """Calls at risk may be missing, and a death may be told of; any other missing line or death is a fault."""
    expected = dict.fromkeys(("a", "b", "c"), RELAYED)
    died = '{"event":"worker_died","level":"error"}\n'
    found = audit([_line("a"), died], expected, at_risk={"a", "b"}, deaths=1)
    assert (set(found.lost), found.missing, found.unclassified) == ({"b"}, 1, 0)
    assert audit([died, died], {}, deaths=1).unclassified == 1


def test_who_saw_nothing_may_have_been_answered_but_only_once() -> None:
    """An answer to a client that had just left is relayed to nobody; there are no more of those than leavers."""
    unseen = {frozenset(["abandoned", "relayed"]): 1, frozenset(["abandoned"]): 5}
    assert audit([_line("a"), _line("b", "abandoned")], {}, unseen=unseen).mistaken == 0
    assert audit([_line("a"), _line("b")], {}, unseen=unseen).mistaken == 1
    assert audit([_line("a", "failed")], {}, unseen=unseen).mistaken == 1


def test_misses_are_those_who_may_have_made_a_call() -> None:
    """Not those who were refused, served from the cache, or by another's call."""
    lines = [_line("a"), _line("b", cache="HIT"), _line("c", cache="COALESCED"), _line("d", cache=None)]
    lines += [_line("e", "refused"), _line("f", "abandoned"), _line("g", cache="STALE")]
    assert audit(lines, {}).misses == 4


def _once(tmp_path: Path, record: Record, lines: list[str], counted: int, kills: list[float]) -> bool:
    log = tmp_path / "log"
    log.write_text("the rig's own\n" + "".join(lines), encoding="utf-8")
    laws, _ = outcome_laws(record, counted, log, lambda _: None, skip=len("the rig's own\n"), kills=kills)
    return laws[1].holds


def test_lines_and_counts_may_be_lost_around_a_kill_alone(tmp_path: Path) -> None:
    """One request, one line, one count; less only of what ended just before a worker was killed, or with it."""
    record = Record()
    for call in ("a", "b"):
        record.saw("json", call, RELAYED)
    both, just_now, long_ago = [_line("a"), _line("b")], time.monotonic(), time.monotonic() - 60.0
    assert _once(tmp_path, record, both, 2, [])
    assert not _once(tmp_path, record, both, 1, [])
    assert not _once(tmp_path, record, both, 3, [])
    assert not _once(tmp_path, record, both[:1], 2, [])
    assert not _once(tmp_path, record, both[:1], 1, [long_ago])
    assert _once(tmp_path, record, both[:1], 1, [just_now])
    record.saw_cut("json", "")
    assert _once(tmp_path, record, both, 2, [just_now])
    assert _once(tmp_path, record, [*both, _line("c")], 3, [just_now])
    assert not _once(tmp_path, record, [*both, _line("c"), _line("d")], 3, [just_now])


def test_a_metric_can_be_read_by_label() -> None:
    """Samples with another label do not count."""
    text = 'a_total{reason="evicted"} 2.0\na_total{reason="purged"} 3\n'
    assert metric(text, "a_total", 'reason="purged"') == 3


# what a soak comes to


def test_memory_is_bounded_by_the_cache_and_steady_once_it_is_full() -> None:
    """To the byte; growth in the first half is warming up, and a leak from there on is none."""
    assert cache_memory_bound(100 + 2 * 30, 100, 20, 10, 2).holds
    assert not cache_memory_bound(101 + 2 * 30, 100, 20, 10, 2).holds
    warm = [at * MIB for at in range(40, 80)]
    assert steady(warm + [80 * MIB] * 40, "x").holds
    assert not steady([(40 + at) * MIB for at in range(80)], "x").holds
    assert not steady([1, 1], "x").holds


def test_entries_beyond_their_bound_are_noticed_and_so_is_a_cache_that_was_never_full() -> None:
    """To the byte; a long soak in which nothing was evicted proves nothing of the bound."""
    text = 'askonce_cache_removals_total{reason="evicted"} 1.0\n'
    assert bounded([0.0, 64 * MIB], text, full=True).holds
    assert not bounded([0.0, 64 * MIB + 1], text, full=True).holds
    assert not bounded([0.0, MIB], "", full=True).holds
    assert bounded([0.0, MIB], "", full=False).holds
    assert not bounded([0.0], text, full=False).holds


def test_calls_without_a_miss_are_noticed() -> None:
    """A request that nobody has a line of may have made one."""
    assert called(5, Audit(requests=5, misses=3), 3).holds
    assert not called(5, Audit(requests=5, misses=3), 4).holds
    assert called(6, Audit(requests=5, misses=3), 4).holds


def test_only_an_undisturbed_herd_must_be_one_call() -> None:
    """Weather excuses it, and a command that Redis did not answer; nothing else does."""
    herds = [Herd(1, 10.0, 11.0, 1), Herd(2, 20.0, 21.0, 2)]
    well = Watched(failures=[(at / 2, 0.0) for at in range(80)])
    told: list[str] = []
    assert not one_call_each(herds, [], well, told.append).holds
    assert told == ["herd 2: 2 calls"]
    assert one_call_each(herds, [Spell("x", 20.5, 20.6, 23.0)], well, told.append).holds
    assert one_call_each(herds, [Spell("x", 15.0, 19.0, 20.0)], well, told.append).holds
    assert not one_call_each(herds, [Spell("x", 15.0, 19.0, 19.5)], well, told.append).holds
    missed = Watched(failures=[(at / 2, float(at > 40)) for at in range(80)])
    assert one_call_each(herds, [], missed, told.append).holds
    assert not one_call_each(herds[1:], [Spell("x", 0.0, math.inf)], well, told.append).holds


def test_what_is_asked_without_redis_is_answered_in_time() -> None:
    """Late is late only then, and a soak in which nothing was asked then proves nothing."""
    frozen = [Spell(Trouble.REDIS_FROZEN, 10.0, 13.0, 16.0)]
    assert in_time([(11.0, 0.9), (15.0, 5.0)], frozen).holds
    assert not in_time([(11.0, 1.1)], frozen).holds
    assert not in_time([(15.0, 0.1)], frozen).holds


def test_what_was_purged_is_never_hit() -> None:
    """Not once; and where nothing was purged, nothing is known."""
    assert gone(0, [0, 3], 1).holds
    assert not gone(1, [0, 3], 0).holds
    assert not gone(0, [], 0).holds


# the weather


def started(monkeypatch: pytest.MonkeyPatch, told: Callable[[str], None], **settings: float) -> Weather:
    """Without a Redis, and nothing to purge."""
    monkeypatch.setattr(servers, "valkey", lambda *_, **__: None)
    monkeypatch.setattr(Weather, "_purge", lambda *_: None)
    period = settings.get("period", 0.001)
    return Weather(Path(), set(), max_bytes=0, period=period, told=told, expected=[Trouble.WORKER_KILLED])


def test_weather_without_a_worker_to_kill_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The rest of the run would be calm, and nobody would hear of it."""
    begun = threading.Event()
    weather = started(monkeypatch, lambda _: begun.set())
    monkeypatch.setattr(under_test, "_children", lambda _: [7])
    (tmp_path / "log").touch()
    gateway = servers.Server("", None, 0, tmp_path / "log")  # type: ignore[arg-type]
    with weather.over(gateway, gateway, eldest=7):
        assert begun.wait(20)
    assert "no worker to kill" in weather.failed
    assert weather.failed in weathered(weather).figures
    assert not weathered(weather).holds


@pytest.mark.parametrize("error", [KeyError("redis"), ValueError("no JSON"), StopIteration()])
def test_whatever_ends_the_weather_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """In a thread nobody sees it."""
    begun = threading.Event()
    weather = started(monkeypatch, lambda _: begun.set())

    def bring(*_: object) -> None:
        raise error

    monkeypatch.setattr(Weather, "_bring", bring)
    nobody = servers.Server("", None, 0, Path())  # type: ignore[arg-type]
    with weather.over(nobody, nobody, eldest=7):
        assert begun.wait(20)
    assert weather.failed == repr(error)


@pytest.mark.parametrize(("lasted", "holds"), [(40.0, True), (59.9, True), (60.0, False), (120.0, False)])
def test_trouble_comes_to_the_end(monkeypatch: pytest.MonkeyPatch, lasted: float, holds: bool) -> None:  # noqa: FBT001
    """One each ten seconds, of which the last may be missing; each kind having come once is not enough."""
    clock = iter([0.0, lasted])
    monkeypatch.setattr(Weather, "_run", lambda *_: None)
    weather = started(monkeypatch, lambda _: None, period=10.0)
    monkeypatch.setattr(under_test, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with weather.over(None, None, eldest=7):  # type: ignore[arg-type]
        pass
    weather.expected = SOAKED
    weather.troubles += SOAKED
    assert weathered(weather).holds is holds
    assert f"4 of {lasted // 10:.0f} that were due" in weathered(weather).figures
