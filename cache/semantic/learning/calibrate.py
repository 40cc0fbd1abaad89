"""From which similarity on reworded questions are served: what labels have proven, and no more. Sans-IO.

A label says whether the answer that was stored for one question would have been right for another. What is proven is
P(wrong | similarity ≥ edge, no veto), for what the calibrated tier is asked about: labels count that no veto met, that
no rule of the language licensed and that no other answer contested (`decide.GRAY` and `decide.AUDIT`). What has
witnesses, which may overrule a veto, is counted apart and has thresholds of its own, proven by labels of its like
alone. Labels of what was vetoed count towards no threshold, and tell how often the guard refuses in vain.

Edges are 0.02 apart. The threshold is the smallest whose upper bound on the share of wrong ones (Clopper–Pearson,
95 %) is at most the error that is allowed. Edge after edge is tested, from a high one down to the first that fails: a
fixed sequence of tests, of which all that pass hold together (W. Maurer, L. A. Hothorn, W. Lehmacher 1995), where
thirteen side by side would each have to hold with 99.6 %. There are two sequences, each with half of what may go wrong.
One begins where as many labels could prove it if all were right, the other where they could with two thirds of the
error that is allowed: a sequence that begins with few labels ends by chance at its first, one that waits for many opens
late.

While the tier serves, all below the threshold is labelled, and above it what is audited alone. So a label has a
`weight`, the number of questions that it stands for: it tells how large a part of the traffic its bin is, and how often
that bin is wrong all its labels tell alike. Of such a sample the bound is that of as many labels drawn evenly as would
say as much (E. L. Korn, B. I. Graubard 1998); where all weigh the same, these are the labels themselves.

Old labels lose weight, half of it every 20,000 requests. What was seen of late counts once more, by itself: edges above
which late labels prove that too much is wrong are passed over, so that a change is noticed that thousands of good old
labels would hide. A wrong audit is evaluated at once, and may only raise the threshold.

The state is a fold over the labels in their order, one at a time: who reads the same log has the same thresholds.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple, final

from cache.semantic.learning.bounds import beta_cdf, upper

__all__ = ["EDGES", "Calibration", "Estimate", "Seen", "Settings"]

EDGES: Final = tuple([round(0.75 + 0.02 * step, 2) for step in range(13)])
STARTS: Final = (0.0, 2 / 3)
"""Of the allowed error, what labels must be able to prove where a sequence begins."""
MAX_HALVINGS: Final = 40
VANISHED: Final = 1_000
GLOBAL: Final = ""
"""The group of what has no group of its own."""


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """`max_error_rate` of what the tier serves may be wrong. Numbers are of labels, half-lives of requests."""

    max_error_rate: float = 0.01
    error: float = 0.05
    """The probability with which a bound may not hold."""
    first: int = 400
    """Nothing is served before so many."""
    every: int = 50
    above: int = 80
    """An edge is not looked at before so many are above it."""
    half_life: float = 20_000.0
    late: float = 4_000.0
    """The half-life of what was seen of late."""
    groups: int = 256
    """That have thresholds of their own; what more there are counts for all alone."""


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


class Estimate(NamedTuple):
    """What is known of what is served from `threshold` on: the share that is wrong, and what it is at most (95 %)."""

    threshold: float
    labels: int
    wrong: float
    at_most: float
    vetoed: int
    vetoed_right: int
    """Of those, the guard refused these in vain."""


class _Sample(NamedTuple):
    """As many labels, drawn evenly, as would say as much, and how many of them are wrong."""

    total: float
    wrong: float


@final
class _Counts:
    """By bin: labels, wrong ones, and the questions that they stand for. New ones weigh ever more, which comes to the
    same as if the old ones weighed ever less. `_base`: the requests there had been when a label weighed 1.
    """

    __slots__ = ("_base", "_half_life", "_questions", "_total", "_wrong")

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._base = 0
        self._total = [0.0] * len(EDGES)
        self._wrong = [0.0] * len(EDGES)
        self._questions = [0.0] * len(EDGES)

    def add(self, seen: Seen, at: int) -> None:
        weight = self._weight(at)
        number = min(bisect_right(EDGES, seen.similarity), len(EDGES)) - 1
        self._total[number] += weight
        self._wrong[number] += 0.0 if seen.right else weight
        self._questions[number] += weight * seen.weight

    def above(self, at: int) -> list[_Sample]:
        """For each edge, what is known from it on."""
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
            samples.append(_Sample(even, even * wrong / questions if questions else 0.0))
        return samples[::-1]

    def _weight(self, at: int) -> float:
        """Of a label of now."""
        if at - self._base > self._half_life * MAX_HALVINGS:
            left = 0.5 ** min((at - self._base) / self._half_life, VANISHED)
            for counts in (self._total, self._wrong, self._questions):
                counts[:] = [count * left for count in counts]
            self._base = at
        return float(2 ** ((at - self._base) / self._half_life))


@final
class _Group:
    """`floor`: below it, what was seen of late is proof enough against serving."""

    __slots__ = ("all", "floor", "labels", "late", "threshold", "vetoed", "vetoed_right")

    def __init__(self, settings: Settings) -> None:
        self.all = _Counts(settings.half_life)
        self.late = _Counts(settings.late)
        self.labels = 0
        self.floor = 0.0
        self.threshold = inf
        self.vetoed = 0
        self.vetoed_right = 0


@final
class Calibration:
    """Thresholds by group, as the labels so far have them."""

    __slots__ = ("_groups", "_requests", "_settings", "_whole")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._whole = {witnessed: _Group(settings) for witnessed in (False, True)}
        self._groups: dict[tuple[str, bool], _Group] = {}
        self._requests = 0

    def __repr__(self) -> str:
        plain, witnessed = (f"{whole.threshold:.2f} of {whole.labels}" for whole in self._whole.values())
        return f"<Calibration {plain}, with witnesses {witnessed}, {len(self._groups)} groups>"

    def threshold(self, group: str = GLOBAL, *, witnessed: bool = False) -> float:
        """inf: nothing is served for its similarity. A group with few labels has the threshold of all."""
        whole = self._whole[witnessed]
        own = self._groups.get((group, witnessed), whole)
        if own.labels >= self._settings.first:
            return own.threshold
        return max(own.floor, whole.threshold)

    def add(self, seen: Seen) -> None:
        """The next label of the log."""
        self._requests += max(0, seen.requests)
        for group in self._counted(seen.group, seen.witnessed):
            if seen.vetoed:
                group.vetoed += 1
                group.vetoed_right += seen.right
            elif seen.similarity >= EDGES[0]:
                self._count(group, seen)

    def fold(self, labels: Iterable[Seen]) -> None:
        for seen in labels:
            self.add(seen)

    def estimate(self, group: str = GLOBAL, *, witnessed: bool = False) -> Estimate:
        """Of its own labels, if it has any."""
        own = self._groups.get((group, witnessed), self._whole[witnessed])
        threshold = self.threshold(group, witnessed=witnessed)
        above = [sample for edge, sample in zip(EDGES, own.all.above(self._requests), strict=True) if edge >= threshold]
        total, wrong = above[0] if above else _Sample(0.0, 0.0)
        rate = wrong / total if total else 0.0
        at_most = upper(wrong, total, self._settings.error) if total else 1.0
        return Estimate(threshold, own.labels, rate, at_most, own.vetoed, own.vetoed_right)

    def groups(self) -> list[str]:
        """That have labels of their own."""
        return sorted({name for name, _ in self._groups})

    def _counted(self, name: str, witnessed: bool) -> list[_Group]:  # noqa: FBT001
        """Which count it: its own, if there may be one, and that of all."""
        whole = self._whole[witnessed]
        if name == GLOBAL:
            return [whole]
        own = self._groups.get((name, witnessed))
        if own is None:
            if len(self._groups) >= self._settings.groups:
                return [whole]
            own = self._groups[name, witnessed] = _Group(self._settings)
        return [whole, own]

    def _count(self, group: _Group, seen: Seen) -> None:
        group.all.add(seen, self._requests)
        group.late.add(seen, self._requests)
        group.labels += 1
        if group.labels % self._settings.every == 0:
            group.floor = self._floor(group)
            group.threshold = self._proven(group)
        elif seen.audited and not seen.right:
            group.floor = max(group.floor, self._floor(group))
            group.threshold = max(group.threshold, self._proven(group))

    def _proven(self, group: _Group) -> float:
        """The lowest edge that a sequence has proven, inf for none."""
        if group.labels < self._settings.first:
            return inf
        samples = [*zip(EDGES, group.all.above(self._requests), strict=True)]
        return min(self._sequence(samples, group.floor, start) for start in STARTS)

    def _sequence(self, samples: Sequence[tuple[float, _Sample]], floor: float, start: float) -> float:
        allowed, error = self._settings.max_error_rate, self._settings.error / len(STARTS)
        proven = inf
        begun = False
        for edge, (total, wrong) in reversed(samples):
            begun = begun or _is_at_most(allowed, start * allowed * total, total, error)
            if total < self._settings.above or not begun:
                continue
            if edge < floor or not _is_at_most(allowed, wrong, total, error):
                break
            proven = edge
        return proven

    def _floor(self, group: _Group) -> float:
        """The lowest edge above all those that late labels speak against; 0 where there are none."""
        floor = 0.0
        for (total, wrong), above in zip(group.late.above(self._requests), [*EDGES[1:], inf], strict=True):
            if _is_above(self._settings.max_error_rate, wrong, total, self._settings.error):
                floor = above
        return floor


def _is_at_most(allowed: float, wrong: float, total: float, error: float) -> bool:
    """The upper bound of the share of wrong ones is not above what is allowed."""
    return wrong < total and beta_cdf(allowed, wrong + 1, total - wrong) >= 1 - error


def _is_above(allowed: float, wrong: float, total: float, error: float) -> bool:
    """The lower bound of the share of wrong ones is above what is allowed."""
    return wrong > 0 and beta_cdf(allowed, wrong, total - wrong + 1) < error
