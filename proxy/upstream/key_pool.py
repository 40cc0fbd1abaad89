"""Several API keys of one upstream: which is used next, and which rest. Sans-IO.

Upstreams limit by key and model, so a key that met a limit rests for that model alone.

What a client sent may be why a key was refused, and then every other is refused alike. So a refusal makes a key rest
only once another has answered the same request: for the model, or for all of them, each time twice as long, until it
has worked once. Until then the key is in doubt, and taken last; not at all, if it has rested for all and not worked
since. Once another is refused for the same request, neither is in doubt.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ldexp
from typing import Final, final

__all__ = ["KeyPool", "Refusal"]

MAX_RESTS: Final = 1_024
"""Pairs of key and model that are remembered. Clients choose models; the oldest pairs go."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Of one request, with one key. If it was the key's, that rests for so many `seconds`."""

    keys: "KeyPool"
    index: int
    model: str | None
    """None: for all of them."""
    seconds: float


@final
class KeyPool:
    """`clock` is monotonic. No key rests for more than `longest` seconds. Those that rest in `before` rest here too."""

    __slots__ = ("_clock", "_doubted", "_keys", "_longest", "_next", "_refusals", "_rests", "_suspended", "_until")

    def __init__(
        self, keys: Sequence[str], clock: Callable[[], float], *, longest: float, before: "KeyPool | None" = None
    ) -> None:
        if not keys:
            raise ValueError("a pool needs a key")
        self._keys = tuple(key.encode() for key in keys)
        self._clock = clock
        self._longest = longest
        self._next = 0
        self._rests: dict[tuple[int, str], float] = {}
        self._suspended = [0.0] * len(keys)
        self._refusals = [0] * len(keys)
        self._doubted = [0.0] * len(keys)
        """Until when each is taken last."""
        self._until = 0.0
        """When the last of them has rested, and is in doubt no more; 0 while none is."""
        if before is not None:
            self._follow(before)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        now = self._clock()
        suspended = sum([until > now for until in self._suspended])
        resting = sum([until > now for until in self._rests.values()])
        doubted = sum([until > now for until in self._doubted])
        return f"<KeyPool {len(self)} keys, {suspended} suspended, {resting} resting, {doubted} in doubt>"

    @property
    def resting(self) -> int:
        """Keys that are not used now, for one model at least."""
        now = self._clock()
        resting = {index for (index, _), until in self._rests.items() if until > now}
        return len(resting | {index for index in range(len(self)) if self._left_out(index) > now})

    def holds(self, keys: Sequence[str]) -> bool:
        """These and no others, in this order."""
        return self._keys == tuple(key.encode() for key in keys)

    def key(self, index: int) -> bytes:
        return self._keys[index]

    def pick(self, model: str, refusals: Collection[Refusal] = ()) -> int | None:
        """The index of a key that may be used for the model now, by a request that met these refusals.

        None: `left` says when, or every key that may be used has refused it.
        """
        index = self._next
        if refusals or (self._until and not self._all_rested()):
            found = self._usable(index, model, refusals)
            if found is None:
                return None
            index = found
        self._next = index + 1 if index + 1 < len(self._keys) else 0
        return index

    def has_key(self, model: str, refusals: Collection[Refusal]) -> bool:
        """`pick` would find one."""
        return self._usable(self._next, model, refusals) is not None

    def rest(self, index: int, model: str, seconds: float) -> None:
        """The key met a limit of the model."""
        pair = (index, model)
        until = max(self._clock() + min(seconds, self._longest), self._rests.pop(pair, 0.0))
        self._rests[pair] = until
        if len(self._rests) > MAX_RESTS:
            del self._rests[next(iter(self._rests))]
        self._until = max(self._until, until)

    def refused(
        self, index: int, model: str | None, seconds: float, before: Collection[Refusal]
    ) -> tuple[Refusal, ...]:
        """What a request has met that met those `before`, and was refused with this key now."""
        others = self._that_met(before)
        for each in others:
            self._doubted[each] = 0.0
        if not others:
            self._doubted[index] = until = self._clock() + min(seconds, self._longest)
            self._until = max(self._until, until)
        return (*before, Refusal(self, index, model, seconds))

    def blame(self, refusals: Collection[Refusal]) -> None:
        """Of a request that another key has had answered."""
        for each in refusals:
            if each.keys is not self:
                continue
            self._doubted[each.index] = 0.0
            if each.model is None:
                self.suspend(each.index, each.seconds)
            else:
                self.rest(each.index, each.model, each.seconds)

    def suspend(self, index: int, seconds: float) -> None:
        """The key is not accepted. What was sent before it was suspended is refused as well, and counts no more."""
        now = self._clock()
        if self._suspended[index] > now:
            return
        until = now + min(ldexp(seconds, min(self._refusals[index], 64)), self._longest)
        self._refusals[index] += 1
        self._suspended[index] = until
        self._until = max(self._until, until)

    def works(self, index: int) -> None:
        """The key was not refused."""
        if self._refusals[index] or self._doubted[index]:
            self._refusals[index] = 0
            self._suspended[index] = self._doubted[index] = 0.0

    def left(self, model: str) -> float:
        """Seconds until a key may be used for the model: 0 for now."""
        if not self._until or self._all_rested():
            return 0.0
        first = min([self._ends(index, model) for index in range(len(self._keys))])
        return max(0.0, first - self._clock())

    def known(self, key: bytes) -> tuple[float, int, dict[str, float]]:
        """Until when it is suspended, after how many refusals, and until when it rests for which models."""
        if key not in self._keys:
            return 0.0, 0, {}
        index = self._keys.index(key)
        rests = {model: until for (of, model), until in self._rests.items() if of == index}
        return self._suspended[index], self._refusals[index], rests

    def _follow(self, before: "KeyPool") -> None:
        for index, key in enumerate(self._keys):
            self._suspended[index], self._refusals[index], rests = before.known(key)
            self._rests.update({(index, model): until for model, until in rests.items()})
        self._until = max([*self._suspended, *self._rests.values()])

    def _all_rested(self) -> bool:
        if self._until > self._clock():
            return False
        self._rests.clear()
        self._until = 0.0
        return True

    def _usable(self, index: int, model: str, refusals: Collection[Refusal]) -> int | None:
        """The first in turn, those in doubt after the others."""
        now, count, refused = self._clock(), len(self._keys), self._that_met(refusals)
        turns = ((index + step) % count for step in range(count))
        usable = [turn for turn in turns if turn not in refused and self._ends(turn, model) <= now]
        return min(usable, key=lambda turn: self._doubted[turn] > now, default=None)

    def _that_met(self, refusals: Collection[Refusal]) -> list[int]:
        return [refusal.index for refusal in refusals if refusal.keys is self]

    def _ends(self, index: int, model: str) -> float:
        return max(self._left_out(index), self._rests.get((index, model), 0.0))

    def _left_out(self, index: int) -> float:
        """Until when, for all models."""
        return max(self._suspended[index], self._doubted[index]) if self._refusals[index] else 0.0
