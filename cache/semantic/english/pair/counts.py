"""One of a thing or several where the two are different work: to join a list, to join lists."""

from collections.abc import Iterable
from typing import Final

from cache.semantic.english.forms import Form
from cache.semantic.english.lexicon import listed
from cache.semantic.english.tokens import Token

__all__ = ["counts_differ"]

_JOINED: Final = listed("join merge concatenate combine zip append compare sum add")
_HOLDING: Final = listed("list array tuple set dict dictionary series")


def counts_differ(matched: Iterable[tuple[Token, Token]]) -> bool:
    joined = differ = False
    for one, other in matched:
        joined = joined or one.lemma in _JOINED
        differ = differ or (one.lemma in _HOLDING and (one.form is Form.S) is not (other.form is Form.S))
    return joined and differ
