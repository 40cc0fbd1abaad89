"""What clients are told of their limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits import NEVER, Kind, Mode, State
from limits.headers import duration, rate_limit, retry_after
from tests.fakes.limiting import limit


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


def test_six_headers_tell_of_the_tightest_limits() -> None:
    """Of requests a minute and a day the one with fewer left, and of tokens."""
    states = [
        State(limit(Kind.REQUESTS, 60), 59, 1_000),
        State(limit(Kind.DAILY, 100), 7, 360_000),
        State(limit(Kind.TOKENS, 150_000), 149_984, 6),
        State(limit(Kind.TOKENS, 10**6, "team:t"), 150_000, 60_000),
        State(limit(Kind.CONCURRENT, 2), 0, 0),
    ]
    assert rate_limit(states) == [
        (b"x-ratelimit-limit-requests", b"100"),
        (b"x-ratelimit-remaining-requests", b"7"),
        (b"x-ratelimit-reset-requests", b"6m0s"),
        (b"x-ratelimit-limit-tokens", b"150000"),
        (b"x-ratelimit-remaining-tokens", b"149984"),
        (b"x-ratelimit-reset-tokens", b"6ms"),
    ]


def test_of_two_that_are_as_tight_the_slower_is_told() -> None:
    """And none that only watches, and none that there is not."""
    slow, quick = State(limit(Kind.DAILY, 5), 1, 5_000), State(limit(Kind.REQUESTS, 9), 1, 10)
    assert rate_limit([quick, slow]) == rate_limit([slow, quick]) == rate_limit([slow])
    assert rate_limit([State(limit(Kind.REQUESTS, 9, mode=Mode.SHADOW), 1, 10)]) == []


@given(st.integers(0, 10**9))
def test_nobody_is_told_to_come_back_too_early(ms: int) -> None:
    """Nor more than a second too late."""
    headers = dict(retry_after(ms))
    assert int(headers[b"retry-after-ms"]) == ms
    assert ms <= int(headers[b"retry-after"]) * 1_000 < ms + 1_000


def test_nobody_is_told_to_come_back_in_vain() -> None:
    """Where there will never be room."""
    assert retry_after(NEVER) == []
