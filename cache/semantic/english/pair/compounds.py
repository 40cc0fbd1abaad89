"""Where a noun is part of another: a *buy order* is no *purchase order*, *cost control* no *price control*."""

from collections.abc import Sequence
from typing import Final

from cache.semantic.english.forms import Form
from cache.semantic.english.lexicon import listed
from cache.semantic.english.tokens import Kind, Token

__all__ = ["in_compound"]

_NAMING: Final = listed("what define explain describe")
_ADJECTIVES: Final = listed(
    "good bad new old nice great cheap expensive free main average typical normal usual common big small large long"
    " short high low right wrong real easy hard quick fast simple basic full local nearest next last first best"
    " mobile extra additional"
)
"""Before a noun these make no other thing of it."""
_QUALIFYING: Final = listed(
    "legal minimum maximum permitted strange weird odd promo promotional extra additional cheap inexpensive affordable"
    " broken faulty damaged lost missing stolen poor bad great excellent difficult hard easy simple quick fast"
)
"""Adjectives that have synonyms."""
_DOING: Final = listed(
    "begin start commence depart leave arrive end finish stop happen occur work open close run last take go come"
    " live reside stay need require cause make mean want get have use buy purchase eat"
)
"""Behind a noun these are what it does."""


def in_compound(tokens: Sequence[Token], at: int) -> bool:
    """As far as articles tell, or that a thing is asked for by its name."""
    token = tokens[at]
    if token.kind is not Kind.CONTENT or token.name or token.lemma.endswith("est"):
        return False
    before = tokens[at - 1] if at else None
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    if before is not None and _is_part(before) and before.article and not token.article and token.lemma not in _DOING:
        return True
    qualifies = token.lemma in _QUALIFYING
    if token.article and not qualifies and after is not None and _is_part(after) and after.lemma not in _DOING:
        return not after.article
    if tokens[0].lemma not in _NAMING or token.lemma in _DOING or (qualifies and len(tokens) != 3):
        return False
    end = 1
    while end < len(tokens) and tokens[end].kind is Kind.CONTENT:
        end += 1
    return at < end and sum(_is_part(each) for each in tokens[1:end]) > 1


def _is_part(token: Token) -> bool:
    return token.kind is Kind.CONTENT and token.form is not Form.PAST and token.lemma not in _ADJECTIVES
