"""What is left over of two aligned questions: vetoed, licensed, or open."""

from collections.abc import Sequence
from typing import Final

from cache.semantic.english.closed import (
    ALWAYS_LIGHT,
    DEEDS,
    HEADS,
    PEOPLE,
    REDUNDANT,
    TIMES,
)
from cache.semantic.english.forms import Form
from cache.semantic.english.lexicon import listed
from cache.semantic.english.pair.align import Alignment
from cache.semantic.english.pair.capitals import articles_differ, cases_differ, part_of_a_name, places
from cache.semantic.english.pair.counts import counts_differ
from cache.semantic.english.pair.order import MEASURES, reordered
from cache.semantic.english.pair.synonyms import CONTRASTS, IMPLIED, opposite
from cache.semantic.english.tokens import Kind, Token
from cache.semantic.finding import Compared, Finding

__all__ = ["RULES", "judged"]


_VETOES: Final = (
    "number", "date", "time", "unit", "code", "url", "quoted", "symbol", "negation", "antonym", "person", "comparative",
    "preposition", "contrast", "entity", "order", "time_word", "question", "modal", "tense", "must_match",
)  # fmt: skip
"""The gravest first."""
_LICENCES: Final = ("case", "light", "frame", "spelling", "head", "preposition", "order", "typo", "synonym")
"""From the weakest to the strongest."""
_REASONS: Final = ("same", "content", "exact", "off", "plural", "article", "possessive")
RULES: Final = frozenset((*_VETOES, *_LICENCES, *_REASONS))

_LITERAL: Final = frozenset(
    {Kind.NUMBER, Kind.DATE, Kind.TIME, Kind.UNIT, Kind.CODE, Kind.URL, Kind.QUOTED, Kind.SYMBOL}
)
_UNDOING: Final = listed("avoid prevent stop quit cease refuse fail neglect forget miss misspayment")
"""What is so meant is not done: *if I avoid paying*."""
_WORDY: Final = frozenset({Kind.MODAL, Kind.COMPARATIVE, Kind.MUST, Kind.QUESTION})
_FORBIDDING: Final = frozenset({Kind.NEGATION})
_GIVING: Final = listed(
    "give send tell show write make get find recommend suggest explain teach help read draw bring buy"
    " cook create generate list for provide giveback return"
)
_ALTERNATE: Final = frozenset(
    frozenset(pair.split("/"))
    for pair in (
        "at/in in/inside in/within about/regarding about/concerning regarding/concerning about/of"
        " @/in @/at @/on @/for @/with via/through via/by with/via on/upon across/throughout to/toward"
    ).split()
)
_ALTERNATE_NEAR: Final[dict[frozenset[str], frozenset[str]]] = {
    frozenset({"for", "of"}): listed(
        "price cost fee charge deadline date requirement recipe reason limit rule process procedure symptom"
        " treatment cause rate salary period policy name code address password"
        " instruction formula command shortcut explanation definition example option alternative status version"
    ),
    frozenset({"in", "on"}): listed(
        "app website site platform account phone device dashboard page portal mac iphone android pc computer"
        " laptop windows weekend menu flight train plane bus invoice bill statement market internet web server"
    ),
    frozenset({"on", "at"}): listed("weekend website site market"),
    frozenset({"by", "with"}): listed(
        "card creditcard cash paypal cheque check phone email directdebit bank transfer apple google crypto"
        " bitcoin giftcard mobile klarna invoice"
    ),
    frozenset({"by", "through"}): listed("email phone post mail app website paypal"),
    frozenset({"by", "on"}): listed("train bus bike foot"),
    frozenset({"over", "by"}): listed("phone email"),
    frozenset({"on", "via"}): listed("phone app website whatsapp email"),
    frozenset({"to", "with"}): listed("speak talk connect chat sync pair link"),
    frozenset({"to", "into"}): listed("convert translate transfer move integrate change turn account money fund add"),
    frozenset({"in", "with"}): listed("css"),
    frozenset({"in", "into"}): listed("convert translate put insert change turn"),
    frozenset({"in", "to"}): listed("convert translate"),
    frozenset({"from", "of"}): listed("rid copy cut"),
    frozenset({"on", "for"}): listed("discount refund limit deadline warranty guarantee"),
    frozenset({"on", "of"}): listed("price limit"),
    frozenset({"from", "@"}): listed("apply"),
    frozenset({"on", "about"}): listed("advice information tip guidance book article report question"),
    frozenset({"to", "of"}): listed("solution"),
    frozenset({"with", "on"}): listed("help interestrate"),
    frozenset({"to", "as"}): listed("pdf csv"),
    frozenset({"with", "at"}): listed("account"),
    frozenset({"for", "to"}): listed("requirement deadline"),
    frozenset({"on", "to"}): listed("limit restriction"),
}


_OF_FOR: Final = frozenset({"of", "for"})
_ON_FOR: Final = frozenset({"on", "for"})
_NOT_OF_TIMES: Final = frozenset(
    {frozenset({"in", "within"}), frozenset({"at", "in"}), frozenset({"in", "inside"}), _ON_FOR}
)
"""Of times each says another: *in five days* is after them, *at five days* is their age."""
_CHARGED: Final = listed("card creditcard debitcard account bankaccount bill invoice statement mortgage loan")
"""What is paid with, and paid for: *a discount on my card* is not *for my card*."""
_APART: Final = {_ON_FOR: _CHARGED | PEOPLE, _OF_FOR: PEOPLE}
_NAMING: Final = listed("what who where price")
_HERE: Final = listed("my our")
_OF_ALL: Final = listed("internet world web government country law economy city")
"""*the internet* is everybody's."""
_SERVICES: Final = listed("newsletter app site website service team support store shop api platform product list blog")
_DEFINING: Final = listed("define explain what who")
_OF_A_WHOLE: Final = listed("of in on at for with from")

MOST_LEFT: Final = 24
"""With more words left over on a side nothing is licensed, so nothing is looked at."""


def judged(found: Alignment, *, exact: bool) -> Compared:
    """Vetoes before licences; without leftovers only the order can still say no."""
    over = _Leftover(found)
    if max(len(over.lefts), len(over.rights)) > MOST_LEFT:
        return Compared(Finding.OPEN, "content")
    if (veto := over.veto()) is not None:
        return Compared(Finding.VETO, veto)
    licence, used = reordered(found)
    if licence is None:
        return Compared(Finding.VETO, "order")
    if exact:
        return Compared(Finding.OPEN, "exact")
    if "synonym" in found.licences and _is_about_meaning(found.left):
        return Compared(Finding.OPEN, "exact")
    if licence:
        found.licences.add(licence)
    return over.licensed(used, found.licences)


def _is_about_meaning(tokens: Sequence[Token]) -> bool:
    """*what does X mean*, *the difference between X and Y*: asked is about X, not about what is nearly the same."""
    lemmas = {token.lemma for token in tokens}
    return not lemmas.isdisjoint({"define", "meaning", "versus"}) or lemmas >= {"difference", "between"}


class _Leftover:
    __slots__ = ("found", "lefts", "rights")

    def __init__(self, found: Alignment) -> None:
        self.found = found
        self.lefts = found.left_over()
        self.rights = found.right_over()

    def _sides(self) -> tuple[list[Token], list[Token]]:
        return [self.found.left[at] for at in self.lefts], [self.found.right[at] for at in self.rights]

    def veto(self) -> str | None:
        """The first rule that forbids, in the order of _VETOES."""
        lefts, rights = self._sides()
        names = {name for token in (*lefts, *rights) if (name := self._vetoed(token, lefts, rights))}
        if any(opposite(left.lemma, right.lemma) for left in lefts for right in rights):
            names.add("antonym")
        names |= _persons(lefts, rights) | self._exchanged(lefts, rights)
        return next((name for name in _VETOES if name in names), None)

    def _vetoed(self, token: Token, lefts: list[Token], rights: list[Token]) -> str | None:
        kind = token.kind
        if kind in _LITERAL or kind in _FORBIDDING:
            return kind.value
        if token.lemma in _UNDOING:
            return "negation"
        if kind not in _WORDY or self._bare_what(token):
            return None
        if kind is Kind.MODAL:
            return "tense" if token.lemma in {"past", "was", "passive", "perf"} else "modal"
        if kind is Kind.MUST and token.lemma in TIMES:
            return "time_word"
        return str(kind.value)

    def _bare_what(self, token: Token) -> bool:
        """*capital of France* asks what *what is the capital of France* asks."""
        if token.lemma != "what":
            return False
        for mine, other in ((self.found.left, self.found.right), (self.found.right, self.found.left)):
            if mine and mine[0] is token and not any(each.kind is Kind.QUESTION for each in other):
                return bool(other) and other[0].kind is Kind.CONTENT
        return False

    def _exchanged(self, lefts: list[Token], rights: list[Token]) -> set[str]:
        """Two that exclude each other: of one contrasting class, or both of them names."""
        names: set[str] = set()
        for left in lefts:
            for right in rights:
                if left.kind is Kind.CONTENT and right.kind is Kind.CONTENT:
                    if CONTRASTS.get(left.lemma, frozenset()) & CONTRASTS.get(right.lemma, frozenset()):
                        names.add("contrast")
                    if left.name and right.name:
                        names.add("entity")
        for tokens, over in ((self.found.left, self.lefts), (self.found.right, self.rights)):
            if any(part_of_a_name(tokens, at, over) for at in over):
                names.add("entity")
        if self._prepositions() is None:
            names.add("preposition")
        return names

    def _prepositions(self) -> set[tuple[int, int]] | None:
        """Leftover prepositions that alternate, as pairs (left, right); None if two exclude each other."""
        found = self.found
        pairs: set[tuple[int, int]] = set()
        lefts = [at for at in self.lefts if found.left[at].kind is Kind.PREPOSITION]
        rights = [at for at in self.rights if found.right[at].kind is Kind.PREPOSITION]
        for at, to in zip(lefts, rights, strict=False):
            if not _alternate(found, at, to):
                return None
            pairs.add((at, to))
        return pairs

    def licensed(self, used: set[int], licences: set[str]) -> Compared:
        pairs = self._prepositions() or set()
        if pairs:
            licences.add("preposition")
        gone_left = {at for at, _ in pairs} | {at for at in used if at >= 0}
        gone_right = {to for _, to in pairs} | {-1 - at for at in used if at < 0}
        rest: list[Token] = []
        for tokens, over, gone in (
            (self.found.left, self.lefts, gone_left),
            (self.found.right, self.rights, gone_right),
        ):
            for at in over:
                if at in gone:
                    continue
                if (
                    tokens[at].kind is Kind.PERSON
                    and 0 < at < len(tokens) - 1
                    and ((tokens[at].lemma == "my" and self._i_do()) or self._pointed_at(tokens, at))
                ):
                    licences.add("light")
                elif (licence := self._licence(tokens, at)) is not None:
                    licences.add(licence)
                else:
                    rest.append(tokens[at])
        if counts_differ(self.found.matched()):
            return Compared(Finding.OPEN, "content")
        if not rest and (rule := _cases_differ(self.found)) is not None:
            return Compared(Finding.OPEN, rule)
        if not rest and articles_differ(self.found.matched(), self.found.left):
            return Compared(Finding.OPEN, "article")
        if not rest and _tenses_differ(self.found):
            return Compared(Finding.OPEN, "tense")
        if not rest:
            return Compared(Finding.LICENSED, max(licences or {"light"}, key=_LICENCES.index))
        return Compared(Finding.OPEN, "content")

    def _pointed_at(self, tokens: tuple[Token, ...], at: int) -> bool:
        """*the router* is *my router*, but not in *what is the password*."""
        if tokens[0].lemma == "exist" and tokens[at].lemma == "your" and tokens[at - 1].kind is Kind.PREPOSITION:
            return True
        here = tokens[at].lemma in _HERE or (tokens[at].lemma == "your" and tokens[at + 1].lemma in _SERVICES)
        if (tokens[0].lemma in _NAMING and tokens[1].lemma != "happen") or not here or tokens[at + 1].lemma in _OF_ALL:
            return False
        found = self.found
        if tokens is found.left:
            to = found.partner[at + 1]
            return to >= 0 and found.right[to].the
        return any(to == at + 1 and found.left[other].the for other, to in enumerate(found.partner))

    def _i_do(self) -> bool:
        """*how do I cancel a booking* is *… my booking*; *what is a credit score* is not *what is my credit score*."""
        left = self.found.left
        me = next((at for at, token in enumerate(left) if token.lemma == "i"), -1)
        if me < 0 or left[0].lemma in {"what", "who"}:
            return False
        deeds = (token.lemma for token in left[me + 1 :] if token.kind in {Kind.CONTENT, Kind.COMPARATIVE})
        deed = next(deeds, "")
        return deed in DEEDS

    def _licence(self, tokens: tuple[Token, ...], at: int) -> str | None:
        token = tokens[at]
        before = tokens[at - 1] if at else None
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        if token.lemma in ALWAYS_LIGHT or token.kind is Kind.LIGHT:
            return "light"
        if token.lemma == "what":
            return "frame"
        if token.kind is Kind.CONTENT:
            if token.lemma == "policy" and before is not None and before.lemma == "insurance" and at > 1:
                return "head" if tokens[at - 2].kind is Kind.CONTENT else None
            return _head(before, token, after) or ("head" if self._is_implied(tokens, at) else None)
        if token.lemma == "me":
            return "light" if before is not None and before.lemma in _GIVING else None
        if token.kind is Kind.PREPOSITION:
            if after is not None and token.lemma in _OF_A_WHOLE and self._is_implied(tokens, at + 1):
                return "preposition"
            return _alone(before, token, after)
        return None

    def _is_implied(self, tokens: tuple[Token, ...], at: int) -> bool:
        """Left over, and goes without saying beside a word near by that is not."""
        heads = IMPLIED.get(tokens[at].lemma)
        over = self.lefts if tokens is self.found.left else self.rights
        if heads is None or at not in over or tokens[0].lemma in _DEFINING:
            return False
        return any(
            tokens[near].lemma in heads and near not in over for near in range(max(0, at - 4), min(len(tokens), at + 4))
        )


def _head(before: Token | None, token: Token, after: Token | None) -> str | None:
    if before is not None and (before.lemma, token.lemma) in HEADS:
        return "head"
    if after is not None and (token.lemma, after.lemma) in REDUNDANT:
        return "head"
    return None


def _alone(before: Token | None, token: Token, after: Token | None) -> str | None:
    """A preposition that may be left out: *on* Monday, *for* three days, all *of* my, help me *to*."""
    if after is None:
        return None
    match token.lemma:
        case "on" if after.kind is Kind.DATE or after.lemma in {"weekend", "weekday"}:
            return "preposition"
        case "for" if after.kind is Kind.NUMBER or after.lemma == "me":
            return "preposition"
        case "of" if before is not None and before.lemma in {"all", "both", "half", "most", "inside", "off"}:
            return "preposition"
        case "to" if before is not None and before.lemma in {"help", "me", "want", "like"}:
            return "preposition"
        case _:
            return None


def _persons(lefts: list[Token], rights: list[Token]) -> set[str]:
    """Persons left over on both sides, and not the same ones in the same order."""
    mine = [_group(token.lemma) for token in lefts if token.kind is Kind.PERSON]
    others = [_group(token.lemma) for token in rights if token.kind is Kind.PERSON]
    return {"person"} if mine and others and mine != others else set()


_GROUPS: Final = {
    word: group
    for group, words in {
        "first": "i me my mine myself", "second": "you your yours yourself yourselves", "he": "he him his himself",
        "she": "she her hers herself", "they": "they them their theirs themselves", "we": "we us our ours ourselves",
    }.items()
    for word in words.split()
}  # fmt: skip


def _group(lemma: str) -> str:
    return _GROUPS.get(lemma, lemma)


def _alternate(found: Alignment, at: int, to: int) -> bool:
    """The two stand before the same word, or after it, and may stand for each other there."""
    pair = frozenset({found.left[at].lemma, found.right[to].lemma})
    if not _same_place(found, at, to) or (pair == _OF_FOR and at and found.left[at - 1].lemma in MEASURES):
        return False
    beside = found.left[at + 1 : at + 4]
    if pair in _NOT_OF_TIMES and any(map(_is_time, beside[:2])):
        return False
    apart = _APART.get(pair)
    if apart is not None and any(token.lemma in apart for token in beside):
        return False
    if pair in _ALTERNATE:
        return True
    near = _ALTERNATE_NEAR.get(pair)
    return near is not None and any(
        token.lemma in near for token in (*found.left[max(0, at - 3) : at + 4], *found.right[max(0, to - 3) : to + 4])
    )


def _is_time(token: Token) -> bool:
    return token.kind in {Kind.NUMBER, Kind.DATE, Kind.TIME} or token.lemma in TIMES


def _same_place(found: Alignment, at: int, to: int) -> bool:
    partner = found.partner
    after = at + 1 < len(partner) and partner[at + 1] == to + 1
    skipped = at + 2 < len(partner) and partner[at + 2] in {to + 1, to + 2}
    return (
        after
        or skipped
        or (at + 1 < len(partner) and partner[at + 1] == to + 2)
        or (at > 0 and partner[at - 1] == to - 1)
    )


def _cases_differ(found: Alignment) -> str | None:
    lefts, rights = places(found.left), places(found.right)
    return cases_differ(((lefts[at], rights[to]) for at, to in enumerate(found.partner) if to >= 0), found.left)


def _tenses_differ(found: Alignment) -> bool:
    return any(
        to >= 0
        and (found.left[at].form is Form.PAST) is not (found.right[to].form is Form.PAST)
        and found.left[at].lemma != "qualifyfor"
        for at, to in enumerate(found.partner)
    )
