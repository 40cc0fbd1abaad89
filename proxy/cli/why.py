"""Which rules make two questions one: worked out from their texts, for whoever asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cache.semantic.decide import Settings
from cache.semantic.guard import CLASSES, Explained, Finding
from cache.semantic.language import language

if TYPE_CHECKING:
    from proxy.config.semantic import Semantic

__all__ = ["as_rows", "explained"]

GUARDED = "en"
"""The language that there are rules of."""
LEAST: Final = Settings().least
WIDEST: Final = 100
"""Characters of a rule as it stands in its table; the rest says no more to who has no table."""


def explained(asked: str, stored: str, option: Path | None, *, measured: bool = False) -> dict[str, Any]:
    """By the tables of this version and the words of the configuration; `measured`: and its embedder, which takes a
    second to load. Raises ConfigError, ModelError.
    """
    from proxy import config as configuration
    from proxy.semantic.guarding import guard_of
    from proxy.semantic.modes import Never

    semantic = configuration.load(configuration.find(option)).semantic
    never = Never(semantic.never, usual=semantic.never_usual)
    why: dict[str, Any] = {
        "never": next((phrase for text in (asked, stored) if (phrase := never.phrase(text))), ""),
        "similarity": _similarity(asked, stored, semantic) if measured else None,
    }
    if {language(asked), language(stored)} != {GUARDED}:
        return why | {"finding": "", "rule": "", "served": False, "used": []}
    guard = guard_of(semantic)
    found = guard.explain(asked, stored)
    compared = guard.compare(guard.prepare(asked), guard.prepare(stored))
    off = set(semantic.not_rules)
    through = compared.finding in {Finding.SAME, Finding.LICENSED}
    near = why["similarity"] is None or why["similarity"] >= LEAST
    return why | {
        "finding": "licensed" if through else compared.finding.value,
        "rule": compared.rule,
        "served": through and near and not why["never"],
        "asked": found.asked,
        "stored": found.stored,
        "used": [used | {"off": used["rule"] in off} for used in _used(found)],
    }


def _similarity(asked: str, stored: str, semantic: "Semantic") -> float | None:
    """None where only an upstream could tell."""
    import numpy as np

    from cache.semantic.embed import Reason
    from cache.semantic.embedders.onnx_model import OnnxModel
    from proxy.cli.calibration.vectors import files_of

    if semantic.embedder.kind == "upstream":
        return None
    files = files_of(Path(semantic.embedder.folder) if semantic.embedder.kind == "onnx" else None)
    one, other = OnnxModel.load(files).run([asked, stored])
    if isinstance(one, Reason) or isinstance(other, Reason):
        return None
    return round(min(float(np.dot(one, other)), 1.0), 4)


def _used(found: Explained) -> Iterator[dict[str, Any]]:
    for name in sorted(found.classes):
        yield {"for": "both", "rule": name, "says": CLASSES[name]}
    for side, rules in (("asked", found.asked_by), ("stored", found.stored_by)):
        for rule in rules:
            yield {"for": side, "rule": rule.name, "says": rule.says}
    for one, other, rule in found.synonyms:
        yield {"for": f"{one}, {other}", "rule": rule.name, "says": rule.says}


def as_rows(why: dict[str, Any]) -> Iterator[list[str]]:
    if why["never"]:
        yield ["never looked up", f'"{why["never"]}" (semantic.never, semantic.never_usual)']
    if why["similarity"] is not None:
        below = f", and nothing is served below {LEAST:.2f}" if why["similarity"] < LEAST else ""
        yield ["similarity", f"{why['similarity']:.4f}{below}"]
    if not why["finding"]:
        yield ["", "there are rules of English alone"]
        return
    yield [
        "by the rules" if why["never"] or why["similarity"] is not None else "now",
        f"{why['finding']}/{why['rule']}",
    ]
    for side in ("asked", "stored"):
        yield [f"{side}, in one form", why[side]]
    for used in why["used"]:
        off = " (off)" if used["off"] else ""
        yield [f"{used['rule']}{off}", f"{used['for']}: {_plainly(used['says'])}"]


def _plainly(says: str) -> str:
    """What a rule makes of it first, and of its pattern as much as can be read."""
    pattern, arrow, instead = says.rpartition(" => ")
    text = f"{instead} <= {pattern}" if arrow else says
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
