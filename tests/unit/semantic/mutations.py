"""Changes to a question that surely change what it asks, and others that surely do not.

`mutants(kind, seed, count)` gives `(question, mutant)` pairs, the same ones for the same seed. The vocabularies are
large and drawn from at random, so that a table of rules cannot be written against the suite.
"""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

DATA = Path(__file__).parent / "data"
Mutate = Callable[[str, random.Random], str | None]


def _sections() -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    for line in (DATA / "vocabulary.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1], [])
        else:
            current.append(line)
    return sections


_RAW = _sections()
_LINES = {
    name: _RAW[name] for name in ("qualifiers", "greetings", "polite_before", "polite_after", "swaps", "siblings")
}
_ONE_WORD = {name: " ".join(lines).split() for name, lines in _RAW.items() if name not in _LINES}
_NAMES = ("countries", "cities", "people", "languages", "products", "months", "weekdays", "planets", "seas")
_KIND_OF_NAME = {word: name for name in reversed(_NAMES) for word in _ONE_WORD[name]}
_PAIRS = [tuple(word.replace("_", " ") for word in line.split()) for line in _RAW["antonyms"]]
_OPPOSITES = {one: other for pair in reversed(_PAIRS) for one, other in (pair, pair[::-1])}
_FIELDS = [line.split() for line in _LINES["siblings"]]
_CONTRACTIONS = [line.split("\t") for line in _RAW["contractions"]]
_SLOTS = {
    "country": "countries",
    "city": "cities",
    "language": "languages",
    "product": "products",
    "weekday": "weekdays",
    "month": "months",
    "person_name": "people",
    "person": "persons",
    "animal": "animals",
    "thing": "things",
    "mass": "masses",
    "disease": "diseases",
}


def vocabulary(kind: str) -> list[str]:
    return _ONE_WORD[kind]


def questions() -> list[str]:
    return (DATA / "questions.txt").read_text(encoding="utf-8").splitlines()


def _replace(text: str, match: re.Match[str], new: str) -> str:
    return text[: match.start()] + new + text[match.end() :]


def _pick(pattern: str, text: str, rng: random.Random) -> re.Match[str] | None:
    found = list(re.finditer(pattern, text))
    return rng.choice(found) if found else None


def _other(words: Sequence[str], than: str, rng: random.Random) -> str:
    while (word := rng.choice(words)).lower() in than.lower():
        pass
    return word


_COUNTS = (
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "fifteen",
    "forty",
)


def number(text: str, rng: random.Random) -> str | None:
    """Another number in the place of one; a question without any gets no mutant."""
    if (found := _pick(r"(?<![\w.])\d+(?![\w.]*\d)|\b(?:" + "|".join(_COUNTS) + r")\b", text, rng)) is None:
        return None
    old = found.group()
    if not old.isdigit():
        return _replace(text, found, _other(_COUNTS, old, rng))
    value = int(old)
    new = rng.choice([value + 1, value * 10, value + rng.randint(2, 40), value * 2, max(value - 1, 0) or value + 3])
    return _replace(text, found, str(new))


_AUXILIARY = r"(?:do|does|did|can|should|is|are|will|must)"


def negation(text: str, rng: random.Random) -> str | None:
    """One `not`, `never`, `no longer` or `without` more, or one less."""
    if found := re.search(r"\bwithout\b", text):
        return _replace(text, found, "with")
    if found := re.match(rf"(?:How|Why|Who|When|Where|What|Which)\b[^,]*?\b{_AUXILIARY} (?:I|you|we|they)\b", text):
        return text[: found.end()] + rng.choice([" not", " never", " no longer"]) + text[found.end() :]
    if found := re.match(rf"(?:Why|Which \w+|Who|What) {_AUXILIARY}\b(?! the| a|n.t)", text):
        return text[: found.end()] + " not" + text[found.end() :]
    if found := re.match(r"(?:Can|Do|Should|Must) (?:I|you|we|they)\b", text):
        return text[: found.end()] + rng.choice([" avoid having to", " never", " refuse to"]) + text[found.end() :]
    if found := re.match(r"(Is|Are|Does|Do|Can|Should|Will) (?:the|a|an|my|it) \w+\b", text):
        return text[: found.end()] + rng.choice([" never", " no longer"]) + text[found.end() :]
    return None


def entity(text: str, rng: random.Random) -> str | None:
    """Another name of the same kind in the place of one."""
    names = [m for m in re.finditer(r"(?<!^)\b[A-Z][A-Za-z]+\b", text) if m.group() in _KIND_OF_NAME]
    if not names:
        return None
    found = rng.choice(names)
    return _replace(text, found, _other(_ONE_WORD[_KIND_OF_NAME[found.group()]], text, rng))


_SUPERLATIVE = r"(?!\w+est\b|first|last|same|best|worst|most|next|other|only|right|many|few|lot|bit|second|\d)"


def modifier(text: str, rng: random.Random) -> str | None:
    """A restricting adjective before a noun: `a bank account` to `a joint bank account`."""
    found = _pick(rf"\b(?:a|an|the|my|your|our|this) (?={_SUPERLATIVE}[a-z]{{3,}})", text, rng)
    if found is None:
        return None
    word = _other(_ONE_WORD["modifiers"], text, rng)
    article = found.group().strip()
    if article in {"a", "an"}:
        article = "an" if word[0] in "aeiou" and not word.startswith(("un-", "used", "unicorn")) else "a"
    return _replace(text, found, f"{article} {word} ")


def qualifier(text: str, rng: random.Random) -> str | None:
    """A condition, place, time or person appended."""
    return text.rstrip("?.") + " " + _other(_LINES["qualifiers"], text, rng) + ("?" if text.endswith("?") else "")


def substituted_verb(text: str, rng: random.Random) -> str | None:
    """Another verb after `how do I` or `can I`."""
    found = re.search(r"\b(?:do|can|Can|Do|Should|should) (?:I|you|we|they) ([a-z]{3,})\b", text)
    if found is None or found.group(1) in {"have", "need", "not", "still", "use", "get"}:
        return None
    return text[: found.start(1)] + _other(_ONE_WORD["verbs"], text, rng) + text[found.end(1) :]


def substituted_noun(text: str, rng: random.Random) -> str | None:
    """Another noun in the place of the noun that follows an article at the end of its phrase."""
    end = r"(?=[?.,]| (?:in|of|at|on|for|from|with|without|when|if|that|after)\b)"
    found = _pick(rf"\b(the|our|an|my|a) (?!first|last|same|only)([a-z]{{4,}}){end}", text, rng)
    if found is None:
        return None
    return text[: found.start(2)] + _other(_ONE_WORD["nouns"], text, rng) + text[found.end(2) :]


def sibling(text: str, rng: random.Random) -> str | None:
    """A thing of the same sort in the place of one: tea for coffee, knee for wrist."""
    places = [(found, field) for field in _FIELDS for found in re.finditer(rf"\b(?:{'|'.join(field)})\b", text)]
    if not places:
        return None
    found, field = rng.choice(places)
    return _replace(text, found, rng.choice([word for word in field if word not in text]))


_OTHER_TENSE = {"do": ["did"], "does": ["did"], "is": ["was"], "are": ["were"], "did": ["does", "will"]}


def tense(text: str, rng: random.Random) -> str | None:
    """What was in the place of what is, or the other way round; *how did I*, which nobody says, is left out."""
    found = re.match(r"(?!How )(?:[\w ]*?\b)?(do|does|is|are|did)\b(?! I (?:need|have))", text, re.IGNORECASE)
    if found is None or re.match(r"Wh\w+ (?:is|are)\b(?! my| it)", text):
        return None
    new = rng.choice(_OTHER_TENSE[found.group(1).lower()])
    return text[: found.start(1)] + (new.capitalize() if found.start(1) == 0 else new) + text[found.end(1) :]


_OTHER_MODALS = {
    "Can": ["Must", "Should"],
    "Do I need to": ["Can I", "May I"],
    "Do I have to": ["Can I", "May I"],
    "can": ["must", "should"],
    "should": ["can", "will"],
    "must": ["can", "may"],
}


def modal(text: str, rng: random.Random) -> str | None:
    """Another of leave, duty and ability; *how can I* and *how should I* come too near each other."""
    if (found := re.search(rf"\b(?:{'|'.join(_OTHER_MODALS)})\b", text)) is None or text.startswith("How "):
        return None
    return _replace(text, found, rng.choice(_OTHER_MODALS[found.group()]))


_OTHER_QUESTIONS = {
    "How do I": ["When do I", "Why do I", "Where do I"],
    "How long": ["How often", "How soon", "How far"],
    "How many": ["How old are", "How do"],
    "How much": ["How long", "How often"],
    "How often": ["How long", "How soon"],
    "When": ["Where", "Why", "How"],
    "Where": ["When", "Why", "How"],
    "Why": ["When", "Where", "How often"],
    "Who": ["When", "Why", "Where"],
    "Can I": ["Why can I", "When can I", "How can I"],
    "Is": ["Why is", "When is", "How often is"],
    "What is": ["Where is", "When is", "Who is"],
}


def question(text: str, rng: random.Random) -> str | None:
    """Another question word."""
    found = next((opening for opening in _OTHER_QUESTIONS if text.startswith(opening + " ")), None)
    return None if found is None else rng.choice(_OTHER_QUESTIONS[found]) + text[len(found) :]


def antonym(text: str, rng: random.Random) -> str | None:
    """A word's opposite in its place."""
    words = "|".join(sorted(_OPPOSITES, key=len, reverse=True))
    found = _pick(rf"(?<!How )\b(?:{words})\b(?!')", text, rng)
    return None if found is None else _replace(text, found, _OPPOSITES[found.group()])


def person(text: str, rng: random.Random) -> str | None:
    """Somebody else's: `my` to `her`, `I` to `they`; a general `you` is left alone."""
    if found := _pick(r"\bmy\b", text, rng):
        return _replace(text, found, rng.choice(["your", "her", "his", "their", "our", "someone else's"]))
    if found := re.search(r"\b(?:Can|Should|Do|do|can|should) (I|you)\b", text):
        new = {"I": ["they", "you", "he"], "you": ["I", "they"]}[found.group(1)]
        if found.group(1) == "I" and re.search(r"\b(?:how|why|what|when|where|which)\b", text, re.IGNORECASE):
            new = ["they"]  # `how do you` may well stand for `how does one`
        word = rng.choice([w for w in new if w != "he" or found.group().startswith(("Can", "can", "Should", "should"))])
        return text[: found.start(1)] + word + text[found.end(1) :]
    return None


def _fill(template: str, rng: random.Random) -> tuple[str, str]:
    names = re.findall(r"\{(\w+?)2?\}", template)
    if len(set(names)) == 1:
        first, second = rng.sample(_ONE_WORD[_SLOTS[names[0]]], 2)
    else:
        first, second = (rng.choice(_ONE_WORD[_SLOTS[name]]) for name in names)
    holes = re.findall(r"\{\w+\}", template)
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", template.replace(holes[0], first).replace(holes[1], second))
    swap = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", template.replace(holes[0], second).replace(holes[1], first))
    return text, swap


_JOINED = re.compile(r"\bfrom (?:the |my )?(?!\w+ing\b)(\w+) (?:in)?to (?:the |my |an? )?(?!another)(\w+)(?=\W|$)")
_HEADS = re.compile(r"\b(?:the|a) ([a-z]+) of (?:the|a|my) ([a-z]+)(?=[?.])")


def swapped(text: str) -> str | None:
    """`From A to B` to `from B to A`, `the X of the Y` to `the Y of the X`; distances are the same both ways."""
    if re.search(r"\b(?:far|distance|difference|between)\b", text):
        return None
    found = _JOINED.search(text) or _HEADS.search(text)
    if found is None:
        return None
    between = text[found.end(1) : found.start(2)]
    return text[: found.start(1)] + found.group(2) + between + found.group(1) + text[found.end(2) :]


_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {c: row[max(i - 1, 0) : i] + row[i + 1 : i + 2] for row in _ROWS for i, c in enumerate(row)}
_REAL = frozenset((DATA / "real_words.txt").read_text(encoding="utf-8").split())


def typo(text: str, rng: random.Random) -> str | None:
    """One letter lost, doubled, exchanged with the next or missed by a key, in a plain word of five letters or more.

    The first letter stays, as typists mostly get it right, and the result is no other word.
    """
    found = _pick(r"(?<=[ ^])[a-z]{5,}(?=[ ?,.])", text, rng)
    if found is None:
        return None
    word = found.group()
    for _ in range(8):
        at = rng.randrange(1, len(word))
        new = rng.choice(
            [
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :] if at > 1 else word,
                word[:at] + rng.choice(_BESIDE[word[at]]) + word[at + 1 :],
            ]
        )
        if new != word and new not in _REAL:
            return _replace(text, found, new)
    return None


def casing(text: str, rng: random.Random) -> str | None:
    """Lower case throughout, another end, or wider gaps; an acronym that is also a word is left alone."""
    if re.search(r"\b(?:IT|US|WHO|AIDS|CAN)\b", text):
        return None
    body = text.rstrip("?.")
    return rng.choice([text.lower(), body, body.lower(), body + "??", body + " ?", body.lower() + " ?", f"  {body} ?!"])


def greeting(text: str, rng: random.Random) -> str | None:
    return rng.choice(_LINES["greetings"]) + " " + text


def politeness(text: str, rng: random.Random) -> str | None:
    if rng.random() < 0.5:
        return rng.choice(_LINES["polite_before"]) + " " + text
    after = rng.choice(_LINES["polite_after"])
    if after.startswith(","):
        return text.rstrip("?.") + after + ("?" if text.endswith("?") else "")
    return (text if text.endswith(("?", ".")) else text + ".") + after


def contraction(text: str, rng: random.Random) -> str | None:
    for long, short in rng.sample(_CONTRACTIONS, len(_CONTRACTIONS)):
        if re.search(rf"\b{long}\b", text):
            return re.sub(rf"\b{long}\b", short, text, count=1)
    return None


CHANGING: dict[str, Mutate] = {
    "number": number,
    "negation": negation,
    "entity": entity,
    "modifier": modifier,
    "qualifier": qualifier,
    "substituted_verb": substituted_verb,
    "substituted_noun": substituted_noun,
    "sibling": sibling,
    "antonym": antonym,
    "tense": tense,
    "modal": modal,
    "question": question,
    "person": person,
}
KEEPING: dict[str, Mutate] = {
    "typo": typo,
    "casing": casing,
    "greeting": greeting,
    "politeness": politeness,
    "contraction": contraction,
}


def swaps(seed: int) -> Iterator[tuple[str, str]]:
    """Word-order traps from the questions and from templates, without end."""
    rng = random.Random(f"swaps {seed}")
    for text in questions():
        if (other := swapped(text)) is not None:
            yield text, other
    for _ in itertools.count():
        yield _fill(rng.choice(_LINES["swaps"]), rng)


def mutants(kind: str, seed: int, count: int) -> list[tuple[str, str]]:
    """`count` different pairs of one kind, fewer only where a kind has no more."""
    if kind == "swapped":
        return list(itertools.islice(swaps(seed), count))
    rng = random.Random(f"{kind} {seed}")
    mutate = {**CHANGING, **KEEPING}[kind]
    pairs: dict[tuple[str, str], None] = {}
    base = questions()
    for _ in range(6):
        rng.shuffle(base)
        for text in base:
            if (other := mutate(text, rng)) is not None and other != text:
                pairs[text, other] = None
            if len(pairs) == count:
                return list(pairs)
    return list(pairs)
