"""Inflections undone: plurals, persons, tenses. Derivations (deliver, delivery) stay apart.

A lemma is what remains when only the inflection goes. The suffix rules ask the word list which of the
possible stems is a word, so *making* is make and *planning* is plan. What the list does not know is
stripped by rule, the same way each time, so that two forms of one unknown word still meet.
"""

import enum
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from cache.semantic.english.lexicon import NAMES, WORDS, listed

__all__ = ["Form", "Inflected", "inflected"]


class Form(enum.Enum):
    PLAIN = ""
    S = "s"
    """A plural or a third person."""
    ING = "ing"
    PAST = "past"

    # By identity; an enum's own is a call of Python, and a question takes hundreds of them.
    __hash__ = object.__hash__


class Inflected(NamedTuple):
    lemma: str
    form: Form


_IRREGULAR_VERBS: Final = """
arise arose arisen|awake awoke awoken|bear bore borne|beat beaten|become became|begin began begun|bend bent
bid bade bidden|bite bit bitten|bleed bled|blow blew blown|break broke broken|breed bred|bring brought
build built|burn burnt|buy bought|catch caught|choose chose chosen|cling clung|come came|creep crept|deal dealt
dig dug|do did done|draw drew drawn|dream dreamt|drink drank drunk|drive drove driven|eat ate eaten
fall fell fallen|feed fed|fight fought|find found|flee fled|fling flung|fly flew flown|forbid forbade forbidden
forecast forecasted|forget forgot forgotten|forgive forgave forgiven|freeze froze frozen|get got gotten
give gave given|go went gone|grow grew grown|hang hung|have had|hear heard|hide hid hidden|hold held|keep kept
kneel knelt|know knew known|lead led|lean leant|leap leapt|learn learnt|leave left|lend lent|light lit|lose lost
make made|mean meant|meet met|mistake mistook mistaken|overcome overcame|overtake overtook overtaken|pay paid
prove proven|rebuild rebuilt|ride rode ridden|ring rang rung|rise risen|run ran|say said|see seen|seek sought
sell sold|send sent|sew sewn|shake shook shaken|shine shone|shoot shot|show shown|shrink shrank shrunk
sing sang sung|sink sank sunk|sit sat|sleep slept|slide slid|smell smelt|speak spoke spoken|speed sped
spell spelt|spend spent|spill spilt|spin spun|spoil spoilt|spring sprang sprung|stand stood|steal stole stolen
stick stuck|sting stung|stink stank stunk|strike struck stricken|string strung|strive strove striven
swear swore sworn|sweep swept|swell swollen|swim swam swum|swing swung|take took taken|teach taught|tear tore torn
tell told|think thought|throw threw thrown|undergo underwent undergone|understand understood|undo undid undone
undertake undertook undertaken|wake woke woken|wear wore worn|weave wove woven|weep wept|win won
withdraw withdrew withdrawn|withhold withheld|wring wrung|write wrote written|rewrite rewrote rewritten
resend resent|repay repaid|redo redid redone
oversleep overslept|mislead misled|misunderstand misunderstood|overpay overpaid|resell resold|retake retook retaken
foresee foresaw foreseen|outgrow outgrew outgrown|overhear overheard|upload uploaded|reset reseted"""
_IRREGULAR_NOUNS: Final = """
man men|woman women|child children|person people|tooth teeth|foot feet|mouse mice|goose geese|ox oxen|louse lice
life lives|knife knives|wife wives|half halves|shelf shelves|loaf loaves|thief thieves|wolf wolves
calf calves|scarf scarves|elf elves|self selves|criterion criteria|phenomenon phenomena|analysis analyses
crisis crises|thesis theses|hypothesis hypotheses|diagnosis diagnoses|index indices|appendix appendices
matrix matrices|vertex vertices|fungus fungi|cactus cacti|nucleus nuclei|stimulus stimuli|alumnus alumni
bacterium bacteria|medium media|curriculum curricula|datum data|spectrum spectra|gentleman gentlemen|fireman firemen
policeman policemen|grandchild grandchildren|stepchild stepchildren|oasis oases|virus viruses
bus buses|gas gases|quiz quizzes|status statuses|bonus bonuses|campus campuses|census censuses|plus pluses
business businesses|address addresses|process processes|access accesses|focus focuses|menu menus|lens lenses"""

_STAND_ALONE: Final = listed("""
as is us this his its yes bus gas plus thus always perhaps across towards afterwards besides sometimes yours ours
hers theirs news lens series species means headquarters physics mathematics maths economics politics statistics
ethics athletics electronics mechanics dynamics genetics logistics analytics gymnastics aerobics graphics basics
diabetes rabies herpes measles mumps molasses glasses sunglasses trousers pants jeans shorts scissors pliers
damages weeds
tweezers customs goods savings sales premises earnings arms thanks congratulations works whereas chess glass class
virus status campus bonus focus menus canvas atlas alias bias christmas texas kansas arkansas paris athens brussels
wales netherlands philippines maldives bahamas angeles vegas orleans windows kubernetes redis jenkins aws ios
macos dns https sms gps tls css js rss cms pos vps saas atlas athens james charles thomas jones williams adams
thing king ring spring string wing swing sling sting bring sing cling fling ping ding bing sibling ceiling
morning evening nothing something anything everything during building meaning wedding feeling clothing pudding
duckling herring sterling darling dumpling shilling viking beijing boeing reading kettering worthing underling
red bed bred shed sped led fed wed ted med hundred sacred naked wicked hatred kindred speed need seed feed weed
breed bleed reed greed heed indeed exceed proceed succeed embed sled bobsled united rugged crooked ragged jagged
found saw felt ground wound bound rose lay laid lied left led felled born thought
""")
"""Words that look inflected, or whose inflected form is another word (found, saw, savings)."""

_VOWELS: Final = frozenset("aeiou")


def _pairs(table: str) -> Iterator[tuple[str, str]]:
    for group in table.replace("\n", "|").split("|"):
        lemma, *others = group.split() or [""]
        for other in others:
            yield other, lemma


_IRREGULAR: Final = {
    **{form: Inflected(lemma, Form.PAST) for form, lemma in _pairs(_IRREGULAR_VERBS)},
    **{form: Inflected(lemma, Form.S) for form, lemma in _pairs(_IRREGULAR_NOUNS)},
    "has": Inflected("have", Form.S),
    "does": Inflected("do", Form.S),
    "goes": Inflected("go", Form.S),
    "dying": Inflected("die", Form.ING),
    "lying": Inflected("lie", Form.ING),
    "tying": Inflected("tie", Form.ING),
    "died": Inflected("die", Form.PAST),
    "tied": Inflected("tie", Form.PAST),
    "using": Inflected("use", Form.ING),
    "used": Inflected("use", Form.PAST),
    "putting": Inflected("put", Form.ING),
    "setting": Inflected("set", Form.ING),
    "dyed": Inflected("dye", Form.PAST),
}
_NEVER: Final = _STAND_ALONE - _IRREGULAR.keys() - frozenset({"left"}) | frozenset(
    {"found", "saw", "felt", "wound", "bound", "rose", "lay", "thought", "ground", "bore", "bit"}
)


@lru_cache(maxsize=1 << 15)
def inflected(word: str) -> Inflected:
    """The lemma of a word in lower case, and which inflection was undone. Total: any string has a lemma."""
    if word in _NEVER:
        return Inflected(word, Form.PLAIN)
    if (found := _IRREGULAR.get(word)) is not None:
        return found
    if len(word) > 3 and word.isascii():
        if word.endswith("s") and not word.endswith(("ss", "us", "is")):
            lemma = _without_s(word)
            return Inflected(lemma, Form.S) if lemma in WORDS or word not in NAMES else Inflected(word, Form.PLAIN)
        if word.endswith("ing") and len(word) > 4:
            return _stem(word, word[:-3], Form.ING)
        if word.endswith("ed") and len(word) > 4:
            return _stem(word, word[:-2], Form.PAST)
    return Inflected(word, Form.PLAIN)


def _without_s(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-1] if word[:-1] in WORDS else word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return word[:-1] if word[:-1] in WORDS and word[:-2] not in WORDS else word[:-2]
    return word[:-1]


def _stem(word: str, stem: str, form: Form) -> Inflected:
    """Which of stem, stem + e, and the stem without its doubled letter is a word."""
    if not _VOWELS & set(stem) and "y" not in stem:
        return Inflected(word, Form.PLAIN)
    doubled = len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "aeiou"
    if stem.endswith("i") and form is Form.PAST:
        return Inflected(stem[:-1] + "y", form)
    silent = stem + "e"
    if _prefers_e(stem) and silent in WORDS:
        return Inflected(silent, form)
    for candidate in (stem, stem[:-1], silent) if doubled else (stem, silent):
        if candidate in WORDS:
            return Inflected(candidate, form)
    return Inflected(word, Form.PLAIN) if word in NAMES else Inflected(stem[:-1] if doubled else stem, form)


def _prefers_e(stem: str) -> bool:
    """One vowel and one consonant at the end: hoping is of hope, not hop, whose form is hopping."""
    return (
        len(stem) > 2
        and stem[-1] not in "aeiouwxy"
        and stem[-2] in "aeiou"
        and stem[-3] not in "aeiou"
        and sum(letter in _VOWELS for letter in stem) == 1
    )
