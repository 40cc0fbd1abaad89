"""What all requests of a run came to, as their clients saw it, and whether the gateway agrees."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.chaos.laws import Audit, Law, audit

__all__ = ["Record", "outcome_laws"]

_COMPLAINTS: Final = 3
"""Of each kind; the rest are counted."""
_ACCOUNTING: Final = 0.2
"""Seconds of finished requests that a killed worker may take with it: it accounts every 100 ms and gathers lines for
50 ms, and a busy loop is late."""
_NOTICED: Final = 0.25
"""Seconds within which a client has read what a killed worker wrote last."""
_ANY: Final = frozenset(["relayed", "refused", "failed", "broken", "abandoned"])


@dataclass(slots=True)
class Record:
    """Filled by the clients while they ask."""

    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    expected: dict[str, frozenset[str]] = field(default_factory=dict)
    """By call id: what the log may say of it."""
    ended: dict[str, float] = field(default_factory=dict)
    """By call id, on the monotonic clock."""
    unseen: Counter[frozenset[str]] = field(default_factory=Counter)
    """The same, of requests without a call id: their clients left before the head came, or were cut."""
    cut: set[str] = field(default_factory=set)
    """Calls that ended with the worker that served them."""
    cut_unseen: int = 0
    """The same, of which not even the head came."""
    wrong: int = 0
    complaints: list[str] = field(default_factory=list)
    complained: Counter[str] = field(default_factory=Counter)
    """By kind."""
    suspects: dict[str, str] = field(default_factory=dict)
    """By call id: whose answer is complained about."""
    twice: int = 0
    """Answers with a call id that another answer had."""

    def saw(self, kind: str, call_id: str, outcomes: frozenset[str]) -> None:
        """One request has ended."""
        self.requests += 1
        self.kinds[kind] += 1
        if call_id:
            self.twice += call_id in self.expected
            self.expected[call_id] = outcomes
            self.ended[call_id] = time.monotonic()
        else:
            self.unseen[outcomes] += 1

    def saw_cut(self, kind: str, call_id: str) -> None:
        """One request has ended because its worker was killed."""
        self.saw(kind, call_id, _ANY)
        if call_id:
            self.cut.add(call_id)
        else:
            self.cut_unseen += 1

    def complain(self, label: str, wrong: str, call_id: str = "", *, kind: str = "") -> None:
        """An answer is not what had to come back."""
        self.wrong += 1
        self.complained[kind] += 1
        if self.complained[kind] <= _COMPLAINTS:
            self.complaints.append(f"{label}: {wrong}")
            if call_id:
                self.suspects[call_id] = label

    def at_risk(self, kills: Sequence[float]) -> frozenset[str]:
        """Calls whose accounting a killed worker may have taken with it."""
        near = {
            call_id
            for call_id, ended in self.ended.items()
            if any(kill - _ACCOUNTING <= ended <= kill + _NOTICED for kill in kills)
        }
        return frozenset(near | self.cut)


def outcome_laws(
    record: Record,
    counted: int,
    log: Path,
    told: Callable[[str], None],
    *,
    skip: int = 0,
    kills: Sequence[float] = (),
) -> tuple[list[Law], Audit]:
    """What clients, the log and the metrics (`counted`) say of the same requests.

    `skip` is how many bytes of the log the rig's own requests have made; `kills` are the moments at which
    workers were killed, on the monotonic clock.
    """
    at_risk = record.at_risk(kills)
    with log.open("rb") as lines:
        lines.seek(skip)
        text = (line.decode("utf-8", "replace") for line in lines)
        found = audit(
            text,
            record.expected,
            unseen=record.unseen,
            at_risk=at_risk,
            deaths=len(kills),
            suspects=record.suspects,
        )
    for example in found.examples:
        told(f"log: {example}")
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(record.kinds.items()))
    ends = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(found.outcomes.items()))
    cut = f"{len(record.cut) + record.cut_unseen} cut by the death of a worker; " if kills else ""
    return [
        Law("every client gets what it has to get", record.wrong == 0, f"{record.wrong} wrong; {cut}{kinds}"),
        _once(record, found, counted, len(at_risk), kills),
        Law("the outcome is what the client saw", found.mistaken == 0, f"{found.mistaken} mistaken; {ends}"),
        Law("no unclassified error", found.unclassified == 0, f"{found.unclassified} internal errors or error events"),
    ], found


def _once(record: Record, found: Audit, counted: int, at_risk: int, kills: Sequence[float]) -> Law:
    """One line and one count for each request, but for what a worker that was killed had not yet written."""
    unlogged, uncounted = record.requests - found.requests, record.requests - counted
    each = not (found.repeated or found.missing or record.twice)
    logged = len(found.lost) <= unlogged <= len(found.lost) + record.cut_unseen
    holds = each and logged and 0 <= uncounted <= at_risk + record.cut_unseen
    figures = f"{record.requests:,} requests, {found.requests:,} log lines, {counted:,} counted"
    figures += f"; {found.repeated} repeated, {found.missing} missing"
    if at_risk or record.cut_unseen:
        before = [kill - record.ended[call_id] for call_id in found.lost for kill in kills]
        oldest = max((each for each in before if each <= _ACCOUNTING), default=0.0)
        figures += f"; {unlogged} lines and {uncounted} counts went with {len(kills)} killed workers, the oldest "
        figures += f"{max(0.0, oldest) * 1e3:.0f} ms old, of {at_risk + record.cut_unseen} that were cut or had ended "
        figures += f"in the last {_ACCOUNTING * 1e3:.0f} ms"
    return Law("every request has exactly one outcome", holds, figures)
