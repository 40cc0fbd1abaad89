"""Orders of words that say the same, made one: passives, makers, measures, what a place has or takes."""

import re
from collections.abc import Sequence
from typing import Final

from cache.semantic.english.forms import Form, inflected
from cache.semantic.english.generic import generally
from cache.semantic.english.lexicon import joined_rows, listed
from cache.semantic.english.reading import Case
from cache.semantic.english.tokens import Kind, Token

__all__ = ["rearranged"]

_SUBJECTS: Final = listed("i you we they he she it")
_SUPERLATIVES: Final = listed(
    "biggest largest smallest highest lowest longest shortest oldest youngest newest fastest slowest cheapest tallest"
    " deepest hottest coldest nearest closest richest poorest strongest"
)
_NEEDED: Final = listed("necessary mandatory compulsory obligatory")
_PAYMENTS: Final = listed(
    "card creditcard cash paypal cheque check klarna venmo giftcard bitcoin crypto amex mastercard visa"
    " debit apple google invoice directdebit contactless voucher"
)
_LEAVE: Final = listed("can able_ may_ okay_ way_")
_ALLOWED_IN: Final = listed("dog pet cat child kid")
_SERVICES: Final = listed("deliver ship post accept repair install cater refund replace courier")


def rearranged(tokens: list[Token]) -> list[Token]:
    """Orders that say the same made one: *i can* is *can i*; *is X available* is *is there X*."""
    for at in range(1, len(tokens) - 1):
        if tokens[at].lemma == "not" and tokens[at + 1].lemma == "can" and tokens[at - 1].kind is Kind.PERSON:
            tokens[at], tokens[at + 1] = tokens[at + 1], tokens[at]
    for at in range(len(tokens) - 1):
        if tokens[at].kind is Kind.PERSON and tokens[at + 1].kind is Kind.MODAL and tokens[at + 1].lemma != "past":
            tokens[at], tokens[at + 1] = tokens[at + 1], tokens[at]
    for at in range(len(tokens) - 1):
        if tokens[at].lemma == "not" and tokens[at + 1].lemma in _SUBJECTS:
            tokens[at], tokens[at + 1] = tokens[at + 1], tokens[at]
    if not tokens:
        return tokens
    tokens = _coded(_manner_last(tokens))
    tokens = _between(_supposed(_purposed(generally(tokens))))
    head = tokens[0].lemma
    if [token.lemma for token in tokens[::2]] == ["exist", "delivery"] and len(tokens) == 3:
        return [_frame("¿"), _word("you", Kind.PERSON), _word("deliver", Kind.CONTENT), tokens[1]]
    if head == "price":
        return _without_cost(tokens)
    if head in {"how", "can"} or (head == "¿" and len(tokens) > 1 and tokens[1].lemma == "can"):
        tokens = _active(tokens)
    if tokens[0].lemma in _LEAVE:
        return _paid(tokens)
    if head == "¿":
        return _served(_friendly(_available(tokens)))
    if head in {"what", "which", "meaning", "definition", "define"}:
        tokens = _defined(_needed(tokens))
        head = tokens[0].lemma
    if head == "how":
        return _counted(tokens)
    if head == "who":
        return _made(tokens)
    if head in {"what", "which"}:
        return _measured(tokens)
    return tokens


def _coded(tokens: list[Token]) -> list[Token]:
    """*a 404 error* is *error 404*, and three errors are none of that kind; *how far away* is *how far*."""
    out: list[Token] = []
    for token in tokens:
        before = out[-1] if out else None
        if before is not None and before.lemma == "far" and token.lemma == "away":
            continue
        if (
            before is not None
            and before.kind is Kind.NUMBER
            and len(before.lemma) == 3
            and before.lemma.isdigit()
            and token.lemma == "error"
            and token.form is not Form.S
        ):
            out[-1:] = [token, before]
        else:
            out.append(token)
    return out


def _supposed(tokens: list[Token]) -> list[Token]:
    """*what do I do if I lost, have lost, lose it*: when it happened changes nothing there."""
    lemmas = [token.lemma for token in tokens]
    if "if" not in lemmas[2:6] or lemmas[0] != "what" or not {"do", "happen"} & set(lemmas[1:4]):
        return tokens
    start = lemmas.index("if")
    if (marked := _done_to(tokens[start + 1 :])) is not None:
        clause = [token for at, token in enumerate(tokens[start + 1 :]) if at != marked]
        return [*tokens[: start + 1], _word("passive", Kind.MODAL), *clause]
    gets = {at for at in range(start, len(tokens) - 1) if lemmas[at] == "get" and tokens[at + 1].form is Form.PAST}
    return tokens[:start] + [
        token._replace(form=Form.PLAIN) if token.form is Form.PAST else token
        for at, token in enumerate(tokens)
        if at >= start and at not in gets and token.lemma not in {"was", "perf", "past", "passive"}
    ]


_BEINGS: Final = listed(
    "dog cat pet child kid baby son daughter employee employer landlord tenant boss manager partner wife husband friend"
    " neighbor student teacher worker colleague parent mother mom father dad someone somebody person driver"
    " seller buyer customer brother sister roommate guest company"
)


def _done_to(clause: Sequence[Token]) -> int | None:
    """Where it says so: *I am sued* is not *I sue*, nor *my dog is bitten* *my dog bites*."""
    for at, token in enumerate(clause):
        if token.lemma in {"was", "get", "passive"}:
            around = clause[max(0, at - 1) : at + 2]
            being = any(each.kind is Kind.PERSON or each.lemma in _BEINGS for each in around)
            done = any(after.form is Form.PAST for after in clause[at + 1 : at + 3])
            return at if being and done else None
    return None


def _purposed(tokens: list[Token]) -> list[Token]:
    """*the fee for cancelling* is *the fee to cancel*."""
    for at in range(1, len(tokens) - 1):
        if tokens[at].lemma == "for" and tokens[at + 1].form is Form.ING and tokens[at + 1].kind is Kind.CONTENT:
            tokens[at] = tokens[at]._replace(lemma="to")
    return tokens


_MANNER: Final = listed(
    "permanently quickly safely temporarily properly correctly automatically manually completely easily securely"
)
_CLAUSES: Final = listed("and or but if when while before after that which who so because")


def _manner_last(tokens: list[Token]) -> list[Token]:
    """*permanently delete a file* is *delete a file permanently*, where there is but one clause."""
    places = [at for at, token in enumerate(tokens) if token.lemma in _MANNER]
    if len(places) != 1 or any(token.lemma in _CLAUSES for token in tokens):
        return tokens
    return [*tokens[: places[0]], *tokens[places[0] + 1 :], tokens[places[0]]]


def _between(tokens: list[Token]) -> list[Token]:
    """*the difference between B and A* is that between A and B."""
    lemmas = [token.lemma for token in tokens]
    if "difference" not in lemmas or lemmas.count("and") != 1 or lemmas.count("between") != 1:
        return tokens
    start, middle = lemmas.index("between") + 1, lemmas.index("and")
    one, other = tokens[start:middle], tokens[middle + 1 :]
    if not one or not other or any(token.kind is not Kind.CONTENT for token in (*one, *other)):
        return tokens
    one, other = sorted((one, other), key=lambda side: [token.lemma for token in side])
    return [*tokens[:start], *one, tokens[middle], *other]


_MAKERS: Final = {
    "author": "write", "writer": "write", "inventor": "invent", "founder": "found", "director": "direct",
    "composer": "compose", "painter": "paint", "creator": "create", "discoverer": "discover", "designer": "design",
    "architect": "design", "producer": "produce", "singer": "sing",
}  # fmt: skip
_MEASURES: Final = {
    "height": "tall", "length": "long", "depth": "deep", "weight": "heavy", "age": "old", "distance": "far",
    "size": "big", "speed": "fast", "duration": "long", "width": "wide", "thickness": "thick", "elevation": "high",
}  # fmt: skip


def _made(tokens: list[Token]) -> list[Token]:
    """*who is the author of X*, *who was X written by*: who wrote X."""
    rest = tokens[2:] if len(tokens) > 1 and tokens[1].lemma == "was" else tokens[1:]
    if len(rest) > 2 and rest[0].lemma in _MAKERS and rest[1].lemma == "of":
        return [tokens[0], Token(_MAKERS[rest[0].lemma], Kind.CONTENT, Form.PAST, name=False), *rest[2:]]
    if len(rest) > 2 and rest[-1].lemma == "by" and rest[-2].form is Form.PAST and len(rest) < len(tokens) - 1:
        return [tokens[0], rest[-2], *rest[:-2]]
    return tokens


def _measured(tokens: list[Token]) -> list[Token]:
    """*what is the height of X* is *how tall is X*; *the number of X* is *how many X*."""
    if len(tokens) > 3 and tokens[2].lemma == "of" and tokens[1].the:
        if tokens[1].lemma == "number":
            many = Token("many", Kind.MUST, Form.PLAIN, name=False)
            return [_frame("how"), many, *tokens[3:]]
        if (adjective := _MEASURES.get(tokens[1].lemma)) is not None and _has_measure(tokens[1], tokens[3:]):
            return [_frame("how"), Token(adjective, Kind.CONTENT, Form.PLAIN, name=False), *tokens[3:]]
    if len(tokens) > 3 and tokens[1].lemma in {"legal", "minimum"} and tokens[3].lemma == "age":
        verb = inflected(tokens[2].lemma)
        if verb.form is Form.ING:
            act = _word(verb.lemma, Kind.CONTENT)
            return [tokens[0], tokens[1], tokens[3], _word("to", Kind.PREPOSITION), act, *tokens[4:]]
    if len(tokens) > 4 and [token.lemma for token in tokens[1:3]] == ["phonenumber", "for"]:
        return tokens[:-1] if tokens[-1].lemma in {"on", "at"} else tokens
    if len(tokens) > 3 and tokens[1].lemma == "distance" and tokens[2].lemma in {"from", "between"}:
        return [_frame("how"), _word("far", Kind.CONTENT), *tokens[2:]]
    if len(tokens) > 3 and tokens[1].lemma == "cause" and tokens[2].lemma == "of":
        return [*tokens[:2], *tokens[3:]]
    if (
        len(tokens) > 4
        and tokens[1].lemma == "make"
        and tokens[1].form is Form.S
        and tokens[2].lemma in {"my", "this", "it"}
    ):
        return [_frame("why"), *tokens[2:]]
    if (
        len(tokens) > 3
        and tokens[2].lemma in _SUPERLATIVES
        and tokens[1].kind is Kind.CONTENT
        and tokens[3].kind is Kind.PREPOSITION
    ):
        return [_frame("what"), tokens[2], tokens[1], *tokens[3:]]
    return tokens


_LONG_PLACES: Final = listed("river lake bridge wall canal tunnel island coast road border mountain valley nile amazon")
_LASTING: Final = listed(
    "leave course exam test film movie flight match game semester term trip lesson contract class visit war"
)


def _has_measure(measure: Token, of: Sequence[Token]) -> bool:
    """*how long* asks of what is called by a name alone how long it takes: *Titanic*."""
    if measure.lemma == "duration":
        return any(token.lemma in _LASTING for token in of)
    return measure.lemma != "length" or not of[0].name or of[0].the or any(token.lemma in _LONG_PLACES for token in of)


def _without_cost(tokens: list[Token]) -> list[Token]:
    """*how much does X cost*: the verb at the end of its clause."""
    for at, token in enumerate(tokens):
        if token.lemma == "cost" and (at + 1 == len(tokens) or tokens[at + 1].kind is not Kind.CONTENT):
            return tokens[:at] + tokens[at + 1 :]
    return tokens


def _frame(lemma: str) -> Token:
    return Token(lemma, Kind.QUESTION, Form.PLAIN, name=False)


_HAD: Final = listed(
    "discount shipping aircon carpark lot parking wifi pool gym menu option delivery warranty branch"
    " shop store app support plan"
    " version room breakfast toilet elevator giftcard policy hotline group student family trial bundle"
    " subscription api sdk tier refund guarantee shuttle cleaning program catalog brochure class lesson"
    " tour course table highchair terrace balcony restaurant bar sauna spa mode feature setting report"
    " statement insurance voucher sale promotion offer deal newsletter gluten vegan vegetarian halal"
    " kosher outlet socket charger chargers wheelchair ramp playground changing locker laundry kitchen"
    " garden minibar tv aircon heating reward loyalty membership pass franchise internship scholarship"
    " installment wrapping matching dresscode studentdiscount childmenu meetingroom sandbox lift locker cot crib"
    " creche club glutenfree minimum maximum collection pickup financing lounge canteen dress"
)
"""What an establishment may have, so that *do you have one* is *is there one*."""


def _available(tokens: list[Token]) -> list[Token]:
    """*is X available at Y*, *do you have X at Y*, *does Y have X* are *is there X at Y*, of what a place may have."""
    for at, token in enumerate(tokens[1:6], start=1):
        if token.lemma == "available" and at > 1:
            return rearranged([_frame("exist"), *tokens[1:at], *tokens[at + 1 :]])
        if token.lemma in {"have", "offer", "provide"} and 1 < at < 5 and token.form is not Form.PAST:
            return _owned(tokens, at)
        if token.kind not in {Kind.CONTENT, Kind.PERSON, Kind.LIGHT, Kind.DATE, Kind.MUST}:
            break
    return tokens


def _owned(tokens: list[Token], at: int) -> list[Token]:
    owner, things = tokens[1:at], tokens[at + 1 :]
    if not any(token.lemma in _HAD for token in things[:4]) or things[0].kind not in {Kind.CONTENT, Kind.COMPARATIVE}:
        return tokens
    if [token.lemma for token in owner] in (["you"], ["we"]):
        return [_frame("exist"), *things]
    if owner[-1].kind is not Kind.CONTENT or any(
        each.kind in {Kind.PERSON, Kind.PREPOSITION, Kind.NEGATION} and each.lemma not in {"your", "this"}
        for each in owner
    ):
        return tokens
    return [_frame("exist"), *things, Token("@", Kind.PREPOSITION, Form.PLAIN, name=False), *owner]


_DONE: Final = next(line.partition(" = ")[2] for line in joined_rows("macros.txt") if line.startswith("{DONE} "))
_DEEDS: Final = frozenset(inflected(word.replace("?", "")).lemma for word in re.findall(r"[a-z?]{2,}", _DONE))


def _active(tokens: list[Token]) -> list[Token]:
    """*can X be cancelled* is *can i cancel X*; *how can X be changed* is *how do i change X*. Only of what it is
    mine to do: *can a phone be hacked* is not *can i hack a phone*.
    """
    start = next((at for at, token in enumerate(tokens[:2]) if token.lemma == "can"), -1) + 1
    if not start or tokens[0].lemma not in {"how", "can", "¿"}:
        return tokens
    for at, token in enumerate(tokens[start : start + 6], start=start):
        if token.form is Form.PAST and token.kind is Kind.CONTENT:
            if at == start or (at + 1 < len(tokens) and tokens[at + 1].kind is not Kind.PREPOSITION):
                return tokens
            if token.lemma not in _DEEDS or any(each.lemma == "my" for each in tokens[start:at]):
                return tokens
            verb = token._replace(form=Form.PLAIN)
            head = [tokens[0]] if tokens[0].lemma == "how" else [_word("can", Kind.MODAL)]
            return [*head, _word("i", Kind.PERSON), verb, *tokens[start:at], *tokens[at + 1 :]]
        if token.kind not in {Kind.CONTENT, Kind.LIGHT} and token.lemma not in {"my", "this", "that", "new", "old"}:
            break
    return tokens


def _paid(tokens: list[Token]) -> list[Token]:
    """*can I pay with X* is *do you accept X*, where X is no more than a means of payment."""
    if tokens[0].lemma not in _LEAVE or [token.lemma for token in tokens[1:3]] != ["i", "pay"]:
        return tokens
    if len(tokens) not in {5, 6}:
        return tokens
    if tokens[3].lemma not in {"with", "by", "use", "in", "via"} or not any(
        token.lemma in _PAYMENTS for token in tokens[4:]
    ):
        return tokens
    return [_frame("¿"), _word("you", Kind.PERSON), _word("accept", Kind.CONTENT), *tokens[4:]]


def _friendly(tokens: list[Token]) -> list[Token]:
    """*is X dog friendly* is *do you allow dogs in X*; *is X an option*, of a means of payment: do you accept X."""
    lemmas = [token.lemma for token in tokens]
    you = [tokens[0], _word("you", Kind.PERSON)]
    if len(tokens) > 3 and lemmas[-1] == "friendly" and lemmas[-2] in _ALLOWED_IN:
        place = [_word("in", Kind.PREPOSITION), *tokens[1:-2]]
        return [*you, _word("allow", Kind.CONTENT), tokens[-2], *place]
    means = lemmas[1:-3] if lemmas[-2:] == ["at", "checkout"] else lemmas[1:-1]
    if means and means[-1] in _PAYMENTS and lemmas[len(means) + 1] == "option":
        return [*you, _word("accept", Kind.CONTENT), *tokens[1 : len(means) + 1]]
    return tokens


def _served(tokens: list[Token]) -> list[Token]:
    """*is X included in Y*: does Y include X; *is X allowed*, but in no country: do you allow X; *is X required*: do
    I need X.
    """
    if tokens[0].lemma != "¿":
        return tokens
    if [token.lemma for token in tokens[1:3]] == ["can", "you"] and len(tokens) > 3 and tokens[3].lemma in _SERVICES:
        return [tokens[0], *tokens[2:]]
    for at, token in enumerate(tokens[1:6], start=1):
        things, rest = tokens[1:at], tokens[at + 1 :]
        if things and token.form is Form.PAST and token.lemma in {"allow", "accept", "permit"}:
            if any(each.name for each in rest):
                return tokens
            you = _word("you", Kind.PERSON)
            return [tokens[0], you, token._replace(form=Form.PLAIN), *things, *rest]
        if (
            things
            and token.form is Form.PAST
            and token.lemma in {"include", "cover"}
            and rest
            and rest[0].lemma in {"in", "by"}
        ):
            return [tokens[0], *rest[1:], token._replace(form=Form.PLAIN), *things]
        if things and (token.lemma in _NEEDED or (token.form is Form.PAST and token.lemma in {"need", "require"})):
            return [tokens[0], _word("i", Kind.PERSON), _word("need", Kind.CONTENT), *things, *rest]
        if token.kind not in {Kind.CONTENT, Kind.LIGHT} and token.lemma not in {"my", "this", "that", "your"}:
            break
    return tokens


def _needed(tokens: list[Token]) -> list[Token]:
    """*which X are required* is *which X do I need*."""
    for at, token in enumerate(tokens[1:5], start=1):
        if at > 1 and ((token.form is Form.PAST and token.lemma in {"need", "require"}) or token.lemma in _NEEDED):
            return [*tokens[:at], _word("i", Kind.PERSON), _word("need", Kind.CONTENT), *tokens[at + 1 :]]
        if token.kind is not Kind.CONTENT:
            break
    return tokens


def _defined(tokens: list[Token]) -> list[Token]:
    """*what does X mean*, *the meaning of X*, *definition of X*: define X."""
    lemmas = [token.lemma for token in tokens]
    if lemmas[0] == "what" and lemmas[-1] == "mean" and len(tokens) > 2 and "you" not in lemmas:
        start = 2 if lemmas[1] in {"term", "concept"} and len(tokens) > 3 else 1
        return [_word("define", Kind.CONTENT), *tokens[start:-1]]
    if lemmas[0] == "what" and lemmas[2:] == ["stand", "for"] and tokens[1].case is Case.CAPITALS and not tokens[1].the:
        return [_word("define", Kind.CONTENT), tokens[1]]
    start = 1 if lemmas[0] == "what" else 0
    if len(tokens) > start + 2 and lemmas[start] in {"meaning", "definition"} and lemmas[start + 1] == "of":
        return [_word("define", Kind.CONTENT), *tokens[start + 2 :]]
    return tokens


def _counted(tokens: list[Token]) -> list[Token]:
    """*how far is it from A* is *how far from A*; *how much does X weigh*: how heavy; *how many people live in X*."""
    lemmas = [token.lemma for token in tokens]
    if lemmas[1:3] == ["far", "it"]:
        return [*tokens[:2], *tokens[3:]]
    if lemmas[1:2] == ["much"] and lemmas[-1] == "weigh" and len(tokens) > 3:
        return [tokens[0], _word("heavy", Kind.CONTENT), *tokens[2:-1]]
    if lemmas[1:5] == ["many", "person", "live", "in"] and len(tokens) > 5:
        return [_frame("what"), _word("population", Kind.CONTENT), _word("of", Kind.PREPOSITION), *tokens[5:]]
    return tokens


def _word(lemma: str, kind: Kind) -> Token:
    return Token(lemma, kind, Form.PLAIN, name=False)
