"""A question inside another, in the order that it has by itself.

*(do you know) when my bin is collected* asks *when is my bin collected*, *(tell me) how I pay* and *how to pay* ask
*how do I pay*, *(I wonder if) I can pay by card* asks *can I pay by card*. What knows questions by how they begin needs
to know but one order.
"""

import re
from collections.abc import Sequence
from typing import Final

from cache.semantic.english.forms import Form, inflected
from cache.semantic.english.lexicon import listed
from cache.semantic.english.reading import Mark, Word

__all__ = ["direct"]

_PRONOUNS: Final = listed("i you we they he she it there")
_DETERMINERS: Final = listed("my your our their his her the this that these those a an")
_AUXILIARIES: Final = listed("is are am was were can could will would should must may might")
_HAVE: Final = listed("has have had")
_LEADS: Final = re.compile(
    r" (?:how(?: (?:much|many)(?: (?!(?:do|does|did|is|are|was|were|can|could|will|would|should|must|may|might)"
    r" |(?:have|has|of) )[a-z]+){0,2}?"
    r"| (?:long|often|soon|far|early|late|big|large|old|high|fast))?"
    r"|what(?: (?:time|date|day|number|size|age|temperature|price|documents?|(?:kind|type|sort) of [a-z]+))?"
    r"|when|where|why|who|whom|which [a-z]+)"
    r"(?= (?:i|you|we|they|he|she|it|there|my|your|our|their|his|her|the|this|that|these|those|a|an) )"
)
"""What stands before the subject: a direct question has a verb there."""
_BARE: Final = re.compile(r" (?:when|where|why)(?= [a-z]+)")
_ANOTHER: Final = re.compile(
    r" (?:can|do|does|did|should|will|would|could|is|are|am|must) (?:i|you|we|they|it|there|my|the) "
)
"""A question of its own further on."""
_MOST_OF_A_SUBJECT: Final = 5
_PLURAL_DOES: Final = listed(
    "start begin end open close expire arrive leave get need cost work run take have cover include mean go come last"
    " stop change differ happen keep"
)
_ENDS: Final = listed("in on at to for from with of by about when if after before my the a an your this it and or")


def direct(words: list[Word], *, asks: bool) -> list[Word]:
    """The same question with its verb before its subject; `asks` is what was said behind *if*."""
    texts = [word.text for word in words]
    if any(word.mark is not Mark.PLAIN and word.mark is not Mark.FRAME for word in words[:2]):
        return words
    if texts[:2] == ["how", "to"] and len(words) > 2:
        return [words[0], Word("do"), Word("i"), *words[2:]]
    joined = "".join(f" {text}" for text in texts)
    if asks:
        return _inverted(words, 0) or words
    found = _LEADS.match(joined)
    if found is None and len(texts) > 2 and texts[1] not in _AUXILIARIES | _HAVE | {"do", "does", "did", "not", "to"}:
        found = _BARE.match(joined)
    if found is None or _ANOTHER.search(joined, found.end()) is not None:
        return words
    return _inverted(words, found.group().count(" ")) or words


def _inverted(words: Sequence[Word], start: int) -> list[Word] | None:
    """The verb of the clause that begins at `start` before its subject; None where no verb is found."""
    lead, clause = list(words[:start]), list(words[start:])
    texts = [word.text for word in clause]
    if len(clause) < 2 or texts[0] in _AUXILIARIES or texts[0] in {"do", "does", "did"}:
        return None
    for at in range(1, min(len(clause), _MOST_OF_A_SUBJECT + 1)):
        if (verb := _verb(clause, at)) is not None:
            return [*lead, *verb, *clause[:at], *_rest(clause, at)]
        if texts[0] in _PRONOUNS or clause[at].mark is Mark.COMMA:
            return None
    return None


def _verb(clause: Sequence[Word], at: int) -> list[Word] | None:
    """What goes before the subject of `at` words, if the verb stands behind it."""
    text = clause[at].text
    if text in _AUXILIARIES:
        return [Word(text)]
    form = inflected(text).form
    after = clause[at + 1].text if at + 1 < len(clause) else ""
    if text in _HAVE and after and (after == "been" or inflected(after).form is Form.PAST):
        return [Word(text)]
    subject = clause[at - 1].text
    if clause[0].text in _PRONOUNS:
        if clause[0].text in {"he", "she", "it"}:
            return [Word("does")] if form is Form.S or text == "has" else None
        return [Word("do")] if form is Form.PLAIN and clause[0].text != "there" and text != "not" else None
    if at < 2 and clause[0].text in _DETERMINERS:
        return None
    if form is Form.S and (not after or after in _ENDS) and inflected(subject).form is not Form.S:
        return [Word("does")]
    if text in _PLURAL_DOES and inflected(subject).form is Form.S:
        return [Word("do")]
    return None


def _rest(clause: Sequence[Word], at: int) -> list[Word]:
    """What follows the subject: without the auxiliary, the verb without its ending."""
    verb = clause[at]
    after = clause[at + 1].text if at + 1 < len(clause) else ""
    perfect = verb.text in _HAVE and after and (after == "been" or inflected(after).form is Form.PAST)
    if verb.text in _AUXILIARIES or perfect:
        return list(clause[at + 1 :])
    done = inflected(verb.text)
    plain = "have" if verb.text == "has" else done.lemma
    return [Word(plain) if done.form is Form.S or verb.text == "has" else verb, *clause[at + 1 :]]
