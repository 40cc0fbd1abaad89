"""Exact bounds of a share. The figures are those of scipy 1.16, of `beta.ppf` and `betainc`."""

from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.semantic.learning.bounds import beta_cdf, interval, lower, upper

TABLE = [
    (0, 10, 0.0, 0.2588655508930522),
    (1, 10, 0.005116196891823701, 0.39416330243650466),
    (5, 10, 0.2224411010081294, 0.7775588989918706),
    (0, 80, 0.0, 0.0367541977799823),
    (3, 400, 0.0020472586673722713, 0.019269229283088177),
    (10, 1000, 0.005435140144706774, 0.016903175120562504),
]


@pytest.mark.parametrize(("hits", "trials", "low", "high"), TABLE)
def test_known_bounds(hits: int, trials: int, low: float, high: float) -> None:
    """Each holds with 95 %."""
    assert lower(hits, trials, 0.05) == pytest.approx(low, abs=1e-10)
    assert upper(hits, trials, 0.05) == pytest.approx(high, abs=1e-10)


@given(st.integers(1, 60), st.data(), st.floats(0.01, 0.99))
def test_the_sum_that_it_stands_for(trials: int, data: st.DataObject, share: float) -> None:
    """The incomplete beta function is the probability of more hits than so many."""
    hits = data.draw(st.integers(0, trials - 1))
    more = sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(hits + 1, trials + 1))
    assert beta_cdf(share, hits + 1, trials - hits) == pytest.approx(more, abs=1e-10)


@settings(deadline=None)
@given(st.floats(0.1, 1e5), st.floats(0, 1), st.floats(1e-4, 0.4))
def test_around_the_share(trials: float, part: float, error: float) -> None:
    """Fractions of labels too; more confidence is a wider interval."""
    hits = trials * part
    assert 0 <= lower(hits, trials, error / 2) <= lower(hits, trials, error) <= part + 1e-9
    assert 1 >= upper(hits, trials, error / 2) >= upper(hits, trials, error) >= part - 1e-9


def test_intervals() -> None:
    """Of both sides; of nothing, everything."""
    assert interval(0, 0) == (0.0, 0.0, 1.0, 0.0)
    found = interval(5, 10)
    assert (found.share, found.trials) == (0.5, 10)
    assert [found.low, found.high] == pytest.approx([0.1870860284, 0.8129139716])
