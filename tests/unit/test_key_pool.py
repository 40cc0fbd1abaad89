"""Several keys of one upstream."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.key_pool import MAX_RESTS, KeyPool
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
    assert repr(pool) == f"<KeyPool 1 keys, 0 suspended, {MAX_RESTS} resting>"
    assert [pool.pick(model) for model in ("m0", "m1", "m2")] == [0, None, None]


def test_no_key_is_shown() -> None:
    """Only how they fare."""
    pool = make()
    pool.suspend(0, 60.0)
    pool.rest(1, "m", 60.0)
    assert repr(pool) == "<KeyPool 3 keys, 1 suspended, 1 resting>"


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
