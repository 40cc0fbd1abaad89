"""Several keys of one upstream."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.key_pool import MAX_RESTS, KeyPool, Refusal
from tests.fakes.clock import Clock

KEYS = ("sk-a", "sk-b", "sk-c")


def make(count: int = 3, clock: Clock | None = None) -> KeyPool:
    return KeyPool(KEYS[:count], clock or Clock(), longest=600.0)


def picks(pool: KeyPool, times: int, model: str = "m") -> list[int | None]:
    return [pool.pick(model) for _ in range(times)]


def test_keys_take_turns() -> None:
    """Each is used as often as any other."""
    pool = make()
    assert picks(pool, 7) == [0, 1, 2, 0, 1, 2, 0]
    assert [pool.key(index) for index in range(len(pool))] == [b"sk-a", b"sk-b", b"sk-c"]


@pytest.mark.parametrize("count", [1, 3])
def test_the_calm_path_asks_no_clock(count: int) -> None:
    """While every key works, no time is looked up."""
    pool = KeyPool(KEYS[:count], pytest.fail, longest=600.0)
    assert pool.pick("m") == 0
    assert pool.left("m") == 0
    pool.works(0)


def test_a_pool_of_nothing() -> None:
    """Is a mistake in the code."""
    with pytest.raises(ValueError, match="key"):
        KeyPool([], Clock(), longest=1.0)


def test_a_limited_key_rests_for_the_model() -> None:
    """Upstreams limit each model on its own; when it has rested, the key takes its turns again."""
    clock = Clock()
    pool = make(clock=clock)
    pool.rest(1, "m", 5.0)
    assert picks(pool, 4) == [0, 2, 0, 2]
    assert picks(pool, 3, "other") == [0, 1, 2]
    clock.advance(5.0)
    assert picks(pool, 3) == [0, 1, 2]


def test_a_refused_key_rests_for_all_models() -> None:
    """Until its time is over."""
    clock = Clock()
    pool = make(2, clock)
    pool.suspend(0, 60.0)
    assert picks(pool, 2) + picks(pool, 2, "other") == [1, 1, 1, 1]
    clock.advance(60.0)
    assert picks(pool, 2) == [0, 1]


def test_a_key_that_stays_refused_rests_twice_as_long() -> None:
    """Up to the longest time; one success starts anew and ends the suspension."""
    clock = Clock()
    pool = make(1, clock)
    waits = []
    for _ in range(70):
        pool.suspend(0, 60.0)
        waits.append(pool.left("m"))
        clock.advance(waits[-1])
    assert waits[:6] == [60, 120, 240, 480, 600, 600]
    assert waits[-1] == 600
    pool.suspend(0, 60.0)
    pool.works(0)
    assert pool.pick("m") == 0
    pool.suspend(0, 60.0)
    assert pool.left("m") == 60


def test_requests_in_flight_suspend_a_key_once() -> None:
    """A hundred that were sent together and are refused together are one refusal."""
    pool = make(1)
    for _ in range(100):
        pool.suspend(0, 60.0)
    assert pool.left("m") == 60


def test_a_success_does_not_end_a_rest() -> None:
    """What was sent before the limit was met says nothing of the limit."""
    pool = make(1)
    pool.rest(0, "m", 5.0)
    pool.suspend(0, 60.0)
    pool.works(0)
    assert (pool.pick("m"), pool.left("m")) == (None, 5.0)


def test_a_shorter_rest_does_not_shorten() -> None:
    """The latest time that an upstream named counts, up to the longest."""
    pool = make(1)
    pool.rest(0, "m", 5.0)
    pool.rest(0, "m", 1.0)
    assert pool.left("m") == 5.0
    pool.rest(0, "m", 1e9)
    assert pool.left("m") == 600.0


def test_what_clients_name_is_bounded() -> None:
    """Of rests for more models than are remembered, the oldest go."""
    pool = make(1)
    for number in range(MAX_RESTS + 1):
        pool.rest(0, "m1", 60.0)
        pool.rest(0, f"m{number}", 60.0)
    assert repr(pool) == f"<KeyPool 1 keys, 0 suspended, {MAX_RESTS} resting, 0 in doubt>"
    assert [pool.pick(model) for model in ("m0", "m1", "m2")] == [0, None, None]


def test_no_key_is_shown() -> None:
    """Only how they fare."""
    pool = make()
    pool.suspend(0, 60.0)
    pool.rest(1, "m", 60.0)
    pool.refused(2, "m", 60.0, ())
    assert repr(pool) == "<KeyPool 3 keys, 1 suspended, 1 resting, 1 in doubt>"


STEPS = st.tuples(st.sampled_from(["rest", "suspend", "works", "wait", "pick"]), st.integers(0, 2), st.integers(0, 90))


@given(steps=st.lists(STEPS, max_size=30))
@settings(max_examples=50, deadline=None)
def test_a_key_that_rests_is_not_used(steps: list[tuple[str, int, int]]) -> None:
    """And `left` is 0 exactly when there is a key, or says when there will be."""
    clock = Clock()
    pool = make(clock=clock)
    for what, index, seconds in steps:
        match what:
            case "rest":
                pool.rest(index, "m", seconds)
                assert seconds == 0 or pool.pick("m") != index
            case "suspend":
                pool.suspend(index, seconds)
            case "works":
                pool.works(index)
            case "wait":
                clock.advance(seconds)
        left = pool.left("m")
        assert (pool.pick("m") is None) == (left > 0)
        if left > 0:
            clock.advance(left + 1e-6)
            assert pool.pick("m") is not None


def test_what_rested_before_rests_on() -> None:
    """By its value, wherever it stands now: for a model, or for all and longer if it is refused again."""
    clock = Clock()
    before = KeyPool(("sk-gone", "sk-a", "sk-b"), clock, longest=600.0)
    before.rest(0, "m", 50.0)
    before.rest(1, "m", 20.0)
    before.suspend(2, 10.0)
    pool = KeyPool(("sk-new", "sk-b", "sk-a"), clock, longest=600.0, before=before)
    assert picks(pool, 2) == [0, 0]
    assert picks(pool, 3, "other") == [2, 0, 2]
    clock.advance(10.0)
    assert set(picks(pool, 2)) == {0, 1}
    pool.suspend(1, 10.0)
    clock.advance(19.0)
    assert set(picks(pool, 4)) == {0, 2}
    clock.advance(1.0)
    assert set(picks(pool, 3)) == {0, 1, 2}


def test_a_key_in_doubt_is_taken_last() -> None:
    """It was refused, and nobody knows yet whether that was its own: until it works."""
    clock = Clock()
    pool = make(clock=clock)
    pool.refused(1, None, 60.0, ())
    assert (picks(pool, 4), pool.resting, pool.left("m")) == ([0, 2, 0, 2], 0, 0)
    pool.rest(0, "m", 30.0)
    pool.rest(2, "m", 30.0)
    assert picks(pool, 2) == [1, 1]
    clock.advance(60.0)
    assert set(picks(pool, 3)) == {0, 1, 2}
    pool.refused(1, None, 60.0, ())
    pool.works(1)
    assert set(picks(pool, 3)) == {0, 1, 2}


def test_a_key_that_has_not_worked_since_it_rested_is_let_alone_while_in_doubt() -> None:
    """Where the good one meets a limit, clients are told when to come again, and not that a key is refused."""
    clock = Clock()
    pool = make(2, clock)
    pool.blame(pool.refused(0, None, 60.0, ()))
    clock.advance(60.0)
    pool.rest(1, "m", 30.0)
    assert pool.pick("m") == 0
    met = pool.refused(0, None, 60.0, ())
    assert (pool.pick("m"), pool.left("m"), pool.resting) == (None, 30.0, 2)
    pool.refused(1, None, 60.0, met)
    assert pool.pick("m") == 0


def test_no_key_is_asked_twice_for_what_it_refused() -> None:
    """Each that is left is, and then none; others are not held back."""
    pool = make(2)
    once = pool.refused(0, None, 60.0, ())
    assert (pool.has_key("m", once), pool.pick("m", once)) == (True, 1)
    twice = pool.refused(1, None, 60.0, once)
    assert (pool.has_key("m", twice), pool.pick("m", twice)) == (False, None)
    assert set(picks(pool, 2)) == {0, 1}


def test_what_every_key_refuses_makes_none_rest() -> None:
    """All are in doubt, and take turns as before."""
    pool = make()
    met = pool.refused(0, None, 60.0, ())
    pool.refused(1, None, 60.0, pool.refused(2, None, 60.0, met))
    assert repr(pool) == "<KeyPool 3 keys, 0 suspended, 0 resting, 3 in doubt>"
    assert picks(pool, 3) == [0, 1, 2]


def all_in_doubt(pool: KeyPool, model: str | None = None) -> None:
    met: tuple[Refusal, ...] = ()
    for index in range(len(pool)):
        met = pool.refused(index, model, 60.0, met)


def test_of_keys_in_doubt_the_one_that_worked_last_goes_first() -> None:
    """What all refuse clears none of them, nor does time: a dead key is not taken for a good one again."""
    clock = Clock()
    pool = make(clock=clock)
    pool.works(2)
    pool.works(1)
    all_in_doubt(pool)
    # Each second one is tried that worked longer ago.
    assert picks(pool, 3) == [0, 1, 1]
    clock.advance(3_600.0)
    assert picks(pool, 3) == [2, 1, 1]
    pool.works(2)
    assert picks(pool, 2) == [2, 2]


def test_what_was_refused_for_another_model_says_little() -> None:
    """A key that was refused for this one, or for all, comes after it."""
    pool = make(2)
    all_in_doubt(pool, "forbidden")
    assert picks(pool, 2) == [0, 1]
    pool.refused(0, None, 60.0, ())
    assert picks(pool, 2) == [1, 1]


def test_a_mended_key_is_found() -> None:
    """Within a second of traffic, without a reload; one that is still dead costs one request a second."""
    clock = Clock()
    pool = make(2, clock)
    pool.works(1)
    all_in_doubt(pool)
    pool.works(1)
    found = []
    for _ in range(3):
        found.append(picks(pool, 3))
        assert pool.refused(0, None, 0.0, ())[0].tried
        clock.advance(1.0)
    assert found == [[0, 1, 1]] * 3
    assert pool.pick("m") == 0
    pool.works(0)
    assert picks(pool, 2) == [1, 0]
    assert not pool.refused(0, None, 0.0, ())[0].tried, "it was found to work"


def test_a_key_is_not_tried_while_its_request_may_yet_be_answered() -> None:
    """Nor is one that rests."""
    clock = Clock()
    pool = make(2, clock)
    met = pool.refused(0, None, 60.0, ())
    assert picks(pool, 2) == [1, 1]
    pool.blame(met)
    clock.advance(59.0)
    assert picks(pool, 2) == [1, 1]
    clock.advance(1.0)
    assert picks(pool, 2) == [0, 1]


def test_which_keys_are_spare() -> None:
    """Those that are neither in doubt, nor rest, nor met a limit since they worked; and any after a try."""
    clock = Clock()
    pool = make(clock=clock)
    pool.works(1)
    met = pool.refused(0, None, 60.0, ())
    assert pool.spares("m", met)
    pool.rest(1, "m", 0.0)
    assert pool.spares("m", met)
    pool.rest(2, "m", 0.0)
    assert not pool.spares("m", met)
    pool.works(2)
    assert pool.spares("m", met)
    assert not pool.spares("m", pool.refused(2, None, 60.0, met))
    clock.advance(1.0)
    assert pool.pick("m") == 0
    assert pool.spares("m", pool.refused(0, None, 60.0, ()))
    assert not pool.spares("m", pool.refused(0, None, 60.0, ()))


@pytest.mark.parametrize("count", [1, 2])
def test_keys_that_are_all_refused_give_way(count: int) -> None:
    """After five in a row, but for once a second; a good answer ends that, and 403 does not count."""
    clock = Clock()
    pool = make(count, clock)
    for _ in range(5):
        pool.refused(0, "m", 60.0, ())
    for _ in range(4):
        pool.refused(0, None, 60.0, ())
    assert not pool.gives_way()
    pool.refused(0, None, 60.0, ())
    assert pool.gives_way() is (count == 1), "as long as there is a good one"
    pool.refused(count - 1, None, 60.0, ())
    assert [pool.gives_way() for _ in range(2)] == [True, True]
    clock.advance(1.0)
    assert [pool.gives_way() for _ in range(2)] == [False, True]
    pool.works(0)
    assert not pool.gives_way()


def test_doubt_goes_on_where_keys_are_configured_anew() -> None:
    """A dead key is not taken for a good one because another was added."""
    clock = Clock()
    before = make(2, clock)
    before.works(0)
    all_in_doubt(before)
    before.rest(1, "other", 5.0)
    pool = KeyPool(("sk-b", "sk-a"), clock, longest=600.0, before=before)
    assert picks(pool, 3) == [0, 1, 1]
    assert repr(pool) == "<KeyPool 2 keys, 0 suspended, 1 resting, 2 in doubt>"


def test_what_another_key_has_answered_is_laid_on_those_that_refused() -> None:
    """On all of them, for the model or for every one."""
    pool = make()
    pool.blame(pool.refused(1, "m", 60.0, pool.refused(0, None, 60.0, ())))
    assert (picks(pool, 2), set(picks(pool, 4, "other"))) == ([2, 2], {1, 2})
    assert repr(pool) == "<KeyPool 3 keys, 1 suspended, 1 resting, 2 in doubt>"


def test_what_another_pool_refused_says_nothing_here() -> None:
    """Of another upstream, or of this one before it was configured anew."""
    pool, other = make(2), make(2)
    met = other.refused(0, None, 60.0, ())
    assert pool.pick("m", met) == 0
    pool.blame(met)
    assert pool.resting == 0
    pool.refused(1, None, 60.0, met)
    assert repr(pool) == "<KeyPool 2 keys, 0 suspended, 0 resting, 1 in doubt>"


@dataclass
class Asking:
    """A request on its way. `flagged`: every key is refused for it."""

    flagged: bool
    index: int | None = None
    met: tuple[Refusal, ...] = ()


def answer(pool: KeyPool, request: Asking, *, refused: bool, model: str | None = None) -> Asking | None:
    """It comes; None once there is nothing more to ask."""
    assert request.index is not None
    if refused:
        met = pool.refused(request.index, model, 60.0, request.met)
        return Asking(request.flagged, pool.pick("m", met), met) if pool.has_key("m", met) else None
    pool.works(request.index)
    pool.blame(request.met)
    return None


def rests(pool: KeyPool, index: int) -> bool:
    others = [Refusal(pool, other, None, 0.0) for other in range(len(pool)) if other != index]
    return not pool.has_key("m", others)


EVENTS = st.tuples(
    st.sampled_from(["ask", "flagged", "answer", "answer", "answer", "leave", "wait"]), st.integers(0, 99)
)


@given(
    events=st.lists(EVENTS, max_size=60),
    dead=st.sets(st.integers(0, 2)),
    count=st.integers(2, 3),
    model=st.sampled_from([None, "m"]),
)
@settings(max_examples=200, deadline=None)
def test_only_a_dead_key_beside_a_good_one_rests(
    events: list[tuple[str, int]], dead: set[int], count: int, model: str | None
) -> None:
    """Whatever becomes of interleaved requests: for those of which every key is refused, none does."""
    clock = Clock()
    pool = make(count, clock)
    flying: list[Asking] = []
    for what, number in events:
        match what:
            case "ask" | "flagged":
                flying.append(Asking(what == "flagged", pool.pick("m")))
            case "wait":
                clock.advance(number)
            case "leave" if flying:
                flying.pop(number % len(flying))
            case "answer" if flying:
                request = flying.pop(number % len(flying))
                again = answer(pool, request, refused=request.flagged or request.index in dead, model=model)
                flying += [again] if again is not None else []
        assert {index for index in range(count) if rests(pool, index)} <= dead
        assert pool.left("m") == 0
        assert pool.pick("m") is not None


@given(events=st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 99)), max_size=60))
@settings(max_examples=200, deadline=None)
def test_not_all_keys_are_suspended(events: list[tuple[bool, bool, int]]) -> None:
    """Whoever is refused and whoever is answered, and in what order: the last that worked goes on."""
    pool = make()
    flying: list[Asking] = []
    for asks, refused, number in events:
        if asks or not flying:
            flying.append(Asking(flagged=False, index=pool.pick("m")))
        else:
            again = answer(pool, flying.pop(number % len(flying)), refused=refused)
            flying += [again] if again is not None else []
        assert pool.left("m") == 0
