"""Records of questions that were answered, and somebody who hears of them."""

import random
import struct
from typing import Any, final

from cache.semantic.store.record import Asked, Record
from tests.fakes.entries import NOW, key

__all__ = ["DIMENSION", "Hearer", "asked", "record", "vector"]

DIMENSION = 16


def vector(name: object, dimension: int = DIMENSION) -> bytes:
    """float16, one long, of no particular direction."""
    draw = random.Random(repr(name))
    parts = [draw.gauss() for _ in range(dimension)]
    length = sum(part * part for part in parts) ** 0.5
    return struct.pack(f"<{dimension}e", *[part / length for part in parts])


def asked(name: object) -> Asked:
    return Asked(f"May I ask {name}?", vector(name))


def record(name: object = 1, **changes: Any) -> Record:
    """Of an answer made now, for a minute; of `name` are the key, the text and the vector."""
    fields: dict[str, Any] = {
        "key": key(name),
        "partition": key("partition"),
        "text": f"What is {name}?",
        "vector": vector(name),
        "created": NOW,
        "expires": NOW + 60,
        "scope": key("scope"),
        "endpoint": "chat/completions",
        "model": "gpt-5",
        "served_model": "gpt-5-2026-08-01",
        "team": "search",
        "upstream": "openai",
        "tags": ("nightly",),
    }
    return Record(**{**fields, **changes})


@final
class Hearer:
    """Holds what it was told, as an index would."""

    def __init__(self) -> None:
        self.held: dict[str, Record] = {}
        self.told: list[str] = []
        """Each call, by its name."""

    def added(self, record: Record) -> None:
        self.told.append("added")
        self.held[record.key] = record

    def changed(self, record: Record) -> None:
        self.told.append("changed")
        self.held[record.key] = record

    def removed(self, key: str) -> None:
        self.told.append("removed")
        self.held.pop(key, None)

    def reset(self) -> None:
        self.told.append("reset")
        self.held.clear()
