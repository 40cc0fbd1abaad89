"""Several API keys of one upstream: which is used next, and which rest. Sans-IO.

Upstreams limit by key and model, so a key that met a limit rests for that model alone.

What a client sent may be why a key was refused, and then every other is refused alike. So a refusal makes a key rest
only once another has answered the same request: for the model, or for all of them, each time twice as long, until it
has worked once. Until another has answered or refused it, a key that has rested for all and not worked since is let
alone.

A key that was refused is in doubt until it works, whatever becomes of others: it is taken last, and of several that
are, the one that worked last. So that one that has been mended is found, one in doubt goes first once a second.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import inf, ldexp
from typing import Final, NamedTuple, final

__all__ = ["KeyPool", "Refusal"]

TRIED: Final = 1.0
"""Seconds between two requests that are sent to find out whether a key, or all of them, work again."""
IN_A_ROW: Final = 5
"""Refusals after which an upstream with these keys gives way to others."""
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
    tried: bool = False
    """The key was in doubt, and went first to find out."""


class Known(NamedTuple):
    """What there is to say of a key, as the attributes of a pool are called."""

    suspended: float
    refusals: int
    worked: int
    limited: bool
    doubted: bool
    model: str | None
    """For which it is in doubt."""
    rests: dict[str, float]


@final
class KeyPool:
    """`clock` is monotonic. No key rests for more than `longest` seconds. Those that rest in `before` rest here too."""

    __slots__ = (
        *("_answers", "_asked_at", "_clock", "_doubts", "_in_a_row", "_keys", "_let_alone", "_limited", "_longest"),
        *("_next", "_next_tried", "_open", "_refusals", "_rests", "_suspended", "_tried_at", "_trying", "_until"),
        "_worked",
    )

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
        self._open = [0.0] * len(keys)
        """Until when nobody knows whether a refusal was for the key: no other has had that request yet."""
        self._let_alone = [0.0] * len(keys)
        """Until when none of these goes first; not as long as it is open, for its request may never come to an end."""
        self._doubts: dict[int, str | None] = {}
        """Those that were refused and have not worked since, and for which model; None for all."""
        self._answers = 0
        self._worked = [0] * len(keys)
        """Of the answers, the last that each had; 0 for none."""
        self._limited: set[int] = set()
        """Those that met a limit, and have not worked since."""
        self._next_tried = 0
        self._tried_at = -inf
        self._trying: int | None = None
        """In doubt, and sent first: what comes of it is not known yet."""
        self._in_a_row = 0
        self._asked_at = -inf
        self._until = 0.0
        """When the last of them has rested; 0 while none does."""
        if before is not None:
            self._follow(before)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        now = self._clock()
        suspended = sum([until > now for until in self._suspended])
        resting = sum([until > now for until in self._rests.values()])
        counts = f"{suspended} suspended, {resting} resting, {len(self._doubts)} in doubt"
        return f"<KeyPool {len(self)} keys, {counts}>"

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
        if refusals or self._doubts or (self._until and not self._all_rested()):
            found = self._usable(index, model, refusals)
            if found is None:
                return None
            index = found if refusals or not self._doubts else self._try_first(found, model)
        self._next = index + 1 if index + 1 < len(self._keys) else 0
        return index

    def has_key(self, model: str, refusals: Collection[Refusal]) -> bool:
        """`pick` would find one."""
        return self._usable(self._next, model, refusals) is not None

    def spares(self, model: str, refusals: Collection[Refusal]) -> bool:
        """It would find one against which nothing speaks, or the last was tried for the sake of others.

        That one may be sent is no burden: keys that are refused or limited are soon known, and spare no more.
        """
        if any(refusal.tried and refusal.keys is self for refusal in [*refusals][-1:]):
            return True
        now, refused = self._clock(), self._that_met(refusals)
        spare = set(range(len(self._keys))).difference(refused, self._doubts, self._limited)
        return any(self._ends(index, model) <= now for index in spare)

    def gives_way(self) -> bool:
        """All were refused, again and again: the upstream is asked once a second where another may be, and not now."""
        if self._in_a_row < IN_A_ROW or len(self._doubts) < len(self._keys):
            return False
        now = self._clock()
        if now - self._asked_at < TRIED:
            return True
        self._asked_at = now
        return False

    def rest(self, index: int, model: str, seconds: float) -> None:
        """The key met a limit of the model."""
        pair = (index, model)
        until = max(self._clock() + min(seconds, self._longest), self._rests.pop(pair, 0.0))
        self._limited.add(index)
        self._rests[pair] = until
        if len(self._rests) > MAX_RESTS:
            del self._rests[next(iter(self._rests))]
        self._until = max(self._until, until)

    def refused(
        self, index: int, model: str | None, seconds: float, before: Collection[Refusal]
    ) -> tuple[Refusal, ...]:
        """What a request has met that met those `before`, and was refused with this key now."""
        others, now, tried = self._that_met(before), self._clock(), self._trying == index
        if model is None:
            self._in_a_row += 1
            if self._in_a_row == IN_A_ROW:
                self._asked_at = now
        self._doubts[index] = model
        if len(self._keys) == 1:
            # Whoever asks again is sent with it again.
            return (*before,)
        if tried:
            self._trying = None
        for each in others:
            self._open[each] = self._let_alone[each] = 0.0
        if not others:
            self._open[index] = until = now + min(seconds, self._longest)
            self._let_alone[index] = now + TRIED
            self._until = max(self._until, until)
        return (*before, Refusal(self, index, model, seconds, tried))

    def blame(self, refusals: Collection[Refusal]) -> None:
        """Of a request that another key has had answered."""
        for each in refusals:
            if each.keys is not self:
                continue
            self._open[each.index] = 0.0
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
        self._answers = self._worked[index] = self._answers + 1
        self._in_a_row = 0
        if index in self._doubts:
            del self._doubts[index]
            self._trying = None if self._trying == index else self._trying
            self._open[index] = self._let_alone[index] = 0.0
        if self._limited:
            self._limited.discard(index)
        if self._refusals[index]:
            self._refusals[index] = 0
            self._suspended[index] = 0.0

    def left(self, model: str) -> float:
        """Seconds until a key may be used for the model: 0 for now."""
        if not self._until or self._all_rested():
            return 0.0
        first = min([self._ends(index, model) for index in range(len(self._keys))])
        return max(0.0, first - self._clock())

    def known(self, key: bytes) -> "Known | None":
        if key not in self._keys:
            return None
        index = self._keys.index(key)
        return Known(
            self._suspended[index],
            self._refusals[index],
            self._worked[index],
            index in self._limited,
            index in self._doubts,
            self._doubts.get(index),
            {model: until for (of, model), until in self._rests.items() if of == index},
        )

    def _follow(self, before: "KeyPool") -> None:
        for index, key in enumerate(self._keys):
            known = before.known(key)
            if known is None:
                continue
            self._suspended[index], self._refusals[index], self._worked[index] = known[:3]
            if known.limited:
                self._limited.add(index)
            if known.doubted:
                self._doubts[index] = known.model
            self._rests.update({(index, model): until for model, until in known.rests.items()})
        self._answers = max(self._worked)
        self._until = max([*self._suspended, *self._rests.values()])

    def _all_rested(self) -> bool:
        if self._until > self._clock():
            return False
        self._rests.clear()
        self._until = 0.0
        return True

    def _usable(self, index: int, model: str, refusals: Collection[Refusal]) -> int | None:
        """The first in turn, those in doubt after the others."""
        now, refused = self._clock(), self._that_met(refusals)
        usable = [turn for turn in self._turns(index) if turn not in refused and self._ends(turn, model) <= now]
        return min(usable, key=lambda turn: self._rank(turn, model), default=None)

    def _rank(self, index: int, model: str) -> tuple[int, int]:
        """The lower, the sooner it is taken."""
        if index not in self._doubts:
            return 0, 0
        # What was refused for another model alone says little of this one.
        return 1 if self._doubts[index] not in (None, model) else 2, -self._worked[index]

    def _try_first(self, found: int, model: str) -> int:
        """In the place of the one that was found, one in doubt if it is time to."""
        now = self._clock()
        # As long as none has worked, they take turns anyway.
        if now - self._tried_at < TRIED or (found in self._doubts and not self._worked[found]):
            return found
        for index in self._turns(self._next_tried):
            usable = self._let_alone[index] <= now and self._ends(index, model) <= now
            if usable and index in self._doubts and index != found:
                self._tried_at, self._trying, self._next_tried = now, index, index + 1
                return index
        return found

    def _turns(self, first: int) -> Iterable[int]:
        count = len(self._keys)
        return ((first + step) % count for step in range(count))

    def _that_met(self, refusals: Collection[Refusal]) -> list[int]:
        return [refusal.index for refusal in refusals if refusal.keys is self]

    def _ends(self, index: int, model: str) -> float:
        return max(self._left_out(index), self._rests.get((index, model), 0.0))

    def _left_out(self, index: int) -> float:
        """Until when, for all models."""
        return max(self._suspended[index], self._open[index]) if self._refusals[index] else 0.0
