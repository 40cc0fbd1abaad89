"""Which rules of the tables make two questions one: worked out from their texts, for whoever asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cache.semantic.guard import Explained
from cache.semantic.language import language

__all__ = ["as_rows", "explained"]

GUARDED = "en"
"""The language that there are rules of."""


def explained(asked: str, stored: str, option: Path | None) -> dict[str, Any]:
    """By the tables of this version and the words of the configuration. Raises ConfigError."""
    from proxy import config as configuration
    from proxy.semantic.guarding import guard_of

    if {language(asked), language(stored)} != {GUARDED}:
        return {"finding": "", "rule": "", "used": []}
    semantic = configuration.load(configuration.find(option)).semantic
    guard = guard_of(semantic)
    found = guard.explain(asked, stored)
    compared = guard.compare(guard.prepare(asked), guard.prepare(stored))
    off = set(semantic.not_rules)
    return {
        "finding": compared.finding.value,
        "rule": compared.rule,
        "asked": found.asked,
        "stored": found.stored,
        "used": [used | {"off": used["rule"] in off} for used in _used(found)],
    }


def _used(found: Explained) -> Iterator[dict[str, Any]]:
    for side, rules in (("asked", found.asked_by), ("stored", found.stored_by)):
        for rule in rules:
            yield {"for": side, "rule": rule.name, "says": rule.says}
    for one, other, rule in found.synonyms:
        yield {"for": f"{one}, {other}", "rule": rule.name, "says": rule.says}


def as_rows(why: dict[str, Any]) -> Iterator[list[str]]:
    if not why["finding"]:
        yield ["", "there are rules of English alone"]
        return
    yield ["now", f"{why['finding']}/{why['rule']}"]
    for side in ("asked", "stored"):
        yield [f"{side}, in one form", why[side]]
    for used in why["used"]:
        off = " (off)" if used["off"] else ""
        yield [f"{used['rule']}{off}", f"{used['for']}: {used['says']}"]
