"""Which rules of the tables had a part in a question's one form: for who wants to know, and never while one waits.

A rule is called by its table and a digest of its line, so that it keeps its name for as long as it says the same.
"""

import hashlib
from typing import Final, NamedTuple, final

__all__ = ["CLASSES", "ORDERS", "Used", "used"]

ORDERS: Final = "orders"
"""All that makes orders of words one, which are no lines of a table."""
CLASSES: Final = {
    "plural": "the same word with another ending",
    "article": "another article, or none",
    "possessive": "with and without 's",
    "capital": "with and without a capital",
    "marks": "other punctuation",
    "light": "a word that says nothing",
    "frame": "asked for in another way",
    "spelling": "written as one word or as two",
    "head": "a word that goes without saying",
    "preposition": "a preposition that stands for another, or for none",
    "typo": "a word that is misspelt",
    ORDERS: "the same words in another order",
}
"""What else questions may differ in, by name, which is no line of a table either; and in words."""
DIGITS: Final = 8


@final
class Used(NamedTuple):
    """`name` is what `semantic.not_rules` takes; `says` the rule as it stands."""

    name: str
    says: str


def used(table: str, line: str) -> Used:
    return Used(f"{table}/{hashlib.sha256(line.encode()).hexdigest()[:DIGITS]}", line)
