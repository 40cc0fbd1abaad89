"""What comes after an attempt."""

import random
from math import inf, nextafter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import Failure, Kind
from proxy.exchange import Headers
from proxy.upstream.breaker import Result
from proxy.upstream.retry import Decision, Policy, RetryBudget, Seen, Step, decide, may_go_elsewhere, plainly, result_of

POLICY = Policy(attempts=3, base=0.25, longest=8.0)
ACCEPTS = Policy(attempts=3, base=0.25, longest=8.0, on_ambiguous=True)
LATEST = nextafter(1.0, 0.0)
UNPROCESSED = Seen.of(Failure(Kind.UPSTREAM_UNREACHABLE, unprocessed=True))
NO_SLOT = Seen.of(Failure(Kind.OVERLOADED, retry_after=1))
OPEN = Seen.of(Failure(Kind.UPSTREAM_UNAVAILABLE, unprocessed=True, retry_after=2))
FAULTS = [Kind.UPSTREAM_ERROR, Kind.UPSTREAM_DISCONNECTED, Kind.UPSTREAM_TIMEOUT]
OUR_SIDE = [kind for kind in Kind if kind not in (*FAULTS, Kind.UPSTREAM_UNREACHABLE)]
AMBIGUOUS = [*(Seen.of(Failure(kind)) for kind in FAULTS), *(Seen.told(s, []) for s in (408, 500, 502, 503, 504, 529))]


def told(status: int, *, ours: bool = False, **fields: str) -> Seen:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return Seen.told(status, headers, ours=ours)


def after(
    seen: Seen,
    policy: Policy = POLICY,
    *,
    tries: int = 1,
    keys: bool = False,
    others: bool = False,
    left: float = inf,
    draw: float = 0.0,
) -> Decision:
    return decide(seen, policy, tries=tries, keys=keys, others=others, left=left, draw=lambda: draw)


def step(seen: Seen, policy: Policy = POLICY, *, keys: bool = False, others: bool = False) -> Step:
    return after(seen, policy, keys=keys, others=others).step


KINDS = st.builds(
    lambda kind, unprocessed, wait: Seen.of(Failure(kind, unprocessed=unprocessed, retry_after=wait)),
    st.sampled_from(Kind),
    st.booleans(),
    st.none() | st.floats(0, 100),
)
STATUSES = st.builds(
    Seen, st.integers(200, 599), st.none(), st.just(False), st.none() | st.floats(0, 100), st.booleans(), st.booleans()
)
POLICIES = st.builds(Policy, st.integers(1, 2_000), st.floats(0.001, 10), st.floats(0.001, 100), st.booleans())


@given(
    seen=KINDS | STATUSES,
    policy=POLICIES,
    tries=st.integers(1, 2_000),
    keys=st.booleans(),
    others=st.booleans(),
    left=st.floats(-1, 200),
    draw=st.floats(0, LATEST),
)
@settings(max_examples=300, deadline=None)
def test_the_laws_of_a_decision(
    seen: Seen, policy: Policy, tries: int, keys: bool, others: bool, left: float, draw: float  # noqa: FBT001
) -> None:  # fmt: skip
    """No wait is longer than somebody waits, or shorter than was asked for; nobody is sent where nothing may go."""
    found = after(seen, policy, tries=tries, keys=keys, others=others, left=left, draw=draw)
    if found.step is Step.STOP:
        assert found.wait == 0
        return
    assert 0 <= found.wait <= left
    assert found.wait <= policy.longest + 1e-9
    assert may_go_elsewhere(seen, policy)
    if found.step is Step.ELSEWHERE:
        assert others
        return
    assert tries < policy.attempts
    if seen.retry_after is not None and not keys:
        assert found.wait >= seen.retry_after


@given(
    seen=st.sampled_from(AMBIGUOUS),
    final=st.booleans(),
    ours=st.booleans(),
    keys=st.booleans(),
    others=st.booleans(),
    tries=st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_paid_for_twice(
    seen: Seen, final: bool, ours: bool, keys: bool, others: bool, tries: int  # noqa: FBT001
) -> None:  # fmt: skip
    """What the upstream may have acted on is asked nowhere again, unless the operator accepts it."""
    seen = seen._replace(final=final, ours=ours)
    assert after(seen, tries=tries, keys=keys, others=others) == Decision(Step.STOP)
    assert not may_go_elsewhere(seen, POLICY)


@pytest.mark.parametrize("seen", AMBIGUOUS, ids=str)
def test_an_operator_can_accept_to_pay_twice(seen: Seen) -> None:
    """Then it is as if nothing had been processed: another upstream, or this one after a while."""
    assert step(seen, ACCEPTS, others=True) is Step.ELSEWHERE
    assert after(seen, ACCEPTS, tries=2, draw=0.5) == Decision(Step.AGAIN, 0.25)


@pytest.mark.parametrize("status", [408, 500, 503, 529])
def test_an_upstream_can_forbid_it(status: int) -> None:
    """`x-should-retry: false` goes before what the operator accepts."""
    seen = told(status, x_should_retry="False")
    assert step(seen, ACCEPTS) is step(seen, ACCEPTS, others=True) is Step.STOP
    assert step(told(status, x_should_retry="true"), ACCEPTS) is Step.AGAIN


def test_an_ambiguous_answer_can_say_when() -> None:
    """Who accepts to pay twice waits at least as long as the upstream asks."""
    assert after(told(529, retry_after="3"), ACCEPTS) == Decision(Step.AGAIN, 3.0)


def test_full_jitter() -> None:
    """Between nothing and twice as long each time, up to the longest pause, and not more often than allowed."""
    policy = Policy(attempts=2_000, base=0.25, longest=3.0)
    waits = [after(UNPROCESSED, policy, tries=tries, draw=LATEST).wait for tries in (1, 2, 3, 4, 5, 1_999)]
    assert waits == pytest.approx([0.25, 0.5, 1.0, 2.0, 3.0, 3.0])
    assert after(UNPROCESSED, policy, draw=0.0) == Decision(Step.AGAIN, 0.0)
    assert after(UNPROCESSED, policy, tries=2_000).step is Step.STOP


@pytest.mark.parametrize("left", [0.0, -1.0, 0.1])
def test_nobody_waits_past_the_deadline(left: float) -> None:
    """A pause that does not fit is not begun."""
    assert after(UNPROCESSED, left=left, draw=0.5).step is Step.STOP
    assert after(UNPROCESSED, left=left, others=True).step is (Step.STOP if left <= 0 else Step.ELSEWHERE)


def test_another_upstream_goes_before_a_pause() -> None:
    """Even if no attempt is left at this one."""
    assert after(UNPROCESSED, tries=9, others=True) == Decision(Step.ELSEWHERE)


@pytest.mark.parametrize("seen", [NO_SLOT, OPEN])
def test_a_refusal_here_is_told_at_once(seen: Seen) -> None:
    """Without a slot, or with an open breaker, another upstream is asked, or nobody."""
    assert (step(seen, ACCEPTS), step(seen, others=True)) == (Step.STOP, Step.ELSEWHERE)


@pytest.mark.parametrize("kind", [kind for kind in OUR_SIDE if kind is not Kind.OVERLOADED])
def test_what_failed_on_our_side_ends_it(kind: Kind) -> None:
    """A client that left, or a limit of ours: no upstream changes that."""
    assert step(Seen.of(Failure(kind, retry_after=1)), ACCEPTS, keys=True, others=True) is Step.STOP


def test_a_limited_key_is_changed_for_another() -> None:
    """At once, while attempts are left; then another upstream, then the same one when it says."""
    seen = told(429, retry_after="2")
    assert after(seen, keys=True, others=True, draw=0.9) == Decision(Step.AGAIN, 0.0)
    assert after(seen, tries=3, keys=True, others=True).step is Step.ELSEWHERE
    assert after(seen, draw=0.5) == Decision(Step.AGAIN, 2.125)
    assert after(seen, tries=3, keys=True).step is Step.STOP


def test_an_upstream_that_says_when_is_asked_then() -> None:
    """503 with Retry-After speaks of the upstream, not of a key."""
    seen = told(503, retry_after="2")
    assert after(seen, keys=True, draw=0.5) == Decision(Step.AGAIN, 2.125)
    assert after(seen, keys=True, others=True).step is Step.ELSEWHERE


@pytest.mark.parametrize(
    ("said", "left"), [("", inf), ("9", inf), ("8", inf), ("2", 2.0), ("2", 1.0), ("-1", inf), ("soon", inf)]
)
def test_a_limit_that_lasts_is_told(said: str, left: float) -> None:
    """Where the upstream does not say when, or it is later than anybody waits."""
    assert after(told(429, retry_after=said), left=left) == Decision(Step.STOP)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_of_ours(status: int) -> None:
    """Another key at once, else another upstream, else the client is told; waiting does not help."""
    seen = told(status, ours=True, retry_after="1")
    assert after(seen, keys=True, others=True) == Decision(Step.AGAIN, 0.0)
    assert (step(seen, others=True), step(seen)) == (Step.ELSEWHERE, Step.STOP)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 413, 422, 425, 501])
def test_an_answer_is_an_answer(status: int) -> None:
    """Relayed as it is, and nobody else is asked."""
    seen = told(status, retry_after="1")
    assert step(seen, ACCEPTS, keys=True, others=True) is Step.STOP
    assert not may_go_elsewhere(seen, ACCEPTS)


@pytest.mark.parametrize(
    "seen", [UNPROCESSED, NO_SLOT, OPEN, told(429), told(503, retry_after="9"), told(401, ours=True)]
)
def test_what_may_go_elsewhere(seen: Seen) -> None:
    """Whatever was provably not acted on."""
    assert may_go_elsewhere(seen, POLICY)


DATE = "Sun, 06 Nov 1994 08:49:07 GMT"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"retry-after": "30"}, 30),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "9", "retry-after-ms": "-250"}, 9),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT", "date": DATE}, 30),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:37 GMT", "date": DATE}, 30),
        ({"retry-after": "Sun Nov  6 08:49:37 1994", "date": DATE}, 30),
        ({"retry-after": "Sun, 06 Nov 1994 08:48:37 GMT", "date": DATE}, 0),
        ({"retry-after": "Sun, 06 Nov 2094 08:48:37 GMT", "date": DATE}, 86_400),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
        ({"retry-after": "Sun, 99 Xyz 1994 08:49:37 GMT", "date": DATE}, None),
        ({"retry-after": "9" * 60, "date": DATE}, 86_400),
        ({"retry-after": "9" * 600}, None),
        ({"retry-after-ms": "9" * 60}, 86_400),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "\u0661"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(fields: dict[str, str], seconds: float | None) -> None:
    """In seconds, milliseconds and as a date by the upstream's own clock; what makes no sense is not there."""
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    assert Seen.told(429, headers).retry_after == seconds


@given(value=st.binary(max_size=70), date=st.binary(max_size=70))
@settings(max_examples=150, deadline=None)
def test_whatever_stands_there_is_bounded(value: bytes, date: bytes) -> None:
    """No field of an upstream raises, or makes anybody wait for ever."""
    headers: Headers = [(b"retry-after", value), (b"retry-after-ms", date), (b"date", date)]
    for wait in (Seen.told(429, headers).retry_after, Seen.told(429, headers[:1] + headers[2:]).retry_after):
        assert wait is None or 0 <= wait <= 86_400


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"retry-after": "7", "retry-after-ms": "6500"}, ["7", "6500"]),
        ({"retry-after": "86401"}, ["86400"]),
        ({"retry-after-ms": "9" * 20}, ["86400000"]),
        ({"retry-after": "-5", "retry-after-ms": "-1"}, []),
        ({"retry-after": "soon"}, []),
        ({"retry-after": "9" * 600}, []),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT", "date": DATE}, ["Sun, 06 Nov 1994 08:49:37 GMT"]),
        ({"retry-after": "Sun, 06 Nov 2094 08:49:37 GMT", "date": DATE}, ["86400"]),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, ["40"]),
        ({"retry-after": "Sun, 06 Nov 1994 08:48:37 GMT"}, ["0"]),
        ({"retry-after": "Sun, 06 Nov 2094 08:48:37 GMT", "date": "today"}, ["86400"]),
    ],
)
def test_who_reads_it_is_told_plainly(fields: dict[str, str], said: list[str]) -> None:
    """A day at most; a date that stands alone is read by our clock; what makes no sense is not passed on."""
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    told = plainly([(b"x-request-id", b"r"), *headers], lambda: 784_111_737.0)
    assert [value.decode() for name, value in told if name.startswith(b"retry-after")] == said
    assert [value for name, value in told if name == b"x-request-id"] == [b"r"]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 529])
def test_a_failure_of_the_upstream(status: int) -> None:
    """Counts against it, with Retry-After and without."""
    assert result_of(told(status)) is result_of(told(status, retry_after="1")) is Result.FAILED


@pytest.mark.parametrize("status", [200, 307, 400, 401, 403, 404, 408, 429, 501])
def test_an_answer_of_the_upstream(status: int) -> None:
    """A refusal is a sign of health."""
    assert result_of(told(status, ours=True)) is Result.SUCCEEDED


@pytest.mark.parametrize("kind", Kind)
def test_who_is_to_blame(kind: Kind) -> None:
    """Time-outs, resets and malformed answers are the upstream's; what came of our side says nothing about it."""
    failed = result_of(Seen.of(Failure(kind, unprocessed=True)))
    assert failed is (Result.UNKNOWN if kind in OUR_SIDE else Result.FAILED)


@given(share=st.floats(0, 1), burst=st.integers(0, 20), steps=st.lists(st.sampled_from("dtt"), max_size=200))
@settings(max_examples=80, deadline=None)
def test_the_budget_of_retries(share: float, burst: int, steps: list[str]) -> None:
    """There are never more of them than the share of the requests, and the burst."""
    budget = RetryBudget(share, burst)
    taken = 0
    for each in steps:
        if each == "d":
            budget.deposit()
        else:
            taken += budget.take()
    assert taken <= (share + 0.0005) * steps.count("d") + burst


def test_with_every_upstream_down() -> None:
    """A thousand requests that all fail are tried no more than 1.1 times each, and the burst."""
    budget, draw = RetryBudget(0.1), random.Random(1).random
    attempts = 0
    for _ in range(1_000):
        budget.deposit()
        tries = 1
        while decide(UNPROCESSED, POLICY, tries=tries, keys=False, others=False, left=60, draw=draw).step is Step.AGAIN:
            if not budget.take():
                break
            tries += 1
        attempts += tries
    assert 1_100 <= attempts <= 1_110


def test_a_budget_never_holds_more_than_its_burst() -> None:
    """However long nothing has failed."""
    budget = RetryBudget(0.5, 2)
    for _ in range(100):
        budget.deposit()
    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_a_retry_that_succeeded_elsewhere_is_given_back() -> None:
    """But not more than there was."""
    budget = RetryBudget(0.0, 1)
    assert (budget.take(), budget.take()) == (True, False)
    budget.refund()
    budget.refund()
    assert repr(budget) == "<RetryBudget 1.0 of 1>"
    assert (budget.take(), budget.take()) == (True, False)
