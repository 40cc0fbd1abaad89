"""From text to tokens: read, spell, count, frame, lemmatise, join phrases, drop what says nothing."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from cache.semantic.english.closed import (
    COMPARATIVE,
    EMPTY,
    HEDGES,
    MODALS,
    MUST,
    NEGATIONS,
    PERSONS,
    PREPOSITIONS,
    TIMES,
    WH,
)
from cache.semantic.english.forms import Form, inflected
from cache.semantic.english.frames import framed, is_wrapping
from cache.semantic.english.letters import letters
from cache.semantic.english.lexicon import HOMOGRAPHS, KNOWN, NAMES, PLURAL_NAMES, listed
from cache.semantic.english.numbers import one_form
from cache.semantic.english.phrases import SEPARABLE, longest, phrase_rule
from cache.semantic.english.reading import Case, Mark, Read, Word, read
from cache.semantic.english.rearrange import rearranged
from cache.semantic.english.recast import run_on
from cache.semantic.english.spelling import is_spelt, spelt_out
from cache.semantic.english.tokens import Kind, Prepared, Token
from cache.semantic.english.used import ORDERS, Used

__all__ = ["assembled", "is_known", "prepared"]

_ABOUT_WORDS: Final = listed(
    "translate translation translated translating spell spelled spelling spelt pronounce pronounced"
    " pronunciation rhyme rhymes synonym synonyms antonym antonyms anagram anagrams palindrome paraphrase"
    " rewrite rephrase proofread punctuate punctuation capitalize capitalise grammar grammatical"
    " grammatically uppercase lowercase acronym syllable syllables plural conjugate conjugation"
    " abbreviation etymology homophone"
)
"""The question is about words: none may be dropped, repaired or exchanged."""
_NAMED_WORD: Final = listed("word phrase sentence expression letters vowels")
_LANGUAGES: Final = listed(
    "english french german spanish italian portuguese dutch chinese mandarin japanese korean russian arabic hindi latin"
    " greek turkish polish swedish danish norwegian finnish czech hungarian ukrainian hebrew thai"
    " vietnamese welsh irish"
    " gaelic esperanto urdu bengali farsi persian swahili tagalog cantonese romanian catalan"
)
_ABOUT_MEANING: Final = listed("mean means meaning meanings definition define defined stand")
_INDIRECT: Final = listed(
    "check see know findout tell ask confirm determine verify notify remind alert warn inform wonder sure"
)
"""After these *if* is *whether*."""
_LONGEST: Final = 400
"""Words; a longer text is compared as it stands, so that preparing has a bound."""
_LONG: Final = 60
"""Words; in a longer text every word keeps its place."""
_ABOUT_WRITING: Final = _ABOUT_WORDS | listed(
    "fix correct capital capitals comma commas right wrong edit improve punctuated case format clean polish check"
)
_TAKES_TEXT: Final = _ABOUT_WRITING | listed(
    "summarize summarise summary shorten edit correct fix classify extract analyze analyse following"
    " below this text passage paragraph code article email review improve reply respond answer continue"
    " complete count convert explain sentence debug format parse sort reverse solve evaluate simplify make"
    " add write turn change"
)
_INVARIANT: Final = listed("cut hit hurt put set let shut cast cost beat bet burst read spread split quit")
"""Participles that look like the verb: is it set, does it set."""
_AUXILIARY_AFTER: Final = listed("i you we they he she it to can could should will would must may not and who that")
_MODAL_PAST: Final = listed("should could would must might may")
_FRAME_KINDS: Final = {
    Mark.NUMBER: Kind.NUMBER,
    Mark.DATE: Kind.DATE,
    Mark.TIME: Kind.TIME,
    Mark.UNIT: Kind.UNIT,
    Mark.CODE: Kind.CODE,
    Mark.URL: Kind.URL,
    Mark.QUOTED: Kind.QUOTED,
    Mark.SYMBOL: Kind.SYMBOL,
}
_STUTTERED: Final = MUST | EMPTY | PERSONS | WH | MODALS | PREPOSITIONS
_CLOSED_KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(MUST | TIMES, Kind.MUST),
    **dict.fromkeys(COMPARATIVE, Kind.COMPARATIVE),
    **dict.fromkeys(PREPOSITIONS, Kind.PREPOSITION),
    **dict.fromkeys(PERSONS, Kind.PERSON),
    **dict.fromkeys(MODALS, Kind.MODAL),
    **dict.fromkeys(WH, Kind.QUESTION),
    **dict.fromkeys(NEGATIONS, Kind.NEGATION),
    "'s": Kind.LIGHT,
}


def prepared(text: str, notes: list[Used] | None = None) -> Prepared:
    """Linear; raises nothing. `notes` takes the rules of the tables that had a part in it."""
    return assembled(read(text), notes)


def assembled(source: Read, notes: list[Used] | None = None) -> Prepared:
    """What was read, prepared; a repair comes back here with other words."""
    if len(source.words) > _LONGEST:
        return _verbatim(source, [], [word.text for word in source.words])
    if source.laid_out:
        return _verbatim(source, [], source.raw.split("\n"))
    words = source.words
    texts = {word.text for word in words}
    exact = not texts.isdisjoint(_ABOUT_WORDS) or _names_a_word(words)
    head = words[: source.payload]
    if source.payload < len(words) and not (about := {word.text for word in head}).isdisjoint(_TAKES_TEXT):
        raw = source.raw if about & _ABOUT_WRITING else source.raw.casefold()
        return _verbatim(source, _tokens_of(head, notes, exact=True, careful=True), raw.split())
    tokens = _tokens_of(words, notes, exact=exact, careful=exact or not texts.isdisjoint(_ABOUT_MEANING))
    if sum(token.kind is not Kind.LIGHT for token in tokens) < 2:
        tokens = [_literally(word.text) for word in words if word.mark not in {Mark.STOP, Mark.COMMA}]
        tokens = tokens or [_literally(source.raw)]
    unknown = () if exact else tuple(at for at, word in enumerate(words) if _is_unknown(word))
    return Prepared(tuple(tokens), _key(tokens), source, unknown, letters(source), exact)


def _verbatim(source: Read, tokens: list[Token], pieces: Sequence[str]) -> Prepared:
    """A question about a text: the text is compared as it stands."""
    tokens = [*tokens, *(Token(piece, Kind.QUOTED, Form.PLAIN, name=False) for piece in pieces)]
    return Prepared(tuple(tokens), _key(tokens), source, (), letters(source), exact=True)


def _key(tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(token.lemma + "+" if token.form is Form.PAST else token.lemma for token in tokens)


def _literally(text: str) -> Token:
    return Token(text, Kind.CONTENT, Form.PLAIN, name=False)


def _tokens_of(words: Sequence[Word], notes: list[Used] | None, *, exact: bool, careful: bool) -> list[Token]:
    plain = one_form(_unstuttered(list(spelt_out(words))))
    parts = list(_sentences(plain))
    parts = parts if careful else run_on([part for part in parts if not is_wrapping(part)])
    sentences = [sentence for part in parts if (sentence := framed(part, careful=careful, notes=notes))]
    long = len(words) > _LONG
    return [
        token
        for sentence in sentences
        for token in _tokens(sentence, notes, careful=careful or long, exact=exact or long)
    ]


def _names_a_word(words: Sequence[Word]) -> bool:
    """*the word affect*, *how do you say please in French*; not *a Word document*."""
    for at, word in enumerate(words):
        if word.text in _NAMED_WORD and at and words[at - 1].text in {"the", "this", "these", "following", "a", "of"}:
            return not (
                at + 1 < len(words) and words[at + 1].text in {"document", "file", "limit", "count", "doc", "of"}
            )
        if word.text == "say" and any(later.text in _LANGUAGES for later in words[at:]):
            return True
    return False


def is_known(text: str) -> bool:
    """In the lists, by itself, as an inflection or as a contraction."""
    bare = text.removesuffix("'s")
    return bare in KNOWN or is_spelt(text) or inflected(bare).lemma in KNOWN


def _is_unknown(word: Word) -> bool:
    if word.mark not in {Mark.PLAIN, Mark.NAME} or len(word.text) < 2:
        return False
    return not is_known(word.text) or (word.case is Case.SMALL and word.text in NAMES and len(word.text) < 6)


def _unstuttered(words: list[Word]) -> list[Word]:
    """*how do how do i* is *how do i*; only what holds a word of a closed class is a stutter."""
    out: list[Word] = []
    for word in words:
        out.append(word)
        for size in (3, 2, 1):
            last = out[-size:]
            if len(out) >= 2 * size and last == out[-2 * size : -size] and _is_stutter(last):
                del out[-size:]
                break
    return out


def _is_stutter(words: Sequence[Word]) -> bool:
    return all(word.mark in {Mark.PLAIN, Mark.NAME} for word in words) and any(
        word.text in _STUTTERED
        for word in words
        if word.text not in {"that", "had", "more", "no", "so", "again", "not", "without", "except"}
    )


def _sentences(words: Iterable[Word]) -> Iterator[list[Word]]:
    sentence: list[Word] = []
    for word in words:
        if word.mark is Mark.STOP:
            if sentence:
                yield sentence
            sentence = []
        else:
            sentence.append(word)
    if sentence:
        yield sentence


def _tokens(sentence: list[Word], notes: list[Used] | None, *, careful: bool, exact: bool) -> list[Token]:
    if exact:
        said = [word for word in sentence if word.mark is not Mark.COMMA]
        # *into French* is *to French*
        into = [word.text == "into" and after.text in _LANGUAGES for word, after in pairwise((*said, Word("")))]
        return [_token(word, "to" if to else word.text, Form.PLAIN) for word, to in zip(said, into, strict=True)]
    words = _without_auxiliaries(sentence)
    afters: list[Word | None] = [*words[1:], None]
    befores = ["", *(word.text for word in words)]
    pairs = [(word, *_lemma(word, before, after)) for word, before, after in zip(words, befores, afters, strict=False)]
    joined = _joined_phrases(pairs, notes)
    drop = EMPTY if careful else EMPTY | HEDGES
    tokens: list[Token] = []
    article = ""
    for word, lemma, form in joined:
        if word.mark in _FRAME_KINDS or (lemma not in drop and word.mark is not Mark.COMMA):
            indirect = lemma == "if" and bool(tokens) and tokens[-1].lemma in _INDIRECT
            tokens.append(_token(word, "whether" if indirect else lemma, form)._replace(article=article))
            article = ""
            continue
        if lemma == "'s" and tokens:
            tokens[-1] = tokens[-1]._replace(owns=True)
        article = _ARTICLES.get(lemma, "") if word.case is not Case.NAME or lemma != "the" else "The"
    before = " ".join(token.lemma for token in tokens) if notes is not None else ""
    tokens = rearranged(tokens)
    if notes is not None and before != (after := " ".join(token.lemma for token in tokens)):
        notes.append(Used(ORDERS, f"{before} => {after}"))
    return tokens


_ARTICLES: Final = {"a": "a", "an": "a", "the": "the"}


def _lemma(word: Word, before: str, after: Word | None) -> tuple[str, Form]:
    """An -ing word that nothing governs, or that governs nothing, is a noun: parking is not park."""
    if word.mark is Mark.ACRONYM:
        return word.text + "!", Form.PLAIN
    if word.mark in _FRAME_KINDS or word.mark is Mark.FRAME:
        return word.text, Form.PLAIN
    if word.text in PLURAL_NAMES:
        return word.text, Form.PLAIN
    lemma, form = inflected(word.text)
    if form is Form.ING and before not in _IS_SUBJECT:
        governed = before in _GOVERNS_A_GERUND and after is not None and after.text not in _ENDS_A_NOUN
        if not governed and not (before in _WEAKLY and after is not None and after.text in _OPENS_AN_OBJECT):
            return word.text, Form.PLAIN
    if lemma != word.text and word.case is Case.NAME and (lemma not in KNOWN or lemma in HOMOGRAPHS):
        return word.text, Form.PLAIN
    return lemma, form


_WEAKLY: Final = listed("price is are be") | {""}
_OPENS_AN_OBJECT: Final = listed("a an the my your this that")
_IS_SUBJECT: Final = listed("i you we they he she it not start stop keep begin continue")
_GOVERNS_A_GERUND: Final = listed(
    "for of to by before after without from avoid go while when in about consider recommend mind like"
)
_ENDS_A_NOUN: Final = (PREPOSITIONS | listed(", and or is are was were if when but can will not be")) - {"to"}


def _without_auxiliaries(words: list[Word]) -> list[Word]:
    """*did*, *was*, *had* are one mark of the past; *do*, *have* before another verb are nothing."""
    out: list[Word] = []
    for at, word in enumerate(words):
        text = word.text
        after = words[at + 1].text if at + 1 < len(words) else ""
        if word.mark not in {Mark.PLAIN, Mark.NAME}:
            out.append(word)
        elif text in {"was", "were"}:
            out.append(Word("was", Mark.FRAME))
        elif text == "did" and _is_auxiliary(out, after):
            out.append(Word("past", Mark.FRAME))
        elif text in {"am", "is", "are", "be", "been", "being"}:
            if any(later.text in _INVARIANT for later in words[at + 1 : at + 6]) or _is_done_to(words, at):
                out.append(Word("passive", Mark.FRAME))
        elif (text in {"do", "does"} and _is_auxiliary(out, after)) or (text == "will" and after == "not"):
            continue
        elif text in {"have", "has", "had"} and _is_perfect(words, at):
            before = text == "had" or bool(_MODAL_PAST & {word.text for word in out[-2:]})
            out.append(Word("past" if before else "perf", Mark.FRAME))
        elif text == "using" and out and out[-1].text not in _USING_AFTER:
            out.append(Word("with"))
        else:
            out.append(word)
    return out


def _is_done_to(words: list[Word], at: int) -> bool:
    """In *if I am sued*, *if my dog is bitten*, where nothing else would tell it from *if I sue*."""
    told = {"if", "when"} & {word.text for word in words[max(0, at - 4) : at]}
    after = words[at + 1] if at + 1 < len(words) else None
    return bool(told) and after is not None and inflected(after.text).form is Form.PAST


def _is_auxiliary(before: list[Word], after: str) -> bool:
    return bool(after) and after != "," and (not before or before[-1].text not in _AUXILIARY_AFTER or after == "not")


def _is_perfect(words: list[Word], at: int) -> bool:
    """A participle follows: behind *not*, *been*, a pronoun, an adverb; in a question also behind the subject."""
    asked = not at or words[at - 1].text in WH
    for word in words[at + 1 : at + 7 if asked else at + 4]:
        if word.mark not in {Mark.PLAIN, Mark.NAME} or word.text in PREPOSITIONS or word.text in {"a", "an", "to"}:
            return False
        if word.text == "been" or inflected(word.text).form is Form.PAST:
            return True
        if not asked and word.text not in PERSONS and word.text not in _WITHIN_PERFECT:
            return False
    return False


_WITHIN_PERFECT: Final = listed("not ever already just never recently still also always")
_USING_AFTER: Final = listed(
    "when while by for of am is are be start stop keep i you we they avoid about after before without not"
    " how , with from in on"
)


_Pair = tuple[Word, str, Form]


def _joined_phrases(pairs: list[_Pair], notes: list[Used] | None) -> list[_Pair]:
    lemmas = [lemma for _, lemma, _ in pairs]
    out: list[_Pair] = []
    skipped: set[int] = set()
    at = 0
    while at < len(pairs):
        if at in skipped:
            at += 1
            continue
        size, short = longest(lemmas, at)
        if size and all(pairs[i][0].mark not in {Mark.QUOTED, Mark.CODE, Mark.URL} for i in range(at, at + size)):
            form = Form.PLAIN if short and short[0] in MODALS else pairs[at][2]
            if notes is not None:
                notes.append(phrase_rule(lemmas[at : at + size], short))
            out.extend((Word(text, Mark.FRAME), text, form if not i else Form.PLAIN) for i, text in enumerate(short))
            at += size
            continue
        word, lemma, form = pairs[at]
        if (particle := _particle(pairs, at)) > 0:
            skipped.add(particle)
            joined = lemma + pairs[particle][1]
            word, lemma = Word(joined, Mark.FRAME), joined
        out.append((word, lemma, form))
        at += 1
    return out


def _particle(pairs: list[_Pair], at: int) -> int:
    """Where the particle of a parted verb stands (*turn the wifi off*); 0 for none."""
    wanted = SEPARABLE.get(pairs[at][1])
    if wanted is None:
        return 0
    for to in range(at + 2, min(at + 6, len(pairs))):
        lemma = pairs[to][1]
        if lemma in wanted and (to + 1 == len(pairs) or pairs[to + 1][1] in _ENDS_A_VERB):
            return to
        if lemma in PREPOSITIONS or lemma in WH:
            return 0
    return 0


_ENDS_A_VERB: Final = (
    PREPOSITIONS
    | listed(
        ", and or if when after before again without until automatically early completely quickly permanently"
        " temporarily remotely manually safely properly online immediately overnight faster sooner"
    )
) - {"of"}


def _token(word: Word, lemma: str, form: Form) -> Token:
    kind = _FRAME_KINDS.get(word.mark)
    if kind is None:
        kind = Kind.CONTENT if word.mark is Mark.ACRONYM else _CLOSED_KINDS.get(lemma, Kind.CONTENT)
    name = word.mark in {Mark.NAME, Mark.ACRONYM} or (kind is Kind.CONTENT and word.text in NAMES)
    return Token(lemma, kind, form, name, case=word.case, text=word.text)
