"""From which score on a verifier is believed: what labels prove, or what the operator says until they disprove it.

Sans-IO.

Scores of a model crowd at both ends, similarities do not. So a score counts by its place among thirteen edges of its
own, and the calibration of similarities proves thresholds among those as it does among its own.

A score that the operator has set is proven by nothing. It holds until what was seen of late proves that more than
`max_error_rate` of what it lets through is wrong, or of what any higher score would: of one party's questions, or of
all without the right labels of any one party and of those that nobody vouches for. Then nothing is served, until labels
of what is then asked upstream prove that no more: no client can feed what opens it for another. A wrong audit is enough
where there have been few others. It is nothing to a party that has proven the score, as it would prove a similarity.
"""

from bisect import bisect_right
from math import inf
from typing import Final, final

from cache.semantic.learning.calibrate import Calibration, Estimate, Settings
from cache.semantic.learning.evidence import EDGES, NOBODY, Party, Seen

__all__ = ["SCORES", "Scores", "edge_of", "score_of"]

SCORES: Final = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
TINY: Final = 1e-9


@final
class Scores:
    """What labels say of one verifier. `set_to` is the operator's own score, 0 for none."""

    __slots__ = ("_all", "_parties", "_set_to", "_settings")

    def __init__(self, settings: Settings, set_to: float = 0.0) -> None:
        self._settings = settings
        self._set_to = set_to
        self.forget()

    def __repr__(self) -> str:
        return f"<Scores {self.lowest().threshold:g} set to {self._set_to:g}>"

    def forget(self) -> None:
        """All labels."""
        self._parties = Calibration(self._settings, heard=True)
        self._all = Calibration(self._settings)

    def add(self, seen: Seen) -> None:
        """The next label of the log; its `similarity` is a score, whatever witnesses there are."""
        placed = seen._replace(similarity=self._placed(seen.similarity), witnessed=False)
        self._parties.add(placed)
        self._all.add(placed._replace(group="", party=NOBODY))

    def _placed(self, score: float) -> float:
        """What is not served is in no bin with what is."""
        edge = edge_of(score)
        if edge and score < self._set_to and edge == edge_of(self._set_to):
            return edge_of(SCORES[EDGES.index(edge)] - TINY)
        return edge

    def age(self, requests: int) -> None:
        """So many more were made, which labels of another kind tell of."""
        self._parties.age(requests)
        self._all.age(requests)

    def threshold(self, group: str, party: Party) -> float:
        """inf: nothing is served for its score."""
        if not self._set_to:
            return score_of(self._parties.threshold(group, party))
        edge = edge_of(self._set_to)
        if self._parties.threshold(group, party) <= edge:
            return self._set_to
        floor = max(self._parties.floor(group, party), self._parties.common_floor(party))
        return inf if floor > edge else self._set_to

    def lowest(self) -> Estimate:
        """What labels of all parties say of the lowest score that anybody is served from.

        Where the operator has set one, that of what it lets through, even where they have disproven it.
        """
        if not self._set_to:
            lowest = self._parties.lowest().threshold
            return self._all.estimate(threshold=lowest)._replace(threshold=score_of(lowest))
        found = self._all.estimate(threshold=edge_of(self._set_to))
        return found._replace(threshold=min(self.threshold("", party) for party in (NOBODY, *self._parties.parties)))


def edge_of(score: float) -> float:
    """Where it lies among the edges of similarities; 0 below them."""
    place = bisect_right(SCORES, score)
    return EDGES[place - 1] if place else 0.0


def score_of(edge: float) -> float:
    """The score from which on `edge_of` gives that edge."""
    return SCORES[EDGES.index(edge)] if edge in EDGES else inf if edge > 1 else 0.0
