"""What holds for any two texts."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from cache.semantic.guard import MAX_TEXT, RULES, Finding, Guard

GUARD = Guard()
TABLE = (
    "how do does did can could i you my your the a an is are was not never if without before two 2 7pm Monday May £5"
    " order cancel canceled card cards London Paris from to of in on at with what when please hi thanks sure, ok. ? ! :"
    " delete remove price cost much available there have wifi password guest guests buying buy translate 'yes' \"no\""
    " --hard a_b https://x.example US us IT it who WHO teh acount recieve and or more than best only all"
)
WORDS = TABLE.split()
QUESTIONS = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)


@given(st.one_of(st.text(max_size=200), QUESTIONS))
def test_any_text_is_prepared_and_is_itself(text: str) -> None:
    """Preparing raises for no text, and a question is the same as itself."""
    prepared = GUARD.prepare(text)
    assert GUARD.compare(prepared, GUARD.prepare(text)).finding is Finding.SAME


@settings(max_examples=25)
@given(st.text(alphabet=string.printable + "éßﬁ\u200b\u0301’“…😀日", min_size=1, max_size=12))
def test_the_longest_text_is_prepared(text: str) -> None:
    """Up to the limit, whatever is repeated in it."""
    GUARD.prepare((text * MAX_TEXT)[:MAX_TEXT])


@given(QUESTIONS, QUESTIONS)
def test_comparing_is_symmetric(first: str, second: str) -> None:
    """Which of the two was asked first changes neither the finding nor its rule."""
    one, other = GUARD.prepare(first), GUARD.prepare(second)
    assert GUARD.compare(one, other) == GUARD.compare(other, one)
    assert GUARD.compare(one, other).rule in RULES


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_digits_are_never_repaired(first: int, second: int) -> None:
    """Two numbers that differ are two questions, however near they are."""
    asked, stored = (GUARD.prepare(f"How much is {number} in bananas?") for number in (first, second))
    assert (GUARD.compare(asked, stored).finding is Finding.VETO) is (first != second)


@given(QUESTIONS, st.sampled_from(["not", "never", "without"]))
def test_a_negation_is_never_passed_over(question: str, negation: str) -> None:
    """A question and the same one with a negation behind it are not one."""
    asked, stored = (
        GUARD.prepare(f"Why is soup {question} hot"),
        GUARD.prepare(f"Why is soup {question} {negation} hot"),
    )
    assert GUARD.compare(asked, stored).finding in {Finding.VETO, Finding.OPEN}
