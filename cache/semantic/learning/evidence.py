"""Labels by bins of similarity: what they say from each edge on, of one party or of many. Sans-IO.

A party is who feeds labels: a team, a key, or whoever gets in where nobody is told apart. Labels come from what clients
ask, so that one of them can make as many good ones as it likes. Of one party's labels nobody but itself is served; of
what many have fed, that which would still be said if any minority of them had fed nothing that is right.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from heapq import nlargest
from itertools import accumulate
from operator import sub
from typing import Final, NamedTuple, Protocol, final

__all__ = ["EDGES", "NOBODY", "Counts", "Evidence", "Party", "Pooled", "Sample", "Seen"]

EDGES: Final = tuple([round(0.75 + 0.02 * step, 2) for step in range(13)])
MAX_HALVINGS: Final = 40
VANISHED: Final = 1_000
PARTIES: Final = 3
"""Without so many, what is pooled says nothing."""
MOST_PARTIES: Final = 256
REST: Final = ""
"""All parties that there is no room for: they count as one."""


class Party(NamedTuple):
    """`vouched`: the operator has said that it is one, so that nobody makes himself many."""

    name: str = ""
    vouched: bool = False


NOBODY: Final = Party()
"""In particular."""


class Seen(NamedTuple):
    """What a label says to a threshold. `weight` questions were as this one, and one of them was drawn to be labelled:
    1, or for an audit the inverse of its share. `requests` is the number of requests since the label before it.
    """

    group: str
    similarity: float
    right: bool
    audited: bool = False
    vetoed: bool = False
    weight: float = 1.0
    requests: int = 1
    witnessed: bool = False
    party: Party = NOBODY
    """That asked."""


class Sample(NamedTuple):
    """As many labels, drawn evenly, as would say as much, and how many of them are wrong."""

    total: float
    wrong: float


class Evidence(Protocol):
    """New labels weigh ever more, which comes to the same as if the old ones weighed ever less. `at` is the number of
    requests there have been.
    """

    @property
    def proving(self) -> int:
        """Labels that there are to prove something with."""

    def add(self, seen: Seen, at: int) -> None: ...

    def above(self, at: int) -> Sequence[Sample]:
        """For each edge, what is known from it on."""


@final
class _Age:
    """`_base`: the requests there had been when a label weighed 1."""

    __slots__ = ("_base", "_half_life")

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._base = 0

    def weight(self, at: int, *kept: list[float]) -> float:
        """Of a label of now. What is `kept` is brought down where the weight has grown too large."""
        if at - self._base > self._half_life * MAX_HALVINGS:
            left = 0.5 ** min((at - self._base) / self._half_life, VANISHED)
            for counts in kept:
                counts[:] = [count * left for count in counts]
            self._base = at
        return float(2 ** ((at - self._base) / self._half_life))


@final
class Counts:
    """Of one party: labels, wrong ones, and the questions that they stand for."""

    __slots__ = ("_age", "_questions", "_total", "_wrong", "proving")

    def __init__(self, half_life: float) -> None:
        self.proving = 0
        self._age = _Age(half_life)
        self._total = _zeros()
        self._wrong = _zeros()
        self._questions = _zeros()

    def __repr__(self) -> str:
        return f"<Counts of {self.proving}>"

    def add(self, seen: Seen, at: int) -> None:
        weight = self._weight(at)
        number = _bin(seen.similarity)
        self.proving += 1
        self._total[number] += weight
        self._wrong[number] += 0.0 if seen.right else weight
        self._questions[number] += weight * seen.weight

    def above(self, at: int) -> Sequence[Sample]:
        samples = []
        now = self._weight(at)
        questions = wrong = spread = 0.0
        for total, bad, stood in zip(
            reversed(self._total), reversed(self._wrong), reversed(self._questions), strict=True
        ):
            if total > 0:
                questions += stood
                wrong += stood * bad / total
                spread += stood * stood / total
            even = questions * questions / spread / now if spread else 0.0
            samples.append(Sample(even, even * wrong / questions if questions else 0.0))
        return samples[::-1]

    def _weight(self, at: int) -> float:
        return self._age.weight(at, self._total, self._wrong, self._questions)


@final
class Pooled:
    """Of many parties: from each edge on, without the right labels of the ones that have most of them there, less than
    half of all.

    So what it says would be said without any of these. Wrong labels count whosesoever they are. All weigh alike:
    an edge is looked at after those above it were found good, so that the few audits there are hidden by nothing below.
    Who is not vouched for is heard when something is wrong, and is no party.
    """

    __slots__ = ("_age", "_labels", "_right", "_total", "_wrong")

    def __init__(self, half_life: float) -> None:
        self._age = _Age(half_life)
        self._total = _zeros()
        self._wrong = _zeros()
        self._right: dict[str, list[float]] = {}
        """By party."""
        self._labels: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Pooled {self._labels.total()} of {len(self._labels)} parties>"

    @property
    def proving(self) -> int:
        """Without those of the parties that have most."""
        if len(self._labels) < PARTIES:
            return 0
        return self._labels.total() - sum(nlargest(self._colluding, self._labels.values()))

    def add(self, seen: Seen, at: int) -> None:
        weight = self._weight(at)
        number = _bin(seen.similarity)
        if seen.party.vouched:
            name = seen.party.name if seen.party.name in self._right or len(self._right) < MOST_PARTIES else REST
            right = self._right.setdefault(name, _zeros())
            self._labels[name] += 1
            right[number] += weight if seen.right else 0.0
        elif seen.right:
            return
        self._total[number] += weight
        self._wrong[number] += 0.0 if seen.right else weight

    def above(self, at: int) -> Sequence[Sample]:
        now = self._weight(at)
        sums = [[*accumulate(reversed(right))] for right in self._right.values()]
        most = [sum(nlargest(self._colluding, each)) for each in zip(_zeros(), *sums, strict=True)]
        totals = map(sub, accumulate(reversed(self._total)), most)
        wrong = accumulate(reversed(self._wrong))
        # Sums that are taken in another order may differ by a hair.
        samples = [Sample(max(total, bad) / now, bad / now) for total, bad in zip(totals, wrong, strict=True)]
        return samples[::-1]

    @property
    def _colluding(self) -> int:
        """Parties that may be in league: less than half of them."""
        return max(1, (len(self._labels) - 1) // 2)

    def _weight(self, at: int) -> float:
        return self._age.weight(at, self._total, self._wrong, *self._right.values())


def _zeros() -> list[float]:
    return [0.0] * len(EDGES)


def _bin(similarity: float) -> int:
    return min(bisect_right(EDGES, similarity), len(EDGES)) - 1
