"""The guard of a deployment: the tables, with its own words, and without the rules that it has switched off."""

from cache.semantic.guard import Guard
from proxy.config.semantic import Semantic

__all__ = ["guard_of"]


def guard_of(semantic: Semantic) -> Guard:
    return Guard(
        map(_words, semantic.synonyms),
        [(one, other) for one, other in map(_words, semantic.not_synonyms)],
        semantic.not_rules,
    )


def _words(rule: str) -> list[str]:
    return [word.strip() for word in rule.split(",")]
