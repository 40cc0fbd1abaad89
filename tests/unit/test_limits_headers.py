"""What clients are told of their limits."""

from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits import NEVER
from limits.headers import duration, rate_limit, retry_after, tightest
from tests.fakes.seams import fields_of


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (17, "17ms"),
        (1_000, "1s"),
        (1_200, "1.2s"),
        (7_005, "7.005s"),
        (60_000, "1m0s"),
        (360_000, "6m0s"),
        (86_400_000, "24h0m0s"),
        (3_661_500, "1h1m1.5s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(ms: int, text: str) -> None:
    """Which is as Go does."""
    assert duration(ms) == text


def test_six_headers_tell_of_two_limits() -> None:
    """Of requests and of tokens."""
    assert rate_limit(None, None) == b""
    assert fields_of(rate_limit((100, 7, 360_000), (150_000, 149_984, 6))) == [
        (b"x-ratelimit-limit-requests", b"100"),
        (b"x-ratelimit-remaining-requests", b"7"),
        (b"x-ratelimit-reset-requests", b"6m0s"),
        (b"x-ratelimit-limit-tokens", b"150000"),
        (b"x-ratelimit-remaining-tokens", b"149984"),
        (b"x-ratelimit-reset-tokens", b"6ms"),
    ]


def test_the_tightest_is_told() -> None:
    """The one with fewer left; of two that are as tight the slower."""
    slow, quick, wide = (5, 1, 5_000), (9, 1, 10), (9, 7, 90_000)
    for order in permutations([slow, quick, wide]):
        assert reduce(tightest, order) == slow


@given(st.integers(0, 10**9))
def test_nobody_is_told_to_come_back_too_early(ms: int) -> None:
    """Nor more than a second too late."""
    headers = dict(retry_after(ms))
    assert int(headers[b"retry-after-ms"]) == ms
    assert ms <= int(headers[b"retry-after"]) * 1_000 < ms + 1_000


def test_nobody_is_told_to_come_back_in_vain() -> None:
    """Where there will never be room."""
    assert retry_after(NEVER) == []
