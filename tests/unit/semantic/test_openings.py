"""With which words a pattern can begin: the rules that are not tried on a sentence could not have fitted it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic.english.openings import openings

TABLE = [
    ("how do i (.+)", {"how"}),
    ("fees? for", {"fee", "fees"}),
    ("(?:can|could) i", {"can", "could"}),
    ("(?:what is )?(?:the )?age of", {"what", "the", "age"}),
    ("(?:a|an|) quote", {"a", "an", "quote"}),
    ("(how (?:often|long)) should", {"how"}),
    ("( my .+) is late", {"my"}),
]
WORDS = st.sampled_from(["how", "what", "is", "the", "my", "can"])


def grouped(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Alternatives, and one that may be left out before a word."""
    alternatives = st.lists(inside, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})")
    return alternatives | st.tuples(alternatives, WORDS).map(lambda pair: f"(?:{pair[0]} )?{pair[1]}")


PATTERNS = st.recursive(WORDS, grouped, max_leaves=8)


@pytest.mark.parametrize(("pattern", "words"), TABLE)
def test_the_words_that_a_pattern_begins_with(pattern: str, words: set[str]) -> None:
    """Every alternative counts, and what follows where the first may be left out."""
    assert set(openings(pattern) or ()) == words


@pytest.mark.parametrize(
    "pattern", ["[a-z]+ing x", "(.+) early", "(?!my )x", "(?:how )*x", "a(?:n)? x", "(?:.+|how) x"]
)
def test_some_begin_with_any_word(pattern: str) -> None:
    """Where a class of letters, a look ahead or a repetition stands first nothing is ruled out."""
    assert openings(pattern) is None


@given(PATTERNS.flatmap(lambda pattern: st.tuples(st.just(pattern), st.from_regex(f"{pattern}", fullmatch=True))))
def test_whatever_fits_begins_with_one_of_them(drawn: tuple[str, str]) -> None:
    """No text that a pattern fits begins with a word that it is said not to begin with."""
    pattern, text = drawn
    words = openings(pattern)
    assert words is None or text.split()[0] in words
