"""A prepared question: its tokens, by which two questions are compared."""

import enum
from dataclasses import dataclass
from typing import NamedTuple, final

from cache.semantic.english.forms import Form
from cache.semantic.english.letters import Letters
from cache.semantic.english.reading import Case, Read

__all__ = ["Kind", "Prepared", "Token"]


@final
class Kind(enum.Enum):
    """What a token is, and so the veto that it is when the other question has none like it."""

    CONTENT = "content"
    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    UNIT = "unit"
    CODE = "code"
    URL = "url"
    QUOTED = "quoted"
    SYMBOL = "symbol"
    NEGATION = "negation"
    QUESTION = "question"
    MODAL = "modal"
    COMPARATIVE = "comparative"
    MUST = "must_match"
    PERSON = "person"
    PREPOSITION = "preposition"
    LIGHT = "light"

    # By identity; an enum's own is a call of Python, and a question takes hundreds of them.
    __hash__ = object.__hash__


class Token(NamedTuple):
    lemma: str
    kind: Kind
    form: Form
    name: bool
    """Written as a name, or only a name can be meant."""
    article: str = ""
    """The one that stood before it and was dropped: a, the, or The with a capital that only a title has."""
    case: Case = Case.UNKNOWN
    text: str = ""
    """With its ending."""
    owns: bool = False
    """An 's, dropped, stood behind it."""

    @property
    def the(self) -> bool:
        return self.article.lower() == "the"

    @property
    def a(self) -> bool:
        return self.article == "a"


@final
@dataclass(frozen=True, slots=True)
class Prepared:
    """Opaque outside the rules. A few KiB."""

    tokens: tuple[Token, ...]
    key: tuple[str, ...]
    """The lemmas; two questions with one key are the same."""
    read: Read
    """As it was read, for the repair of typos."""
    unknown: tuple[int, ...]
    """Which of the words read are in no list."""
    letters: Letters
    exact: bool
    """The question is about words themselves: nothing in it may be dropped or repaired."""
