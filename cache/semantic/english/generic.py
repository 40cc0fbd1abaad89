"""*How do you boil an egg*: what anyone does, and no company is asked about."""

from collections.abc import Sequence
from typing import Final

from cache.semantic.english.forms import Form
from cache.semantic.english.lexicon import listed
from cache.semantic.english.tokens import Kind, Token

__all__ = ["generally"]

_ANYONES_DOINGS: Final = listed(
    "boil poach fry bake cook roast grill steam simmer peel chop thaw defrost reverse sort convert install"
    " solve factor multiply divide simplify integrate differentiate learn become tie fold knit crochet draw unclog"
    " uninstall reset restart reboot configure compile debug declare iterate initialize concatenate rename clone merge"
    " unzip compress extract overcome lose screenshot screenshare fix repair remove play write create delete"
    " connect pair format partition mount copy paste undo crop resize spell zip enable disable prune pronounce"
)
_MADE: Final = listed(
    "cake bread pizza pancake rice pasta soup sauce tea coffee pie pudding cookie omelette omelet jam cheese yogurt"
    " curry salad soap candle slime paper beer butter gravy hummus dough"
)
_TREATED: Final = listed("burn fever cold flu rash sunburn blister diabetes asthma migraine acne wart sprain")
_COMPUTED: Final = listed(
    "area volume perimeter percentage average mean median mode circumference gradient slope velocity density"
)
_WITH: Final = {"make": _MADE, "treat": _TREATED, "cure": _TREATED, "calculate": _COMPUTED}
_COMPANIES_DOINGS: Final = listed(
    "fix repair remove write create delete connect pair format copy enable disable clone rename install merge"
)
"""*how do you create reports* asks what you do, *how do you create a report* how it is done."""
_ONES_OWN: Final = listed(
    "customer client user staff employee order room account data payment record food product company card booking team"
    " contract policy price site website complaint member guest patient student profile request store shop office hotel"
    " restaurant branch person"
)
"""Objects that a company is asked about: *how do you remove inactive accounts*."""


def generally(tokens: list[Token]) -> list[Token]:
    """*how do you boil an egg* asks how I boil one, where it cannot ask what you do."""
    if len(tokens) < 4 or [token.lemma for token in tokens[:2]] != ["how", "you"] or tokens[2].form is not Form.PLAIN:
        return tokens
    lemmas = {token.lemma for token in tokens[3:]}
    done = tokens[2].lemma
    if not (done in _ANYONES_DOINGS or lemmas & _WITH.get(done, frozenset())) or lemmas & _ONES_OWN:
        return tokens
    if any(token.kind is Kind.PERSON for token in tokens[3:]) or tokens[3].kind is Kind.PREPOSITION:
        return tokens
    if done in _COMPANIES_DOINGS and _object_is_plural(tokens[3:]):
        return tokens
    return [tokens[0], Token("i", Kind.PERSON, Form.PLAIN, name=False), *tokens[2:]]


def _object_is_plural(tokens: Sequence[Token]) -> bool:
    for token in tokens:
        if token.kind is not Kind.CONTENT:
            break
        if token.form is Form.S:
            return True
    return False
