"""Which entries a purge or a listing means. Sans-IO."""

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final, NamedTuple, Protocol, final

from cache.directives import TAG

__all__ = ["BadSelector", "Meant", "Purges", "Selector"]

MAX_TEXT: Final = 512
MAX_SECONDS: Final = 1e10
TEXTS: Final = frozenset(["key", "tag", "model", "team", "endpoint", "scope"])
DIGEST: Final = re.compile("[0-9a-f]{64}")
FORMS: Final = {
    "key": (DIGEST, "64 hexadecimal digits, lower case"),
    "scope": (DIGEST, "64 hexadecimal digits, lower case"),
    "tag": (TAG, "a tag that an answer can have"),
    "model": (re.compile(r"[^*?]+"), "a name, not a pattern"),
}
"""A condition that no entry could meet would look like one that was met."""
SECONDS: Final = frozenset(["older_than", "before"])


@final
class BadSelector(ValueError):
    """`field` says what can't be understood: the name of a field, or "selector" if it is none of them."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class Meant(Protocol):
    """What a selector looks at: of an entry, or of whatever else is somebody's."""

    @property
    def key(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def model(self) -> str: ...
    @property
    def served_model(self) -> str: ...
    @property
    def team(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def created(self) -> float: ...


@final
@dataclass(frozen=True, slots=True)
class Selector:
    """Entries that meet every condition that is given. Without any it means no entry at all.

    `model` is the one asked for or the one that answered. `older_than` is in seconds. `before` is no condition
    but the moment at which the others were said, in seconds since the epoch: what was made later is not meant.
    """

    key: str | None = None
    tag: str | None = None
    model: str | None = None
    team: str | None = None
    endpoint: str | None = None
    scope: str | None = None
    older_than: float | None = None
    all: bool = False
    before: float | None = None

    @property
    def empty(self) -> bool:
        conditions = (self.all, self.key, self.tag, self.model, self.team, self.endpoint, self.scope)
        return self.older_than is None and not any(conditions)

    def matches(self, meta: Meant, now: float) -> bool:
        said = now if self.before is None else self.before
        return (
            meta.created <= said
            and (self.key is None or self.key == meta.key)
            and (self.tag is None or self.tag in meta.tags)
            and (self.model is None or self.model in (meta.model, meta.served_model))
            and (self.team is None or self.team == meta.team)
            and (self.endpoint is None or self.endpoint == meta.endpoint)
            and (self.scope is None or self.scope == meta.scope)
            and (self.older_than is None or said - meta.created >= self.older_than)
            and not self.empty
        )

    def may_mean(self, created: float, now: float) -> bool:
        """What was made then, and does not say whose it is. A key is that of one answer, and means nothing else."""
        said = now if self.before is None else self.before
        old = self.older_than is None or said - created >= self.older_than
        return self.key is None and created <= said and old and not self.empty

    def here(self, now: float, youngest: float = math.inf) -> "Selector":
        """For what is stored already, of which nothing was made after `youngest`.

        A purge that is said now means it, though its maker's clock may be ahead, or this one has been set back.
        """
        return replace(self, before=now if self.older_than is not None else youngest)

    def as_dict(self) -> dict[str, str | float | bool]:
        """The fields that are given, fit for JSON."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in given.items() if value is not None and value is not False}

    @classmethod
    def from_dict(cls, given: object) -> "Selector":
        """Raises BadSelector for anything that `as_dict` would not say, other than `null` and `all: false`."""
        if not isinstance(given, Mapping):
            raise BadSelector("selector", "is no object")
        known = {name: _checked(name, value) for name, value in given.items() if value is not None}
        return cls(**known)  # type: ignore[arg-type]


def _checked(name: object, value: object) -> str | float | bool:
    if name in TEXTS:
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
            raise BadSelector(str(name), f"must be a text of 1 to {MAX_TEXT} characters")
        form, meant = FORMS.get(str(name), (None, ""))
        if form is not None and not form.fullmatch(value):
            raise BadSelector(str(name), f"must be {meant}")
        return value
    if name in SECONDS:
        if type(value) not in (int, float) or not 0 <= value < MAX_SECONDS:  # type: ignore[operator]
            raise BadSelector(str(name), "must be a number of seconds, 0 or more")
        return float(value)  # type: ignore[arg-type]
    if name != "all":
        raise BadSelector("selector", "has a field that is none of its own")
    if type(value) is not bool:
        raise BadSelector("all", "must be true or false")
    return value


class _Said(NamedTuple):
    heard: float
    before: float
    selector: Selector


@final
class Purges:
    """What was purged lately: an answer that was begun before a purge and arrives behind it must stay out.

    Remembered for `seconds`, the longest that an answer may take, and at most `limit` at a time. Where more
    were said, all entries older than the one that is forgotten stay out: answers are asked for again, none is
    kept that should be gone.
    """

    __slots__ = ("_latest", "_limit", "_said", "_seconds", "count")

    def __init__(self, seconds: float = 3_600.0, limit: int = 256) -> None:
        self._seconds = seconds
        self._limit = max(2, limit)
        self._said: deque[_Said] = deque()
        self._latest = -math.inf
        self.count = 0
        """How many there ever were: what was begun at another count is from before a purge."""

    def __len__(self) -> int:
        return len(self._said)

    def add(self, selector: Selector, now: float) -> Selector:
        """Returns the selector as of now, which is the one to purge by."""
        before = now if selector.before is None else min(selector.before, now)
        selector = replace(selector, before=before)
        if selector.empty:
            return selector
        self.count += 1
        self._forget(now)
        if len(self._said) >= self._limit:
            older = max(self._said.popleft().before, self._said.popleft().before)
            self._said.appendleft(_Said(now, older, Selector(all=True, before=older)))
        self._said.append(_Said(now, before, selector))
        self._latest = max(self._latest, before)
        return selector

    def forbid(self, meta: Meant, now: float) -> bool:
        """The entry was purged before it came."""
        if meta.created > self._latest:
            return False
        self._forget(now)
        return any(said.selector.matches(meta, now) for said in self._said)

    def _forget(self, now: float) -> None:
        while self._said and self._said[0].heard < now - self._seconds:
            self._said.popleft()
        if not self._said:
            self._latest = -math.inf
