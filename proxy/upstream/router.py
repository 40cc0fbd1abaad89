"""Model → what serves it. Sans-IO."""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar, final

from proxy.errors import Failure, Kind

__all__ = ["Router"]

T = TypeVar("T")


MAX_PICKED: Final = 1_024
"""Names that are matched with the patterns once only: a client may send any."""
_NONE: Final[Mapping[str, str]] = {}


@final
class Router(Generic[T]):
    """`routes` are pairs of model patterns and what serves them; the most specific pattern wins, then the first.

    `aliases` are names that stand for models.
    """

    def __init__(self, routes: Iterable[tuple[tuple[str, ...], T]], aliases: Mapping[str, str] = _NONE) -> None:
        self.aliases = dict(aliases)
        self._exact: dict[str, T] = {}
        patterns: list[tuple[str, T]] = []
        first: T | None = None
        for models, route in routes:
            first = route if first is None else first
            for model in models:
                if _literal(model) == model:
                    self._exact.setdefault(model, route)
                else:
                    patterns.append((model, route))
        if first is None:
            raise ValueError("a router needs an upstream")
        patterns.sort(key=lambda pair: (-len(_literal(pair[0])), -len(re.sub(r"[*?]|\[.[^]]*\]", "", pair[0]))))
        self._picked: dict[str, T] = {}
        self._patterns = [(re.compile(fnmatch.translate(pattern)), route) for pattern, route in patterns]
        self._default = next((route for pattern, route in patterns if pattern == "*"), first)

    def __repr__(self) -> str:
        return f"<Router {len(self._exact)} models, {len(self._patterns)} patterns, {len(self.aliases)} aliases>"

    def resolve(self, model: str) -> str:
        """The model that is meant."""
        return self.aliases.get(model, model)

    def pick(self, model: str) -> T:
        """What serves a resolved model. A request that names none goes to the route of `*`, or the first.

        Raises Failure(MODEL_NOT_FOUND).
        """
        if not model:
            return self._default
        route = self._exact.get(model) or self._picked.get(model)
        if route is not None:
            return route
        for pattern, candidate in self._patterns:
            if pattern.match(model):
                if len(self._picked) < MAX_PICKED:
                    self._picked[model] = candidate
                return candidate
        raise Failure(Kind.MODEL_NOT_FOUND, param="model")


def _literal(pattern: str) -> str:
    """The part before the first wildcard."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]
