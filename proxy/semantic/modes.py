"""Whether a question may be answered by one that means the same: what operators say of it. Sans-IO."""

import enum
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Self, final

from proxy.semantic.passing import USUAL, usual

__all__ = ["Mode", "Modes", "Never"]


@final
class Mode(enum.Enum):
    OFF = "off"
    SHADOW = "shadow"
    """Looks, decides and learns, and serves nothing."""
    ON = "on"


@final
class Modes:
    """A key's word goes before that of a model, this before that of an endpoint, and that before the rest."""

    def __init__(self, rest: Mode, models: Sequence[tuple[str, Mode]], endpoints: Sequence[tuple[str, Mode]]) -> None:
        self._rest = rest
        self._models = tuple(models)
        self._endpoints = dict(endpoints)
        self.any = {rest, *(mode for _, mode in models), *self._endpoints.values()} != {Mode.OFF}
        """It is on, or in the shadow, for somebody of whom a key does not say otherwise."""

    @classmethod
    def read(cls, rest: str, models: Sequence[str], endpoints: Sequence[str]) -> Self:
        """Of rules such as `gpt-4o*=on`. Raises ValueError for what is no mode."""
        return cls(Mode(rest), [*map(_ruled, models)], [*map(_ruled, endpoints)])

    def __repr__(self) -> str:
        return f"<Modes {self._rest.value} {len(self._models) + len(self._endpoints)} others>"

    def of(self, key: str | None, model: str, endpoint: str) -> Mode:
        """`key` is what the virtual key says."""
        if key is not None:
            return Mode(key)
        for pattern, mode in self._models:
            if fnmatchcase(model, pattern):
                return mode
        return self._endpoints.get(endpoint, self._rest)


def _ruled(rule: str) -> tuple[str, Mode]:
    name, _, mode = rule.rpartition("=")
    return name.strip(), Mode(mode.strip())


@final
class Never:
    """Phrases that make a question one of a person or of a moment, words counting whole and in any case; with `usual`,
    those that everybody has, and questions of their kind.
    """

    def __init__(self, phrases: Iterable[str], *, usual: bool = False) -> None:
        parts = [r"\s+".join(map(re.escape, phrase.split())) for phrase in (*(USUAL if usual else ()), *phrases)]
        # Alternatives of plain words: linear in the text.
        self._found = re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE).search if parts else None
        self._usual = usual

    def __repr__(self) -> str:
        return "<Never>"

    def phrase(self, text: str) -> str:
        """The first that it holds, as it stands there; "" for none."""
        text = text.replace("’", "'")
        found = (self._found(text) if self._found is not None else None) or (usual(text) if self._usual else None)
        return "" if found is None else " ".join(found.group().split())

    def holds(self, text: str) -> bool:
        return self.phrase(text) != ""
