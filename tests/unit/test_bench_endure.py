"""The laws of a long run can be broken, and notice when they are."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.chaos.calls import Call, Ended, serial_of, usage_of
from bench.chaos.canary import Order, answer
from bench.chaos.endure import TROUBLES, at_rest, few_taken, summed, unaffected
from bench.chaos.errands import Soaked
from bench.chaos.excuses import judge_neither, judge_outage
from bench.chaos.money import (
    Books,
    Lines,
    accounts_of,
    billed_once,
    each_a_row,
    lines_of,
    not_repeated,
    within,
)
from bench.chaos.questions import (
    ENDURE,
    KEYS,
    SOAK,
    TIGHT,
    Answer,
    Errand,
    Question,
    calmed,
    errand_of,
    judge,
    outcomes,
)
from bench.chaos.record import Record
from bench.chaos.weather import ENDURED, Spell, Trouble
from proxy.ledger.row import Row


def call(serial: int, end: Ended = Ended.TOLD, *, number: str = "", at: float = 10.0) -> Call:
    return Call(serial, "first", number or str(serial), at, ended=at + 0.1, end=end)


def row(serial: int, call_id: str = "", *, estimated: bool = False) -> Row:
    used = dict(zip(("input", "output"), usage_of(serial), strict=True))
    return Row(call_id=call_id or f"ask-{serial}", time=0.0, used=used, attempts=1, estimated=estimated)


def line(call_id: str, serial: int | None) -> str:
    request_id = "" if serial is None else f"req_{serial}"
    return json.dumps({"event": "request", "call_id": call_id, "request_id": request_id}) + "\n"


def holds(books: Books) -> list[bool]:
    return [law.holds for law in billed_once(books, [], lambda _: None)]


@given(st.integers(1, 999_999))
def test_what_an_answer_tells_names_its_call(serial: int) -> None:
    """No two calls of a run tell the same usage, of whichever kind they are."""
    assert serial_of(usage_of(serial)) == serial
    assert serial_of((serial, 0)) == serial
    assert serial_of((usage_of(serial)[0] + 1_000, usage_of(serial)[1])) == -1
    assert serial_of((0, 0)) == -1


def test_ledger_and_upstreams_agree_call_by_call() -> None:
    """Calls that nobody was told the usage of are not in it."""
    calls = [call(1), call(2), call(3, Ended.ERROR), call(4, Ended.BROKEN)]
    assert holds(accounts_of(calls, [row(1), row(2)], Lines(), [])) == [True, True]


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row(1)], [False, True]),
        ([row(1), row(2), row(2, "other")], [True, False]),
        ([row(1), row(2), row(3)], [False, True]),
        ([row(1), row(2), row(9)], [False, True]),
    ],
)
def test_a_wrong_bill_is_noticed(rows: list[Row], verdict: list[bool]) -> None:
    """A call without a row, a row too many, a row of a call that failed, and one of none."""
    assert holds(accounts_of([call(1), call(2), call(3, Ended.ERROR)], rows, Lines(), [])) == verdict


def test_an_estimate_stands_for_the_call_of_its_request_alone() -> None:
    """The log says whose call it was."""
    calls, rows = [call(1), call(2)], [row(1), row(7, "left", estimated=True)]
    lines = lines_of([line("ask-1", 1), line("left", 2), "a traceback\n", '{"event":"listening"}\n'])
    books = accounts_of(calls, rows, lines, [])
    assert (books.estimated, holds(books)) == ((sum(usage_of(2)), 1), [True, True])
    assert not holds(accounts_of(calls, rows, lines_of([line("left", 1)]), []))[0]


@pytest.mark.parametrize("end", [Ended.ERROR, Ended.BROKEN, Ended.LEFT])
def test_estimates_are_no_more_than_the_calls_that_nobody_was_told_of(end: Ended) -> None:
    """One that is refused has used nothing, and one that is billed is not estimated as well."""
    rows = [row(1), row(7, "a", estimated=True), Row(call_id="b", time=0.0, cost=1, estimated=True)]
    calls = [call(1), call(2, end), call(3, end)]
    assert holds(accounts_of(calls, rows, Lines(), [])) == [True, True]
    for other in (call(3, Ended.REFUSED), call(3, Ended.AGAIN), call(1, Ended.LEFT)):
        assert holds(accounts_of([*calls[:2], other], rows, Lines(), [])) == [False, True]
    law, _ = billed_once(accounts_of(calls[:1], rows, Lines(), []), [], lambda _: None)
    assert "2 rows are estimated, 2 of them with tokens or a cost for 0 calls that told nobody" in law.figures


def test_an_estimate_of_nothing_needs_no_call() -> None:
    """What was lost with a killed worker may have been estimated before."""
    nothing = Row(call_id="a", time=0.0, attempts=1, estimated=True)
    assert holds(accounts_of([call(1)], [row(1), nothing], Lines(), [])) == [True, True]
    rows = [row(1), row(7, "a", estimated=True)]
    assert holds(accounts_of([call(1), call(2)], rows, Lines(), [10.05])) == [True, True]


@pytest.mark.parametrize(("kill", "excused"), [(9.97, False), (9.99, True), (10.05, True), (11.3, True), (11.5, False)])
def test_a_kill_excuses_what_was_under_way_and_the_second_before(kill: float, excused: bool) -> None:  # noqa: FBT001
    """Of a call from 10.0 to 10.1, which may have been written just before it was read."""
    books = accounts_of([call(1), call(2)], [row(1)], Lines(), [kill])
    assert holds(books)[0] is excused
    assert books.lost[1] == excused


def test_a_row_may_be_missing_around_a_kill_alone_and_marked() -> None:
    """One row for each line; what is lost is said to be lost."""
    rows, lines = [row(1, "a")], lines_of([line("a", 1), line("b", None)])

    def verdict(ended: float, marked: int, kills: list[float]) -> list[bool]:
        return [law.holds for law in each_a_row(rows, lines, {"b": ended}, kills, marked)]

    assert verdict(99.5, 1, [100.0]) == [True, True]
    assert verdict(98.5, 1, [100.0]) == [False, True]
    assert verdict(99.5, 0, [100.0]) == [True, False]
    assert not verdict(99.5, 1, [])[0]
    assert not each_a_row([*rows, *rows], lines_of([line("a", 1)]), {}, [], 0)[0].holds


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (Ended.AGAIN, Ended.TOLD, [False, True, True]),
        (Ended.REFUSED, Ended.TOLD, [False, True, True]),
        (Ended.BROKEN, Ended.TOLD, [False, True, False]),
        (Ended.LEFT, Ended.TOLD, [False, True, False]),
        (Ended.ERROR, Ended.ERROR, [False, True, False]),
        (Ended.TOLD, Ended.TOLD, [False, False, False]),
    ],
)
def test_what_may_have_been_done_is_not_asked_again(first: Ended, second: Ended, verdict: list[bool]) -> None:
    """And of few requests there is more than one call at all."""
    calls = [call(1, first, number="x"), call(2, second, number="x")]
    assert [law.holds for law in not_repeated(calls, lambda _: None)] == verdict
    others = [call(serial) for serial in range(3, 13)]
    assert [law.holds for law in not_repeated(calls + others, lambda _: None)] == [True, *verdict[1:]]


def test_a_budget_that_is_passed_is_noticed_and_one_that_nobody_reaches() -> None:
    """To the nano-dollar, and of that key alone."""
    spent = Row(call_id="a", time=0.0, key="k", cost=10)
    refused = Row(call_id="b", time=0.0, key="k", status=429)
    other = Row(call_id="c", time=0.0, key="other", cost=99)
    assert within([spent, refused, other], "k", 10).holds
    assert not within([spent, refused, other], "k", 9).holds
    assert not within([spent, other], "k", 10).holds


def test_the_unaffected_are_those_asked_while_nothing_was_the_matter() -> None:
    """Their slowest hundredth may take half as long again as in calm."""
    calm = [(at / 10, 0.1) for at in range(1_000)]
    bad = Spell(Trouble.REDIS_FROZEN, 20.0, 22.0, 25.0)
    during = [(at, 5.0) for at in (21.0, 24.0)]
    assert unaffected([*calm, *during], calm, [bad]).holds
    assert not unaffected([*calm, *[(30.0, 0.16)] * 20], calm, [bad]).holds
    assert unaffected([*calm, *[(30.0, 0.14)] * 20], calm, [bad]).holds
    assert not unaffected(during, calm, [bad]).holds


def test_what_is_held_at_the_end_is_named() -> None:
    """It may take a while until nothing is."""
    assert at_rest(iter([{"a": 1.0}, {"a": 0.0, "b": 0.0}, {"a": 1.0}])).holds
    still = at_rest(iter([{"a": 1.0, "b": 0.0}]))
    assert (still.holds, still.figures) == (False, "1 a")


# what is asked


def test_all_kinds_of_errands_and_of_trouble_come() -> None:
    """In the shares that are asked for: 5 % resets, 5 % stalls, 10 % leavers."""
    assert sum(ENDURE.values()) == 100
    assert set(ENDURE) == set(Errand)
    assert (ENDURE[Errand.RESET], ENDURE[Errand.STALL], ENDURE[Errand.LEAVE]) == (5, 5, 10)
    assert {errand_of(1, index, ENDURE).errand for index in range(600)} == set(ENDURE)
    assert set(ENDURED[:TROUBLES]) == set(ENDURED) == set(Trouble) - {Trouble.REDIS_FLUSHED}


def test_in_calm_nothing_goes_wrong() -> None:
    """The same number of clients asks for as much, and waits as long."""
    for index in range(600):
        question, pause = calmed(errand_of(1, index, ENDURE))
        order = question.order
        assert (order.status, order.reset_at, order.stall_at, order.first_alone) == (200, -1, -1, False)
        assert question.errand not in (Errand.LEAVE, Errand.RESET, Errand.STALL, Errand.ERROR)
        assert (pause > 0) == (errand_of(1, index, ENDURE).errand is Errand.STALL)
    assert errand_of(1, 7, SOAK) == errand_of(1, 7)


def error(code: str) -> bytes:
    return json.dumps({"error": {"code": code}}).encode()


def test_who_has_used_up_what_he_has_is_told_so() -> None:
    """By a limit's code, and by no other."""
    asked = Question(Errand.TIGHT, TIGHT, 7)
    refused = Answer(429, whole=True, body=error("insufficient_quota"), call_id="a")
    assert judge(asked, refused)[1] == ""
    assert judge(asked, replace(refused, body=error("overloaded")))[1]
    assert judge(replace(asked, errand=Errand.NEW), refused)[1]


def test_who_is_sent_elsewhere_is_answered() -> None:
    """The first upstream's refusal is none that a client may see."""
    asked = Question(Errand.ELSEWHERE, TIGHT, 7, order=Order(status=503, first_alone=True))
    assert judge(asked, Answer(503, whole=True, body=error("as_asked_503"), call_id="a"))[1]


def test_an_outage_excuses_what_an_upstream_takes_with_it() -> None:
    """A failure of the upstream, and half an answer; nothing of the gateway's own."""
    asked = Question(Errand.JSON, KEYS[0], 7)
    assert judge_outage(asked, Answer(502, whole=True, body=error("upstream_error")), left=False)
    assert judge_outage(asked, Answer(200, whole=False, body=b"half"), left=False)
    assert not judge_outage(asked, Answer(500, whole=True, body=error("internal_error")), left=False)
    assert not judge_outage(asked, Answer(503, whole=True, body=error("overloaded")), left=False)
    assert not judge_outage(asked, Answer(200, whole=True, body=b"{}"), left=False)


def test_in_an_outage_what_is_stored_will_do_past_its_time() -> None:
    """If it is the answer to what was asked."""
    asked = Question(Errand.JSON, KEYS[0], 7)
    told = Answer(200, whole=True, body=answer(KEYS[0], 7, 1), call_id="ask-1", cache="STALE")
    assert judge(asked, told)[1] == "x-cache-status STALE"
    assert judge_outage(asked, told, left=False)
    assert not judge_outage(replace(asked, number=8), told, left=False)


@pytest.mark.parametrize(
    ("troubles", "outages", "neither", "holds"),
    [
        ([Trouble.UPSTREAM_REFUSES, Trouble.UPSTREAM_FAILS], 5, 1, True),
        ([Trouble.UPSTREAM_REFUSES, Trouble.UPSTREAM_FAILS], 5, 2, False),
        ([Trouble.UPSTREAM_REFUSES, Trouble.REDIS_KILLED, Trouble.WORKER_KILLED], 4, 0, False),
        ([Trouble.RELOADED], 1, 0, False),
        ([], 0, 0, True),
    ],
)
def test_an_outage_excuses_few(troubles: list[Trouble], outages: int, neither: int, holds: bool) -> None:  # noqa: FBT001
    """Three requests for each that came, however many were asked in all."""
    soaked = Soaked(Record(requests=1_000_000), outages=outages, neither=neither)
    law = few_taken(soaked, [Spell(trouble, 10.0, 12.0, 20.0) for trouble in troubles])
    assert law.holds is holds
    assert f"{outages} of 1,000,000 in the first second" in law.figures


def test_who_leaves_during_an_outage_has_left() -> None:
    """The first of a herd cuts its stream itself: an outage that begins meanwhile is not why."""
    half = Answer(200, whole=False, body=b"half")
    assert not judge_outage(Question(Errand.HERD, KEYS[0], 7), half, left=True)
    assert "abandoned" in outcomes(Errand.HERD, half, left=True, outage=True)
    assert outcomes(Errand.HERD, half, left=True) == {"abandoned", "relayed"}
    assert outcomes(Errand.LEAVE, half, left=True) == {"abandoned"}


def test_who_needs_both_upstreams_may_be_told_that_there_is_neither() -> None:
    """Of errands that the first upstream has no time for, and in its words or those for an upstream left alone."""
    elsewhere = Question(Errand.ELSEWHERE, KEYS[0], 1, order=Order(status=429, first_alone=True))
    assert judge_neither(elsewhere, Answer(429, whole=True, body=error("as_asked_429")))
    assert judge_neither(elsewhere, Answer(503, whole=True, body=error("upstream_unavailable")))
    assert not judge_neither(elsewhere, Answer(500, whole=True, body=error("internal_error")))
    assert not judge_neither(elsewhere, Answer(503, whole=False, body=error("upstream_unavailable")))
    other = Question(Errand.NEW, KEYS[0], 1)
    assert not judge_neither(other, Answer(503, whole=True, body=error("upstream_unavailable")))


@pytest.mark.parametrize("lost", ["", "requests", "input", "output"])
def test_the_sums_by_day_are_those_of_the_rows(lost: str) -> None:
    """One request or token less is noticed."""
    rows = [row(1), row(2)]
    used = {kind: sum(each.used[kind] for each in rows) - (lost == kind) for kind in ("input", "output")}
    assert summed(rows, {"requests": 2 - (lost == "requests"), "used": used}).holds is (lost == "")
