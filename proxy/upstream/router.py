"""Model → upstream."""

import fnmatch
import re
from collections.abc import Iterable
from typing import Generic, TypeVar, final

from proxy.errors import Failure, Kind

__all__ = ["Router"]

T = TypeVar("T")


@final
class Router(Generic[T]):
    """`upstreams` are pairs of model patterns and what serves them; the most specific pattern wins."""

    def __init__(self, upstreams: Iterable[tuple[tuple[str, ...], T]]) -> None:
        self._exact: dict[str, T] = {}
        patterns: list[tuple[str, T]] = []
        first: T | None = None
        for models, upstream in upstreams:
            first = upstream if first is None else first
            for model in models:
                if _literal(model) == model:
                    self._exact[model] = upstream
                else:
                    patterns.append((model, upstream))
        if first is None:
            raise ValueError("a router needs an upstream")
        patterns.sort(key=lambda pair: (-len(_literal(pair[0])), -len(re.sub(r"[*?]|\[.[^]]*\]", "", pair[0]))))
        self._patterns = [(re.compile(fnmatch.translate(pattern)), upstream) for pattern, upstream in patterns]
        self._default = next((upstream for pattern, upstream in patterns if pattern == "*"), first)

    def pick(self, model: str) -> T:
        """A request that names no model goes to the upstream of `*`, or the first. Raises Failure(MODEL_NOT_FOUND)."""
        if not model:
            return self._default
        upstream = self._exact.get(model)
        if upstream is not None:
            return upstream
        for pattern, candidate in self._patterns:
            if pattern.match(model):
                return candidate
        raise Failure(Kind.MODEL_NOT_FOUND, param="model")


def _literal(pattern: str) -> str:
    """The part before the first wildcard."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]
