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

A party is served by what its own labels prove, and while they are few, by what those of all prove without a minority of
them (`evidence.Pooled`): no client can feed what opens the tier for another. Who is not vouched for, and so may be
many, feeds only itself.

The state is a fold over the labels in their order, one at a time: who reads the same log has the same thresholds.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple, final

from cache.semantic.learning.bounds import beta_cdf, upper
from cache.semantic.learning.evidence import EDGES, NOBODY, Counts, Evidence, Party, Pooled, Sample, Seen

__all__ = ["EDGES", "Calibration", "Estimate", "Party", "Seen", "Settings"]

STARTS: Final = (0.0, 2 / 3)
"""Of the allowed error, what labels must be able to prove where a sequence begins."""
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
    """That have thresholds of their own; what more there are counts for its party alone."""
    parties: int = 256
    """That have such. Of more, those stay that have fed most; labels of the others count for what is pooled alone."""
    groups_each: int = 16
    """Of one party."""


class Estimate(NamedTuple):
    """What is known of what is served from `threshold` on: the share that is wrong, and what it is at most (95 %)."""

    threshold: float
    labels: int
    wrong: float
    at_most: float
    vetoed: int
    vetoed_right: int
    """Of those, the guard refused these in vain."""


@final
class _Group:
    """`floor`: below it, what was seen of late is proof enough against serving."""

    __slots__ = ("all", "floor", "labels", "late", "threshold", "vetoed", "vetoed_right")

    def __init__(self, settings: Settings, *, pooled: bool = False) -> None:
        self.all: Evidence = Pooled(settings.half_life) if pooled else Counts(settings.half_life)
        self.late: Evidence = Pooled(settings.late) if pooled else Counts(settings.late)
        self.labels = 0
        self.floor = 0.0
        self.threshold = inf
        self.vetoed = 0
        self.vetoed_right = 0


@final
class _Known:
    """What the labels of one party say: of each model, and of all."""

    __slots__ = ("groups", "whole")

    def __init__(self, settings: Settings) -> None:
        self.whole = {witnessed: _Group(settings) for witnessed in (False, True)}
        self.groups: dict[tuple[str, bool], _Group] = {}

    @property
    def labels(self) -> int:
        return sum(group.labels for group in self.whole.values())


@final
class Calibration:
    """Thresholds by party and group, as the labels so far have them.

    `heard`: what is wrong counts in what is pooled even where its party is not vouched for.
    """

    __slots__ = ("_groups", "_heard", "_known", "_pool", "_requests", "_settings")

    def __init__(self, settings: Settings, *, heard: bool = False) -> None:
        self._settings = settings
        self._heard = heard
        self._pool = {witnessed: _Group(settings, pooled=True) for witnessed in (False, True)}
        self._known: dict[Party, _Known] = {}
        self._groups = 0
        self._requests = 0

    def __repr__(self) -> str:
        plain, witnessed = (f"{each.threshold:.2f} of {each.labels}" for each in map(self._lowest, (False, True)))
        return f"<Calibration {plain}, with witnesses {witnessed}, {len(self._known)} parties>"

    def threshold(self, group: str = GLOBAL, party: Party = NOBODY, *, witnessed: bool = False) -> float:
        """inf: nothing is served for its similarity. A group with few labels has the threshold of its party, and a
        party with few that of all parties, unless its few speak against it.
        """
        threshold = self._pool[witnessed].threshold if party.vouched else inf
        known = self._known.get(party)
        for own in () if known is None else (known.whole[witnessed], known.groups.get((group, witnessed))):
            if own is not None:
                enough = own.labels >= self._settings.first
                threshold = own.threshold if enough else max(own.floor, threshold)
        return threshold

    def floor(self, group: str = GLOBAL, party: Party = NOBODY) -> float:
        """Against all below it, what was seen of late is proof enough; 0 where there is none."""
        known = self._known.get(party)
        found = () if known is None else (known.whole[False], known.groups.get((group, False)))
        return max([own.floor for own in found if own is not None], default=0.0)

    def common_floor(self, party: Party) -> float:
        """As `floor`, of what is pooled; 0 for the only party there is: its own labels say all of it."""
        return 0.0 if [*self._known] == [party] else self._pool[False].floor

    @property
    def parties(self) -> Sequence[Party]:
        """That have thresholds of their own."""
        return [*self._known]

    def age(self, requests: int) -> None:
        """There were so many more."""
        self._requests += max(0, requests)

    def add(self, seen: Seen) -> None:
        """The next label of the log."""
        self.age(seen.requests)
        for group in self._counted(seen):
            if seen.vetoed:
                group.vetoed += 1
                group.vetoed_right += seen.right
            elif seen.similarity >= EDGES[0]:
                self._count(group, seen)

    def fold(self, labels: Iterable[Seen]) -> None:
        for seen in labels:
            self.add(seen)

    def estimate(
        self, group: str = GLOBAL, party: Party = NOBODY, *, witnessed: bool = False, threshold: float | None = None
    ) -> Estimate:
        """Of its own labels, if it has any. `threshold` is another than the one they prove."""
        known = self._known.get(party)
        own = self._pool[witnessed] if known is None else known.groups.get((group, witnessed), known.whole[witnessed])
        proven = self.threshold(group, party, witnessed=witnessed)
        return self._estimate(own, proven if threshold is None else threshold)

    def lowest(self) -> Estimate:
        """Of who is served from the lowest threshold, with witnesses or without; else of who has most labels."""
        own = min(map(self._lowest, (False, True)), key=_lowness)
        return self._estimate(own, own.threshold)

    def _lowest(self, witnessed: bool) -> _Group:  # noqa: FBT001
        found = [self._pool[witnessed], *(known.whole[witnessed] for known in self._known.values())]
        return min(found, key=_lowness)

    def _estimate(self, own: _Group, threshold: float) -> Estimate:
        above = [sample for edge, sample in zip(EDGES, own.all.above(self._requests), strict=True) if edge >= threshold]
        total, wrong = above[0] if above else Sample(0.0, 0.0)
        rate = wrong / total if total else 0.0
        at_most = upper(wrong, total, self._settings.error) if total else 1.0
        return Estimate(threshold, own.labels, rate, at_most, own.vetoed, own.vetoed_right)

    def _counted(self, seen: Seen) -> Iterator[_Group]:
        """Which count it: that of all, its party's, and its own, if there may be one."""
        if seen.party.vouched or (self._heard and not seen.right):
            yield self._pool[seen.witnessed]
        known = self._known.get(seen.party) or self._admitted(seen.party)
        if known is None:
            return
        yield known.whole[seen.witnessed]
        name = seen.group, seen.witnessed
        own = known.groups.get(name)
        if own is None:
            room = self._settings.groups if seen.party.vouched else self._settings.groups // 2
            full = self._groups >= room or len(known.groups) >= self._settings.groups_each
            if seen.group == GLOBAL or full:
                return
            own = known.groups[name] = _Group(self._settings)
            self._groups += 1
        yield own

    def _admitted(self, party: Party) -> _Known | None:
        """Where there is no room, in place of who has fed least, unless that is enough to be served by. Who is not
        vouched for may be many, and takes nobody's place who is; his own, whatever it proves, is taken first.
        """
        if len(self._known) >= self._settings.parties:
            least = min(self._known, key=lambda each: (each.vouched, self._known[each].labels))
            enough = self._known[least].labels >= self._settings.first
            if (enough and least.vouched >= party.vouched) or least.vouched > party.vouched:
                return None
            self._groups -= len(self._known.pop(least).groups)
        made = self._known[party] = _Known(self._settings)
        return made

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
        if group.all.proving < self._settings.first:
            return inf
        samples = [*zip(EDGES, group.all.above(self._requests), strict=True)]
        return min(self._sequence(samples, group.floor, start) for start in STARTS)

    def _sequence(self, samples: Sequence[tuple[float, Sample]], floor: float, start: float) -> float:
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


def _lowness(group: _Group) -> tuple[float, int]:
    return group.threshold, -group.labels


def _is_at_most(allowed: float, wrong: float, total: float, error: float) -> bool:
    """The upper bound of the share of wrong ones is not above what is allowed."""
    return wrong < total and beta_cdf(allowed, wrong + 1, total - wrong) >= 1 - error


def _is_above(allowed: float, wrong: float, total: float, error: float) -> bool:
    """The lower bound of the share of wrong ones is above what is allowed."""
    return wrong > 0 and beta_cdf(allowed, wrong, total - wrong + 1) < error
