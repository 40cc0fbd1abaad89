"""What a run found, for people."""

from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from bench.lanes import REPLAYED, Lane, Measure
from bench.report import REFERENCES, Bound, Row, Spread, Verdict, rows, verdicts
from bench.rounds import Slice

__all__ = ["show"]

_WIDTH: Final = 168
_TITLES: Final = {
    Measure.REQUESTS: ("Pass-through: chat JSON, 32 connections, cache off", "request"),
    Measure.STEADY: ("The same, 2,000 a second of each", "request"),
    Measure.STREAMS: ("Streams: frames one by one, cache off", "frame"),
    Measure.LARGE: ("Large requests: 1 MiB body, 8 connections, cache off", "request"),
    Measure.UPLOAD: ("One upload, cache off", "upload"),
    Measure.BYPASS: ("Not for the cache: `no-store`, each request another", "request"),
    Measure.MISSES: ("Miss and store: each request another", "request"),
    Measure.HITS: ("Hits in memory: one chat request, 32 connections", "request"),
    Measure.REDIS: ("Hits in Redis and nowhere else: 1,000 chat requests by turns", "request"),
    Measure.LATENCY: ("Hits at half load, one request in 50 a miss", "request"),
    Measure.COALESCED: ("Herds: 100 identical requests at once, the upstream takes 50 ms", "request"),
    Measure.ALIKE: ("Hits by meaning: twenty questions, in other words each time, 4 connections", "request"),
    Measure.NEW: ("Misses, looked for by meaning beside: 50 a second, each another question", "request"),
    Measure.REPLAY: (f"Replayed streams: {REPLAYED} frames and the two that end it, 8 connections", "frame"),
}


def show(slices: list[Slice], absent: dict[Lane, str]) -> None:
    console = Console(width=max(Console().width, _WIDTH))
    everything = rows(slices)
    for measure in Measure:
        own = [row for row in everything if row.measure is measure]
        if own:
            console.print(_table(measure, own))
    for lane, reason in absent.items():
        console.print(f"[yellow]{lane}: not measured: {reason}[/]", highlight=False)
    for one in slices:
        for complaint in one.complaints:
            console.print(f"[red]{one.lane}, {one.measure}: {complaint}[/]", highlight=False)
    for verdict in verdicts(slices):
        if verdict.found is not None:
            state = "[green]holds[/]" if verdict.holds else "[red]BROKEN[/]"
            console.print(f"{state}  {_law(verdict, verdict.found)}", highlight=False)


def _law(verdict: Verdict, found: float) -> str:
    target = verdict.target
    unit = _TITLES[target.measure][1]
    cost = f"{target.measure}: {target.lane}'s CPU per {unit}"
    match target.bound, target.to:
        case Bound.TIMES, (_, lane):
            beside = f" ({verdict.beside:.2f} × {Lane.AIOHTTP_UVLOOP}'s)" if verdict.beside is not None else ""
            return f"{cost} ≤ {target.at_most:g} × {lane}'s: {found:.2f} ×{beside}"
        case Bound.MORE, (measure, _):
            return f"{cost} ≤ that of {measure} + {target.at_most:g} µs: + {found:.1f} µs"
        case Bound.CALLS, _:
            return f"{target.measure}: upstream calls a herd ≤ {target.at_most:g}: {found:g}"
    return f"{cost} ≤ {target.at_most:g} µs: {found:.1f} µs"


def _table(measure: Measure, own: list[Row]) -> Table:
    title, unit = _TITLES[measure]
    spread = f"median of {own[0].rounds} rounds (lowest–highest)" if own[0].rounds > 1 else "one round"
    table = Table(title=f"\n{title}; {spread}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("lane", no_wrap=True)
    references = [to for to in REFERENCES.get(measure, ()) if any(to in row.ratios for row in own)]
    delay = "frame delay" if measure is Measure.STREAMS else "latency"
    heads = [f"{unit}s/s", f"CPU µs\n/{unit}", *(f"CPU ×\n{to}" for to in references), f"{delay}\np50–p99 ms"]
    if measure is Measure.LATENCY:
        heads.append("of a miss\np50–p99 ms")
    for head in [*heads, "RSS peak\nMiB", "grown\nMiB", "failed", *_extra_heads(measure)]:
        table.add_column(head, justify="right", no_wrap=True)
    for row in own:
        table.add_row(*_cells(row, references))
    return table


def _extra_heads(measure: Measure) -> list[str]:
    match measure:
        case Measure.STREAMS:
            return ["frames\n/read"]
        case Measure.COALESCED:
            return ["calls\n/herd"]
    return []


def _cells(row: Row, references: list[Lane]) -> list[str]:
    cells = [
        str(row.lane),
        f"{row.rate.median:,.0f}" if row.rate.median >= 10 else f"{row.rate.median:.2f}",
        _spread(row.cpu_us, 1),
        *(_spread(row.ratios.get(to), 2) for to in references),
        f"{row.p50_ms:.2f}–{row.p99_ms:.2f}",
    ]
    if row.measure is Measure.LATENCY:
        cells.append(f"{row.miss_p50_ms:.2f}–{row.miss_p99_ms:.2f}")
    cells += [
        f"{row.rss_peak / 2**20:.0f}",
        f"{max(0, row.rss_peak - row.rss_before) / 2**20:.0f}",
        str(row.failed),
    ]
    if row.measure is Measure.STREAMS:
        cells.append(f"{row.units_per_read:.2f}")
    elif row.measure is Measure.COALESCED:
        cells.append(f"{row.calls_per_herd:.2f}")
    return cells


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return "–"
    if spread.lowest == spread.highest:
        return f"{spread.median:,.{digits}f}"
    return f"{spread.median:,.{digits}f} ({spread.lowest:,.{digits}f}–{spread.highest:,.{digits}f})"
