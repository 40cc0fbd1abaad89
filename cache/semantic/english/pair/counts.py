"""One of a thing or several where the two are not the same: to join a list, to join lists; future, futures."""

from collections.abc import Iterable
from typing import Final

from cache.semantic.english.forms import Form
from cache.semantic.english.lexicon import listed
from cache.semantic.english.tokens import Token

__all__ = ["counts_differ"]

_JOINED: Final = listed("join merge concatenate combine zip append compare sum add")
_OTHERS: Final = listed(
    "future minute spirit content blue good interest custom arm manner glass ash wood water premise provision spectacle"
    " particular remain mean authority facility term blind colour effect damage saving earning security"
)
"""Of these several are another thing: futures are no future, spirits drunk, minutes taken."""
_HOLDING: Final = listed("list array tuple set dict dictionary series")


def counts_differ(matched: Iterable[tuple[Token, Token]]) -> bool:
    joined = differ = False
    for one, other in matched:
        if one.form is not other.form and one.lemma in _OTHERS and one.lemma == other.lemma:
            return True
        joined = joined or one.lemma in _JOINED
        differ = differ or (one.lemma in _HOLDING and (one.form is Form.S) is not (other.form is Form.S))
    return joined and differ
