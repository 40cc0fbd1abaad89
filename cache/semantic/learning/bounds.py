"""What counts say of a share, with confidence: Clopper and Pearson's exact bounds of a binomial proportion. Sans-IO.

C. J. Clopper, E. S. Pearson: The use of confidence or fiducial limits illustrated in the case of the binomial.
Biometrika 26 (1934). The bounds are quantiles of beta distributions, whose distribution function is the regularised
incomplete beta function: its continued fraction is that of the Digital Library of Mathematical Functions, 8.17.22,
evaluated from the front by Lentz's method as Thompson and Barnett mend it (J. Comput. Phys. 64, 1986).

Counts may be fractions, where old ones weigh less.
"""

from math import exp, lgamma, log, log1p
from typing import Final, NamedTuple

__all__ = ["Interval", "beta_cdf", "interval", "lower", "upper"]

STEPS: Final = 1_000
"""Of the fraction; it needs about the square root of the larger count."""
HALVINGS: Final = 50
PRECISION: Final = 1e-14
TINY: Final = 1e-300


class Interval(NamedTuple):
    """A share, between what it lies, and of how many it is."""

    share: float
    low: float
    high: float
    trials: float


def interval(hits: float, trials: float, confidence: float = 0.95) -> Interval:
    """Both bounds together hold with `confidence`. Without trials it is all of [0, 1], and the share 0."""
    if trials <= 0:
        return Interval(0.0, 0.0, 1.0, 0.0)
    error = (1 - confidence) / 2
    return Interval(hits / trials, lower(hits, trials, error), upper(hits, trials, error), trials)


def upper(hits: float, trials: float, error: float) -> float:
    """The share is higher with a probability of `error` at most."""
    if hits >= trials:
        return 1.0
    return _quantile(1 - error, hits + 1, trials - hits)


def lower(hits: float, trials: float, error: float) -> float:
    """The share is lower with a probability of `error` at most."""
    if hits <= 0:
        return 0.0
    return _quantile(error, hits, trials - hits + 1)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function; `a` and `b` are positive."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _quantile(probability: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _fraction(x: float, a: float, b: float) -> float:
    """Converges quickly below the distribution's mean."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < PRECISION:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
