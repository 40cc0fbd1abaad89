"""Which of several interchangeable upstreams is asked first, and which after it. Sans-IO."""

import enum
from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import exp, inf, log
from typing import Final, Protocol, TypeVar, assert_never, final

__all__ = ["Candidate", "PeakEwma", "Strategy", "order"]

UNTRIED: Final = 1e9
"""What an upstream costs that nobody knows, while the first that was sent there is not back."""
SLOWLY: Final = 6


class Strategy(enum.Enum):
    PRIORITY = "priority"
    WEIGHTED = "weighted"
    LEAST_BUSY = "least_busy"
    FASTEST = "fastest"


@final
class PeakEwma:
    """A mean of latencies that rises at once and falls by e in `decay` seconds, as in Finagle's P2CPeakEwma.

    An upstream that has been slow costs less and less until somebody tries it. While something is out to it, it is
    forgotten more slowly, and one of which nothing is known costs most of all: one tries, and the others wait for
    what that one learns.
    """

    __slots__ = ("_at", "_clock", "_decay", "_level")

    def __init__(self, clock: Callable[[], float], decay: float = 10.0) -> None:
        self._clock = clock
        self._decay = decay
        self._level = -1.0
        self._at = 0.0

    def __repr__(self) -> str:
        return "<PeakEwma untried>" if self._level < 0 else f"<PeakEwma {self._level:.3f} s>"

    def observe(self, seconds: float) -> None:
        now = self._clock()
        level = self._level
        if seconds < level:
            seconds += (level - seconds) * exp((self._at - now) / self._decay)
        self._level = seconds
        self._at = now

    def cost(self, busy: int) -> float:
        """Seconds that one more would take, with `busy` out."""
        if self._level < 0:
            return UNTRIED + busy if busy else 0.0
        decay = self._decay * SLOWLY if busy else self._decay
        return self._level * exp((self._at - self._clock()) / decay) * (busy + 1)


class Candidate(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def weight(self) -> float:
        """0: only where no other is left."""

    @property
    def busy(self) -> int:
        """Requests that are out to it."""

    @property
    def latency(self) -> PeakEwma: ...


C = TypeVar("C", bound=Candidate)


def order(strategy: Strategy, candidates: Sequence[C], draw: Callable[[], float], sticky: bytes = b"") -> Sequence[C]:
    """All of them, each once. `draw` is uniform in [0, 1). The same `sticky` value gives the same order."""
    if len(candidates) < 2 or strategy is Strategy.PRIORITY:
        return candidates
    if sticky:
        return sorted(candidates, key=lambda each: _share(each, _hashed(each.name, sticky)))
    match strategy:
        case Strategy.WEIGHTED:
            return sorted(candidates, key=lambda each: _share(each, draw()))
        case Strategy.LEAST_BUSY:
            return sorted(candidates, key=lambda each: (_weighed(each, each.busy), _share(each, draw())))
        case Strategy.FASTEST:
            return _of_two(candidates, draw)
        case _:
            assert_never(strategy)


def _weighed(candidate: Candidate, cost: float) -> float:
    return cost / candidate.weight if candidate.weight > 0 else inf


def _share(candidate: Candidate, uniform: float) -> tuple[float, float]:
    """The smallest comes first, as often as its weight says (Efraimidis and Spirakis, 2006).

    With a hash for the draw it is weighted rendezvous hashing: who comes or goes moves only its own share.
    """
    return _weighed(candidate, -log(1.0 - uniform)), uniform


def _hashed(name: str, sticky: bytes) -> float:
    """Uniform in [0, 1), and the same in every process."""
    digest = blake2b(b"%b\0%b" % (name.encode(), sticky), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def _of_two(candidates: Sequence[C], draw: Callable[[], float]) -> Sequence[C]:
    """The cheaper of two drawn ones, so that not all go where it was cheapest; then the others by cost."""
    if len(candidates) == 2:
        one, other = candidates
        cost, others = one.latency.cost(one.busy), other.latency.cost(other.busy)
        if one.weight != other.weight:
            cost, others = _weighed(one, cost), _weighed(other, others)
        return (other, one) if cost > others else candidates
    return _of_many(candidates, draw)


def _of_many(candidates: Sequence[C], draw: Callable[[], float]) -> list[C]:
    costs = [_weighed(each, each.latency.cost(each.busy)) for each in candidates]
    places = sorted(range(len(candidates)), key=costs.__getitem__)
    usable = sum([cost < inf for cost in costs])
    if usable > 2:
        first, second = int(draw() * usable), int(draw() * (usable - 1))
        # From `first` on, `second` means the next place: that is the dearer one, and need not be known.
        places.insert(0, places.pop(min(first, second)))
    return [candidates[place] for place in places]
