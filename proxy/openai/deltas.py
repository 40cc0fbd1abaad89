"""Deltas of a stream → one message. Sans-IO.

Strings grow, lists grow, lists of objects with an `index` grow entry by entry, objects are merged, and of
everything else the last word counts. What names a thing (its id, its type) is no text that grows.
"""

from typing import Any, Final, TypeVar, final

from proxy.openai.events import Unconvertible

__all__ = ["extend", "merge", "newer", "settle"]

Json = dict[str, Any]
T = TypeVar("T")

NAMES: Final = frozenset(["format", "id", "object", "role", "type"])


@final
class _Text:
    """A string that grows: its pieces, joined once."""

    __slots__ = ("pieces",)

    def __init__(self, first: str) -> None:
        self.pieces = [first]

    def add(self, key: str, piece: str) -> None:
        last = self.pieces[-1]
        if key == "name" and piece and [piece] == self.pieces:
            raise Unconvertible("a name that is sent twice, or is its first half twice")
        if key == "data" and piece and last.endswith("="):
            raise Unconvertible("base64 behind its end")
        self.pieces.append(piece)


@final
class _Entries:
    """A list that grows."""

    __slots__ = ("indexed", "plain")

    def __init__(self) -> None:
        self.plain: list[Any] = []
        self.indexed: dict[int, Json] = {}

    def add(self, entries: list[Any]) -> None:
        for entry in entries:
            index = entry.get("index") if isinstance(entry, dict) else None
            if type(index) is int:
                merge(self.indexed.setdefault(index, {}), entry)
            else:
                self.plain.append(entry)
        if self.plain and self.indexed:
            raise Unconvertible("a list with and without indices")


def merge(grown: Json, delta: Json) -> None:
    """Adds a delta to what has grown of earlier ones; `settle` ends it. Raises Unconvertible."""
    for key, new in delta.items():
        old = grown.get(key)
        if new is None:
            grown.setdefault(key, None)
        elif key in NAMES:
            grown[key] = _same(old, new)
        elif isinstance(new, str):
            if isinstance(old, _Text):
                old.add(key, new)
            else:
                grown[key] = _begin(old, _Text(new))
        elif isinstance(new, dict):
            if not isinstance(old, dict):
                old = grown[key] = _begin(old, {})
            merge(old, new)
        elif isinstance(new, list):
            if not isinstance(old, _Entries):
                old = grown[key] = _begin(old, _Entries())
            old.add(new)
        else:
            if isinstance(old, (_Text, _Entries, dict)):
                raise Unconvertible("a field that changes its type")
            grown[key] = new


def settle(grown: Any) -> Any:
    """What has grown, as JSON."""
    match grown:
        case _Text():
            return "".join(grown.pieces)
        case _Entries():
            return grown.plain or [settle(entry) for _, entry in sorted(grown.indexed.items())]
        case dict():
            return {key: settle(value) for key, value in grown.items()}
        case _:
            return grown


def extend(grown: Json | None, lists: Json) -> Json:
    """Log probabilities: an object of lists, each of which goes on."""
    grown = {} if grown is None else grown
    for key, new in lists.items():
        old = grown.get(key)
        if isinstance(new, list):
            if not isinstance(old, list):
                old = grown[key] = _begin(old, [])
            old.extend(new)
        elif new is not None or old is None:
            grown[key] = new
    return grown


def newer(old: Any, new: Any) -> Any:
    """Of what is said of the whole, the last word that says something."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: newer(old.get(key), value) for key, value in new.items()}
    return new if old is None or _says(new) else old


def _says(value: Any) -> bool:
    """Not one of the blanks with which some upstreams fill their first and last chunks."""
    return value is False or value not in (None, "", 0, [], {})


def _begin(old: object, new: T) -> T:
    if old is not None:
        raise Unconvertible("a field that changes its type")
    return new


def _same(old: Any, new: Any) -> Any:
    if old and new and old != new:
        raise Unconvertible("two things under one index")
    return new or old
