"""What may be asked of the ledger, and how money is said."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.fold import MEASURES
from proxy.ledger.query import MAX_LINES, BadQuestion, By, Wanted, dollars, parse_days, parse_time, reported
from tests.fakes.ledger import NOW, TODAY, row

ONE = (1,) * len(MEASURES)


@given(st.integers(-(10**20), 10**20))
def test_dollars_are_exact(nanos: int) -> None:
    """Read again they are the same amount, with two decimals at least and no exponent."""
    said = dollars(nanos)
    assert Decimal(said) * 10**9 == nanos
    assert len(said.partition(".")[2]) >= 2
    assert not said.endswith("0") or len(said.partition(".")[2]) == 2


@pytest.mark.parametrize(
    ("since", "until", "first", "last"),
    [
        ("1d", "", TODAY, TODAY),
        ("7d", "", TODAY - 6, TODAY),
        ("2026-11-01", "", TODAY - 20, TODAY),
        ("2026-11-01", "2026-11-01", TODAY - 20, TODAY - 20),
        ("7d", "2026-11-20", TODAY - 6, TODAY - 1),
    ],
)
def test_days(since: str, until: str, first: int, last: int) -> None:
    """Whole ones in UTC, both ends included."""
    assert parse_days(since, until, TODAY) == (first, last)


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [
        ("", "", "since"),
        ("0d", "", "since"),
        ("7", "", "since"),
        ("-7d", "", "since"),
        ("12h", "", "since"),
        ("99999d", "", "since"),
        ("2026-13-01", "", "since"),
        ("2026-11-1", "", "since"),
        ("1970-01-01", "", "since"),
        ("7d", "yesterday", "until"),
        ("7d", "2026-01-01", "since"),
        ("٣d", "", "since"),
    ],
)
def test_days_that_are_none(since: str, until: str, field: str) -> None:
    """The field is named that is wrong."""
    with pytest.raises(BadQuestion) as bad:
        parse_days(since, until, TODAY)
    assert bad.value.field == field


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("0", 0.0),
        ("1795262400.5", NOW + 0.5),
        ("2026-11-21", NOW - 43_200),
        ("2026-11-21T12:00:00Z", NOW),
        ("2026-11-21T13:00:00+01:00", NOW),
    ],
)
def test_times(text: str, time: float) -> None:
    """Seconds, or what RFC 3339 says; without a zone it is UTC."""
    assert parse_time("since", text) == time


@pytest.mark.parametrize("text", ["", "now", "nan", "1e9", "-1", "2026-99-01", "9" * 12, "12:00"])
def test_times_that_are_none(text: str) -> None:
    """They are refused."""
    with pytest.raises(BadQuestion):
        parse_time("since", text)


def test_a_report_is_bounded() -> None:
    """The dearest lines are shown; the total is of all."""
    cost = MEASURES.index("cost")
    lines = [(f"model-{n}", [n if at == cost else 1 for at in range(len(MEASURES))]) for n in range(MAX_LINES + 50)]
    report = reported(By.MODEL, lines, lost=3)
    assert (len(report.lines), report.more, report.lost) == (MAX_LINES, 50, 3)
    assert report.lines[0].name == f"model-{MAX_LINES + 49}"
    assert report.total.sums[0] == MAX_LINES + 50


def test_days_are_in_their_order() -> None:
    """Whatever they cost."""
    report = reported(By.DAY, [(TODAY, ONE), (TODAY - 1, [2 * n for n in ONE]), (TODAY, ONE)], lost=0)
    assert [(line.name, line.sums[0]) for line in report.lines] == [("2026-11-20", 2), ("2026-11-21", 2)]


def test_all_conditions_are_met_together() -> None:
    """Times from `since` to before `until`."""
    assert Wanted().matches(row())
    assert Wanted(key="alice", status=200, since=NOW, until=NOW + 1, served="gpt-5-2026-08-01").matches(row())
    for other in (Wanted(key="bob"), Wanted(key="alice", status=500), Wanted(until=NOW), Wanted(since=NOW + 1)):
        assert not other.matches(row())
