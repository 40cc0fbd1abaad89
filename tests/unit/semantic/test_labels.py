"""Two answers say the same, contradict each other, or can't be told apart without understanding them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic.learning.labels import MAX_ANSWER, Verdict, compare_answers

RIGHT = [
    ("Paris", "Paris."),
    ("Paris", "  **Paris** \n"),
    ("Paris", '"Paris"'),
    ("The office opens at nine.", "the office opens at nine"),
    ("Run `make`", "Run make"),
    ('{"a": 1, "b": [true, null]}', '{"b":[true,null],"a":1.0}'),
    ('```json\n{"a": ""}\n```', '{"a": ""}'),
    ("long " * 100, "long " * 100),
]
WRONG = [
    ("Paris", "London"),
    ("New York", "Los Angeles"),
    ("Its capital is Lima", "Its capital is Quito"),
    ("It costs £5 a month", "It costs £6 a month"),
    ("It takes 5 days.", "Allow 3 days."),
    ("two days", "three days"),
    ("-5", "5"),
    ("1,000", "2,000"),
    ("At 5 pm", "At 18:00"),
    ("version 1.2.3", "version 1.2.4"),
    ("Yes, you can.", "No, you can't."),
    ("true", "false"),
    ('{"ok": true}', '{"ok": false}'),
    ('{"n": 1}', '{"n": 2}'),
    ('{"city": "Lima"}', '{"city": "Quito"}'),
    ("[1, 2]", "[2, 1]"),
]
UNKNOWN = [
    ("", ""),
    (" ", "Paris"),
    ("42", "42.0"),
    ("2 days", "two days"),
    ("5 pm", "17:00"),
    ("It takes 5 days", "It takes 3 working days"),
    ("It is 2024-03-12", "It is 12 March 2024"),
    ("10 Mb", "10 MB"),
    ("C++", "C#"),
    ("USA", "United States of America"),
    ("UK", "United Kingdom"),
    ("New York", "New York City"),
    ("Monday", "Mon"),
    ("Yes.", "Yes, within 30 days."),
    ("Contact Support.", "Write to us, please."),
    ("The shop is open on weekdays " * 10, "On Saturdays the shop is closed " * 10),
    ('{"a": "opens at nine"}', '{"a": "opens early"}'),
    ('{"a": 1}', '{"a": true}'),
    ('{"a": 1}', '{"a": 1, "b": 2}'),
    ("[1]", "[1, 2]"),
    ('{"a": 1}', "1"),
    ("[" * 5_000, "[" * 5_000 + "]"),
]
VERDICTS = Verdict.RIGHT, Verdict.WRONG, Verdict.UNKNOWN
TABLE = [(*pair, verdict) for verdict, pairs in zip(VERDICTS, (RIGHT, WRONG, UNKNOWN), strict=True) for pair in pairs]


@pytest.mark.parametrize(("one", "other", "verdict"), TABLE)
def test_examples(one: str, other: str, verdict: Verdict) -> None:
    """Whichever of the two was there first."""
    assert compare_answers(one, other) is verdict
    assert compare_answers(other, one) is verdict


TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(["Yes", "no", "5", "6", "days", "Paris", "the", "£1,000.50", "9 am", "(-2)"])).map(
        " ".join
    ),
    st.sampled_from([text for pair in RIGHT + WRONG + UNKNOWN for text in pair]),
)


@given(TEXTS, TEXTS)
def test_symmetric(one: str, other: str) -> None:
    """No answer is more right for having come first; any text may be one."""
    assert compare_answers(one, other) is compare_answers(other, one)


@given(TEXTS)
def test_never_wrong_beside_itself(text: str) -> None:
    """The same answer is right, but for one that says nothing."""
    expected = Verdict.RIGHT if text.strip() else Verdict.UNKNOWN
    assert compare_answers(text, text) in (expected, Verdict.UNKNOWN if len(text) < 3 else expected)


@given(st.integers(-999, 999), st.integers(-999, 999))
def test_numbers(one: int, other: int) -> None:
    """Another number of the same is another answer, bare, in a sentence and in JSON."""
    expected = Verdict.RIGHT if one == other else Verdict.WRONG
    for form in ("{}", "It has {} seats.", '{{"seats": {}}}'):
        assert compare_answers(form.format(one), form.format(other)) is expected


def test_bounded() -> None:
    """Of what is very long only equality is looked at."""
    long = "yes " * MAX_ANSWER
    assert compare_answers(long, long) is Verdict.RIGHT
    assert compare_answers(long, long + ".") is Verdict.UNKNOWN
