"""Whether the ledger and the upstreams tell the same, call by call. Sans-IO."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from bench.chaos.calls import Call, Ended, serial_of
from bench.chaos.laws import Law
from proxy.ledger.row import Row

__all__ = ["Books", "Lines", "accounts_of", "billed_once", "each_a_row", "lines_of", "not_repeated", "within"]

UNFLUSHED: Final = 1.0
"""Seconds of rows that a killed worker may take with it."""
_NOTICED: Final = 0.3
"""Seconds from the end of a call until its row is made, and from a kill until the upstream notices."""
_WRITTEN: Final = 0.02
"""Seconds until an upstream has read what a worker wrote before it was killed."""
_POSTS: Final = 1.1
_EXAMPLES: Final = 8
_UNDONE: Final = (Ended.AGAIN, Ended.REFUSED)
_UNTOLD: Final = (Ended.ERROR, Ended.BROKEN, Ended.LEFT)
_SERIAL: Final = re.compile(r"^req_(\d+)$")


@dataclass(slots=True)
class Lines:
    """What the gateway's log says of who asked what."""

    calls: set[str] = field(default_factory=set)
    """Of all requests, by call id."""
    asked: dict[int, list[str]] = field(default_factory=dict)
    """By the upstream's call, those that say that theirs it was."""


def lines_of(log: Iterable[str]) -> Lines:
    lines = Lines()
    for line in log:
        if line.startswith("{") and (told := json.loads(line)).get("event") == "request":
            lines.calls.add(told["call_id"])
            if found := _SERIAL.match(told["request_id"]):
                lines.asked.setdefault(int(found[1]), []).append(told["call_id"])
    return lines


@dataclass(slots=True)
class Books:
    """Tokens, and how many calls they are of."""

    told: tuple[int, int] = (0, 0)
    """By upstreams, in answers that were written whole."""
    billed: tuple[int, int] = (0, 0)
    """Of these, by rows that say the same."""
    estimated: tuple[int, int] = (0, 0)
    """Of these, by rows that are flagged, for clients that had left."""
    lost: tuple[int, int] = (0, 0)
    """Of these, gone with a worker that was killed."""
    unbilled: list[tuple[Call, list[Row]]] = field(default_factory=list)
    """Calls whose usage nobody has written down, with the rows of those whose calls they were."""
    invented: list[Row] = field(default_factory=list)
    """Rows with a usage that no upstream told."""
    twice: list[Row] = field(default_factory=list)
    """Rows about a call that another row is about."""
    flagged: int = 0
    """Rows that are estimated."""
    guessed: int = 0
    """Of these, rows with tokens or a cost."""
    untold: int = 0
    """Calls of which nobody heard what they used, so that an estimate may stand for each."""


def _plus(sums: tuple[int, int], call: Call) -> tuple[int, int]:
    return sums[0] + sum(call.used), sums[1] + 1


def accounts_of(calls: Sequence[Call], rows: Sequence[Row], lines: Lines, kills: Sequence[float]) -> Books:
    """`kills` are the moments at which workers were killed, on the clock of the calls."""
    books = Books()
    known = {call.serial: call for call in calls}
    billed: dict[int, Row] = {}
    flagged: set[str] = set()
    guessed: set[str] = set()
    for row in rows:
        used = row.used.get("input", 0), row.used.get("output", 0)
        if row.estimated:
            flagged.add(row.call_id)
            if row.cost or any(row.used.values()):
                guessed.add(row.call_id)
        elif used != (0, 0) and row.attempts:
            serial = serial_of(used)
            call = known.get(serial)
            if serial in billed:
                books.twice += (billed[serial], row)
            billed[serial] = row
            # Whoever reads all there is may leave before the upstream has noticed that it was all.
            if call is None or call.used != used or call.end not in (Ended.TOLD, Ended.LEFT):
                books.invented.append(row)
    books.flagged, books.guessed = len(flagged), len(guessed)
    for call in calls:
        if call.end is not Ended.TOLD:
            books.untold += call.end in _UNTOLD and call.serial not in billed
            continue
        books.told = _plus(books.told, call)
        if call.serial in billed:
            books.billed = _plus(books.billed, call)
        elif flagged.intersection(lines.asked.get(call.serial, ())):
            books.estimated = _plus(books.estimated, call)
        elif any(call.began - _WRITTEN <= kill <= call.ended + UNFLUSHED + _NOTICED for kill in kills):
            books.lost = _plus(books.lost, call)
        else:
            asked = lines.asked.get(call.serial, ())
            books.unbilled.append((call, [row for row in rows if row.call_id in asked]))
    books.untold += books.estimated[1] + books.lost[1]
    return books


def billed_once(books: Books, kills: Sequence[float], told: Callable[[str], None]) -> list[Law]:
    """Σ ledger = Σ upstreams, each call once; what a kill took is named, and no estimate is without a call."""
    for call, its in books.unbilled[:_EXAMPLES]:
        nearest = min((kill - call.ended for kill in kills), key=abs, default=0.0)
        took = f"took {call.ended - call.began:.3f} s until {nearest:.3f} s before a kill"
        told(
            f"unbilled: call {call.serial} {call.upstream} {call.number} {call.used} {took}; {[*map(_described, its)]}"
        )
    for row in books.invented[:_EXAMPLES]:
        told(f"invented: {_described(row)}")
    for row in books.twice[:_EXAMPLES]:
        told(f"twice: {_described(row)}")
    sums = "; ".join(
        f"{name} {tokens:,} of {count:,} calls"
        for name, (tokens, count) in (
            ("told", books.told),
            ("billed", books.billed),
            ("estimated instead", books.estimated),
            (f"lost with {len(kills)} killed workers", books.lost),
        )
    )
    parts = sum(each[0] for each in (books.billed, books.estimated, books.lost))
    holds = parts == books.told[0] > 0 and not books.unbilled and not books.invented and books.guessed <= books.untold
    figures = f"tokens: {sums}; {books.flagged:,} rows are estimated, {books.guessed:,} of them with tokens or a cost "
    figures += f"for {books.untold:,} calls that told nobody; {len(books.invented)} are invented"
    return [
        Law("Σ ledger = Σ what the upstreams told", holds, figures),
        Law("no call is billed twice", not books.twice, f"{len(books.twice)} rows are of a call that another is of"),
    ]


def _described(row: Row) -> str:
    return str({name: value for name, value in msgspec.structs.asdict(row).items() if value})


def each_a_row(
    rows: Sequence[Row], lines: Lines, ended: Mapping[str, float], kills: Sequence[float], marked: int
) -> list[Law]:
    """One row for each line of the log; what is missing ended in the last second of a killed worker.

    `ended`: when, by call id, as clients saw it; `marked`: rows of which the ledger says that they are lost.
    """
    counts = Counter(row.call_id for row in rows)
    repeated = sum(count > 1 for count in counts.values())
    missing = lines.calls - counts.keys()
    late = [each for each in missing if not any(_gone(ended.get(each), kill) for kill in kills)]
    figures = f"{len(rows):,} rows, {len(lines.calls):,} lines; {repeated} repeated, {len(missing)} missing, "
    figures += f"{len(late)} of them of another time than the last {UNFLUSHED:.0f} s of {len(kills)} killed workers"
    lost = f"{len(missing)} missing, {marked} marked as lost"
    return [
        Law("every request has one row in the ledger", not repeated and not late, figures),
        Law("rows that are lost are marked", len(missing) <= marked or not missing, lost),
    ]


def _gone(ended: float | None, kill: float) -> bool:
    """`ended` None: its client had left, who knows when."""
    return ended is None or kill - UNFLUSHED <= ended <= kill + _NOTICED


def not_repeated(calls: Sequence[Call], told: Callable[[str], None]) -> list[Law]:
    """What the upstreams may have done is asked of nobody again."""
    by_number: dict[str, list[Call]] = {}
    for call in calls:
        if call.number:
            by_number.setdefault(call.number, []).append(call)
    posts = sum(map(len, by_number.values()))
    done = [number for number, each in by_number.items() if sum(call.end is Ended.TOLD for call in each) > 1]
    again = [number for number, each in by_number.items() if any(call.end not in _UNDONE for call in each[:-1])]
    for number in again[:_EXAMPLES]:
        told(
            f"request {number}: {', '.join(f'{call.serial} {call.upstream} {call.end}' for call in by_number[number])}"
        )
    ends = Counter(f"{call.upstream} {call.end}" for call in calls)
    figures = ", ".join(f"{count:,} {end}" for end, count in sorted(ends.items()))
    ratio = posts / max(1, len(by_number))
    return [
        Law(
            f"POSTs ≤ {_POSTS} × requests that were sent",
            posts <= _POSTS * len(by_number) and posts > 0,
            f"{posts:,} of {len(by_number):,} requests, {ratio:.3f}; {figures}",
        ),
        Law("no request is answered twice by upstreams", not done, f"{len(done)} were"),
        Law("what an upstream may have done is not asked again", not again, f"{len(again)} were"),
    ]


def within(rows: Sequence[Row], key: str, budget: int) -> Law:
    """`budget` in nano-dollars, of the key that has little."""
    spent = [row.cost or 0 for row in rows if row.key == key]
    refused = sum(row.key == key and row.status == 429 for row in rows)
    figures = f"${sum(spent) / 1e9:.4f} of ${budget / 1e9:.2f} in {len(spent):,} requests, {refused:,} refused"
    return Law("who has a budget stays within it", sum(spent) <= budget and refused > 0, figures)
