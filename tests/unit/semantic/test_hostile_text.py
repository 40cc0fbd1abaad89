import itertools
import time

import pytest

from cache.semantic.guard import MAX_TEXT, Finding, Guard

PAIRS = {
    "brackets": ("(" * MAX_TEXT, ")" * MAX_TEXT),
    "digits": ("1 " * MAX_TEXT, "2 " * MAX_TEXT),
    "unknown words": ("qzx wvb " * MAX_TEXT, "qzy wvc " * MAX_TEXT),
    "words that say nothing": ("hi " * MAX_TEXT, "please " * MAX_TEXT),
    "letters": ("x " * MAX_TEXT, "x" * MAX_TEXT),
    "prepositions": ("in on at for " * MAX_TEXT, "at on in for " * MAX_TEXT),
    "quotes": ('"a' * MAX_TEXT, "'b" * MAX_TEXT),
    "addresses": ("http://" * MAX_TEXT, "a@b.c" * MAX_TEXT),
    "letters that stand for many": ("\ufdfa" * MAX_TEXT, "\ufdfb" * MAX_TEXT),
    "questions": ("how do i " * MAX_TEXT, "can you tell me how to " * MAX_TEXT),
}
SECONDS = 0.25
"""Of the processor, for both texts and both ways: some hundred times what an everyday pair takes."""


@pytest.mark.alone
@pytest.mark.parametrize("name", PAIRS)
def test_no_text_makes_a_comparison_long(name: str) -> None:
    """The longest text that is looked at, whatever it is made of, is compared in a blink, and not served."""
    first, second = (text[:MAX_TEXT] for text in PAIRS[name])
    guard = Guard()
    start = time.process_time()
    one, other = guard.prepare(first), guard.prepare(second)
    found = {guard.compare(one, other).finding, guard.compare(other, one).finding}
    assert time.process_time() - start < SECONDS
    assert found <= {Finding.OPEN, Finding.VETO}


@pytest.mark.alone
@pytest.mark.parametrize("length", [20, 60, 120, 400, 1_000])
def test_no_length_makes_a_comparison_long(length: int) -> None:
    """Nor is there a length below the longest at which the rules look at more than they can in a blink."""
    guard = Guard()
    texts = {text[:length] for pair in PAIRS.values() for text in pair}
    start = time.process_time()
    prepared = [guard.prepare(text) for text in texts]
    found = [guard.compare(one, other) for one, other in itertools.combinations(prepared, 2)]
    assert time.process_time() - start < SECONDS * len(found) / 10


STRANGE = ["", " ", "?", "...", "\x00", "\ud800", "🙂", "ﷺ" * 90, "a\u0301" * 900, "\u202eabc"]


@pytest.mark.parametrize("text", STRANGE, ids=range(len(STRANGE)))
def test_any_text_is_prepared_and_equals_itself(text: str) -> None:
    """Nothing that a client can send makes the rules raise, and a text is the same question as itself."""
    guard = Guard()
    assert guard.compare(guard.prepare(text), guard.prepare(text)).finding is Finding.SAME


def test_a_text_is_as_long_as_what_its_letters_stand_for() -> None:
    """What is short only as it is sent is read into words no more than any other long text."""
    guard = Guard()
    sent = "\ufdfa " * (MAX_TEXT // 18)
    assert guard.prepare(sent).read.words == ()
    assert guard.compare(guard.prepare(sent), guard.prepare(sent + "\ufdfb")).finding in {Finding.OPEN, Finding.VETO}
