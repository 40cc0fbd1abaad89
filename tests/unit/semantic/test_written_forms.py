"""What preparing folds away, and what of it tells questions apart all the same."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cache.semantic.guard import Finding, Guard

GUARD = Guard()
SERVED = {Finding.SAME, Finding.LICENSED}
MARKS = ["/", "./", "../", "-", "--", "$?", "$!", "$$", "~", "*/", "<", ">>", "^", "'", '"', "`", "%", "=", "!="]
TITLES = ["Alien", "Car", "Friend", "Sign", "Stranger", "Giant", "Killer", "Door", "Thread", "Acorn", "Crown", "Office"]
MENTIONED = [
    ("whom", "who"), ("gonna", "going to"), ("must", "have to"), ("colour", "color"), ("don't", "do not"), ("u", "you"),
    ("grey", "gray"), ("can't", "cannot"), ("wanna", "want to"), ("theatre", "theater"), ("able to", "can"),
]  # fmt: skip
SPEAKING = [
    "What does {} mean?", "Where does the word {} come from?", "How do you spell {}?", "When do I use {}?",
    "What is the difference between {} and ought?", "Is {} a real word?", "Count the letters in {}",
    "Translate {} to French", "What is the definition of {}?",
]  # fmt: skip


def served(asked: str, stored: str) -> bool:
    return GUARD.compare(GUARD.prepare(asked), GUARD.prepare(stored)).finding in SERVED


@given(st.integers(0, 10**6), st.sampled_from(["What is {} times 4?", "How do I dose {} mg?", "Is {}mg too much?"]))
def test_a_leading_point_is_never_dropped(number: int, question: str) -> None:
    """.N is 0.N, and not N."""
    bare, point, zero = (question.format(text) for text in (f"{number}", f".{number}", f"0.{number}"))
    assert not served(bare, point)
    assert served(zero, point)


@given(
    st.sampled_from(["ls", "cp a", "git checkout", "cat"]), st.sampled_from(["", *MARKS]), st.sampled_from(["", *MARKS])
)
def test_marks_of_a_command_have_to_match(command: str, one: str, other: str) -> None:
    """Two questions that differ in a mark that stands alone are two."""
    assume(one != other)
    for question in ("What does {} do?", "What does {} mean in bash?"):
        assert not served(question.format(f"{command} {one}".strip()), question.format(f"{command} {other}".strip()))


@given(st.text(alphabet=string.printable, max_size=40))
def test_any_marks_are_the_same_as_themselves(text: str) -> None:
    assert served(f"What does {text} do?", f"What does {text} do?")


@pytest.mark.parametrize("end", ["", " ?", "?!", "???", "...", " !"])
def test_punctuation_tells_nothing(end: str) -> None:
    """At the end, and as dashes and commas between clauses."""
    assert served("How do I reset my password?", f"hi - how do I reset my password{end}")


@given(st.sampled_from(TITLES), st.sampled_from(["Who directed {}?", "Where can I watch {}?", "When was {} released?"]))
def test_a_name_stands_alike_in_both(title: str, question: str) -> None:
    """With an article, an 's, a plural or a small letter it is another, also for who writes all in small letters."""
    plain, small = question.format(title), question.format(title.lower())
    assert served(plain, plain.lower())
    assert served(plain, plain.upper())
    assert not served(plain, small)
    for other in (f"the {title}", f"The {title}", f"a {title}", f"{title}s", f"{title}'s"):
        assert not served(plain, question.format(other))
        assert not served(plain, question.format(other).lower())


@given(
    st.sampled_from(["crown", "office", "thread", "car"]), st.sampled_from(["Where do I buy {}?", "What is {} for?"])
)
def test_without_capitals_articles_tell_nothing(noun: str, question: str) -> None:
    """Who has written no name is asked for none."""
    one, *others = (question.format(text) for text in (f"a {noun}", f"the {noun}", noun, f"{noun}s"))
    for other in others:
        assert served(one, other)
        assert served(one, other.lower())


@pytest.mark.parametrize("question", SPEAKING)
@pytest.mark.parametrize("words", MENTIONED, ids=" ".join)
def test_a_word_that_is_mentioned_is_no_other(words: tuple[str, str], question: str) -> None:
    """However the tables would write it where it is used."""
    one, other = (question.format(word) for word in words)
    assert not served(one, other)
    assert served(one, f"hi, {one}")
