"""Which rules of the tables had a part in a question's one form: for who wants to know, and never while one waits.

A rule is called by its table and a digest of its line, so that it keeps its name for as long as it says the same.
"""

import hashlib
from typing import Final, NamedTuple, final

__all__ = ["ORDERS", "Used", "used"]

ORDERS: Final = "orders"
"""All that makes orders of words one, which are no lines of a table."""
DIGITS: Final = 8


@final
class Used(NamedTuple):
    """`name` is what `semantic.not_rules` takes; `says` the rule as it stands."""

    name: str
    says: str


def used(table: str, line: str) -> Used:
    return Used(f"{table}/{hashlib.sha256(line.encode()).hexdigest()[:DIGITS]}", line)
