"""What all requests of a run came to, as their clients saw it, and whether the gateway agrees."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.laws import Law, audit

__all__ = ["Record", "outcome_laws"]

_COMPLAINTS = 10


@dataclass(slots=True)
class Record:
    """Filled by the clients while they ask."""

    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    expected: dict[str, frozenset[str]] = field(default_factory=dict)
    """By call id: what the log may say of it."""
    wrong: int = 0
    complaints: list[str] = field(default_factory=list)
    twice: int = 0
    """Answers with a call id that another answer had."""

    def saw(self, kind: str, call_id: str, outcomes: frozenset[str]) -> None:
        """One request has ended."""
        self.requests += 1
        self.kinds[kind] += 1
        if call_id:
            self.twice += call_id in self.expected
            self.expected[call_id] = outcomes

    def complain(self, label: str, wrong: str) -> None:
        """An answer is not what had to come back."""
        self.wrong += 1
        if len(self.complaints) < _COMPLAINTS:
            self.complaints.append(f"{label}: {wrong}")


def outcome_laws(record: Record, counted: int, log: Path, told: Callable[[str], None]) -> list[Law]:
    """What clients, the log and the metrics (`counted`) say of the same requests."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        next(line for line in lines if '"request"' in line)  # the rig's own
        found = audit(lines, record.expected)
    for example in found.examples:
        told(f"log: {example}")
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(record.kinds.items()))
    ends = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(found.outcomes.items()))
    once = found.requests == record.requests == counted and not (found.repeated or found.missing or record.twice)
    lines_of = f"{record.requests:,} requests, {found.requests:,} log lines, {counted:,} counted"
    details = f"{lines_of}; {found.repeated} repeated, {found.missing} missing"
    return [
        Law("every client gets what it has to get", record.wrong == 0, f"{record.wrong} wrong; {kinds}"),
        Law("every request has exactly one outcome", once, details),
        Law("the outcome is what the client saw", found.mistaken == 0, f"{found.mistaken} mistaken; {ends}"),
        Law("no unclassified error", found.unclassified == 0, f"{found.unclassified} internal errors or error events"),
    ]
