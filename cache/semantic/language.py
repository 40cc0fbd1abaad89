"""In which language, or at least in which script, a question is put. Sans-IO."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from cache.semantic.english.forms import inflected
from cache.semantic.english.lexicon import WORDS

__all__ = ["language"]

_LOOKED_AT: Final = 400
"""Characters; the language shows sooner."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SCRIPTS: Final[tuple[tuple[str, str], ...]] = (
    ("CJK", "Hani"), ("HIRAGANA", "ja"), ("KATAKANA", "ja"), ("HANGUL", "ko"), ("CYRILLIC", "Cyrl"),
    ("ARABIC", "Arab"), ("HEBREW", "Hebr"), ("GREEK", "el"), ("DEVANAGARI", "Deva"), ("THAI", "Thai"),
)  # fmt: skip
_FUNCTION_WORDS: Final[Mapping[str, str]] = {
    "en": (
        "the a an is are was were do does did i my me you your he she it its we our they their this that these those"
        " what how when where who why which can could would should will of to in on for with from at by about and or"
        " not if there have has had be been am any some please im whats dont cant than into between after before vs"
    ),
    "de": (
        "der die das ein eine einen einem einer ist sind war wie was wo wer wann warum welche welcher welches kann"
        " kannst ich du er sie es wir ihr mein meine meinen mich mir dich dein deine und oder nicht von zu zum zur im"
        " am auf für mit aus bei nach über wenn gibt hat habe haben wird werden muss bitte den dem des um sich auch"
    ),
    "fr": (
        "le la les un une des du de est sont était comment que quoi où qui quand pourquoi quel quelle quels quelles"
        " peux puis peut je tu il elle nous vous ils mon ma mes ton votre vos notre et ou ne pas dans sur pour avec"
        " sans par au aux ce cette ces ai as avez faire combien y a-t-il est-ce c'est qu'est-ce j'ai d'un l'on si"
    ),
    "es": (
        "el la los las un una unos unas es son está están era cómo como qué que dónde quién cuándo por para cuál"
        " cuáles puedo puede yo tú él ella nosotros mi mis tu su sus y o no de del al en con sin sobre hay tengo"
        " tiene hacer cuánto cuánta cuesta lo se me te le si muy más este esta"
    ),
    "it": (
        "il lo la i gli le un uno una è sono era come che cosa dove chi quando perché quale quali posso può io tu lui"
        " lei noi mio mia miei tuo suo e o non di del della dei delle da dal in nel nella con su per tra fra c'è"
        " quanto quanta costa ho ha fare si mi ti ci se più questo questa al alla"
    ),
    "pt": (
        "o a os as um uma é são era como que quê onde quem quando por porque qual quais posso pode eu você ele ela"
        " nós meu minha meus seu sua e ou não de do da dos das em no na nos nas com sem para pelo pela há tenho tem"
        " fazer quanto quanta custa se me te lhe mais muito este esta isso ao à"
    ),
    "nl": (
        "de het een is zijn was waren hoe wat waar wie wanneer waarom welke welk kan kunt ik jij je hij zij wij mijn"
        " uw jouw ons onze en of niet van naar te op in voor met uit bij over als er heb heeft hebben wordt worden"
        " moet dat dit deze die aan om ook nog geen graag mij"
    ),
}  # fmt: skip
_LANGUAGES_OF: Final[Mapping[str, frozenset[str]]] = {
    word: frozenset(name for name, words in _FUNCTION_WORDS.items() if word in words.split())
    for words in _FUNCTION_WORDS.values()
    for word in words.split()
}
_MARKS: Final[Mapping[str, frozenset[str]]] = {
    "ß": frozenset({"de"}), "ä": frozenset({"de"}), "ö": frozenset({"de"}), "ü": frozenset({"de"}),
    "ñ": frozenset({"es"}), "¿": frozenset({"es"}), "¡": frozenset({"es"}), "ã": frozenset({"pt"}),
    "õ": frozenset({"pt"}), "ç": frozenset({"fr", "pt"}), "ê": frozenset({"fr", "pt"}), "œ": frozenset({"fr"}),
    "ì": frozenset({"it"}), "ò": frozenset({"it"}),
}  # fmt: skip


def language(text: str) -> str:
    """`en`, another ISO 639-1 code, an ISO 15924 name of a script (`Cyrl`), or `und`.

    Latin text is told by its function words; where it has none (*renew passport online*), by whether most of its
    words are in the English list.
    """
    head = text[:_LOOKED_AT]
    if not head.isascii() and (script := _script(head)) is not None:
        return script
    return _latin(head.lower())


def _script(head: str) -> str | None:
    """The script that most letters are of; None for Latin and for no letters."""
    counts: dict[str, int] = {}
    latin = 0
    for letter in head[:200]:
        if not letter.isalpha():
            continue
        if letter < "ɐ":
            latin += 1
            continue
        name = unicodedata.name(letter, "").split(" ", 1)[0]
        script = next((code for start, code in _SCRIPTS if name.startswith(start)), "Zyyy")
        counts[script] = counts.get(script, 0) + 1
    if not counts or sum(counts.values()) <= latin:
        return None
    return "ja" if "ja" in counts else max(counts, key=lambda script: (counts[script], script))


def _latin(head: str) -> str:
    scores = dict.fromkeys(_FUNCTION_WORDS, 0.0)
    words = _WORD.findall(head.replace("’", "'"))
    for word in words:
        for name in (found := _LANGUAGES_OF.get(word, ())):
            scores[name] += 1 / len(found)
    if not head.isascii():
        for letter in head:
            for name in _MARKS.get(letter, ()):
                scores[name] += 0.5
    best = max(scores, key=lambda name: (scores[name], name == "en"))
    if scores[best] > 0:
        return best
    return "en" if words and 2 * sum(map(_is_english, words)) > len(words) else "und"


def _is_english(word: str) -> bool:
    return word in WORDS or inflected(word).lemma in WORDS
