"""What the guard alone would serve, with the embedding taken at its worst.

A licensed pair needs a similarity of 0.60 besides, which nearly all of them have. No embedding is asked here.
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cache.semantic.guard import Compared, Finding, Guard, Prepared

DATA = Path(__file__).parent / "data"
SURE = frozenset({Finding.SAME, Finding.LICENSED})
EXAMPLES = 5


class Pair(NamedTuple):
    a: str
    b: str
    same_answer: bool
    category: str


@functools.cache
def pairs() -> tuple[Pair, ...]:
    lines = (DATA / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(Pair(**json.loads(line)) for line in lines)


@functools.cache
def guard() -> Guard:
    return Guard()


@functools.cache
def prepared(text: str) -> Prepared:
    return guard().prepare(text)


def compared(a: str, b: str) -> Compared:
    return guard().compare(prepared(a), prepared(b))


def is_served(a: str, b: str) -> bool:
    return compared(a, b).finding in SURE


def told(examples: Iterable[tuple[str, str]]) -> str:
    """The first few pairs with what was found, for the message of a failing test."""
    shown = list(examples)
    lines = [f"{len(shown)} pairs:"]
    for a, b in shown[:EXAMPLES]:
        found = compared(a, b)
        lines.append(f"  {found.finding.value} ({found.rule}): {a!r} / {b!r}")
    return "\n".join(lines)
