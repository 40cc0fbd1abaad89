"""Directives: total, and whatever is added takes away."""

from hypothesis import example, given
from hypothesis import strategies as st

from cache.directives import DIRECTIVE_FIELDS, FOREVER, MAX_TAGS, Directives, directives
from cache.freshness import Freshness, judge
from cache.policy import Request, Rules, plan

NAMES = st.sampled_from([b"cache-control", b"pragma", *sorted(DIRECTIVE_FIELDS)])
PIECES = [
    b"no-cache",
    b"no-store",
    b"max-age",
    b"max-stale",
    b"min-fresh",
    b"=",
    b'"',
    b"\\",
    b",",
    b" ",
    b"5",
    b"\xff",
    b"off",
]
VALUES = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join) | st.binary(max_size=30)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
RULES = Rules(stale_if_error=50)
REQUEST = Request("completions", "POST")
SERVED = {Freshness.FRESH: 3, Freshness.STALE: 2, Freshness.IF_ERROR: 1, Freshness.UNWANTED: 0, Freshness.GONE: 0}


@given(HEADERS)
@example([(b"cache-control", b'a="\\"' * 2_000)])
@example([(b"cache-control", b"," * 8_000)])
def test_any_headers_are_directives(headers: list[tuple[bytes, bytes]]) -> None:
    """Within their bounds."""
    asked = directives(headers)
    durations = (asked.max_age, asked.min_fresh, asked.max_stale, asked.stale_if_error, asked.ttl)
    assert all(0 <= duration <= FOREVER for duration in durations if duration is not None)
    assert len(asked.tags) <= MAX_TAGS


def allowed(asked: Directives, age: float) -> tuple[bool, bool, bool, float, int]:
    planned = plan(REQUEST, asked, RULES)
    served = SERVED[judge(1_000.0, 1_100.0, 1_150.0, 1_000.0 + age, asked).freshness] if planned.may_read else 0
    return planned.may_read, planned.may_write, asked.semantic, planned.ttl, served


@given(HEADERS.filter(lambda headers: b"pragma" not in dict(headers)), NAMES, VALUES, st.floats(-10, 200))
@example([], b"cache-control", b"max-age=200", 120.0)
def test_another_header_never_loosens(
    headers: list[tuple[bytes, bytes]], name: bytes, value: bytes, age: float
) -> None:
    """Nothing is read, kept, or kept for longer that was not without it, unless it accepts what is stale."""
    before = directives(headers)
    after = directives([*headers, (name, value)])
    allows = allowed(before, age), allowed(after, age)
    assert all(more >= less for more, less in zip(*allows, strict=True)) or (after.max_stale, after.stale_if_error) != (
        None,
        None,
    )
    assert allowed(Directives(), age)[3] >= allows[1][3]


@given(HEADERS)
def test_the_order_of_headers_does_not_count(headers: list[tuple[bytes, bytes]]) -> None:
    """But for the order of tags."""
    one, other = directives(headers), directives(headers[::-1])
    if not one.bad_tags:
        assert set(one.tags) == set(other.tags)
    assert allowed(one, 50) == allowed(other, 50)
