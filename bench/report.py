"""Slices become medians, same-round ratios and verdicts; tables for people, JSON for machines."""

import statistics
from dataclasses import dataclass

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from bench.lanes import Lane, Measure, Slice

__all__ = ["TARGETS", "Row", "Spread", "Target", "as_json", "ratios", "rows", "show", "verdicts"]


class Spread(msgspec.Struct, frozen=True):
    """A median over rounds, with the extremes."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One lane in one measure, over all rounds."""

    measure: Measure
    lane: Lane
    rounds: int
    rate: Spread
    cpu_us: Spread
    p50_ms: float
    p99_ms: float
    rss_before: int
    rss_peak: int
    failed: int
    units_per_read: float
    to_nginx: Spread | None
    to_aiohttp: Spread | None


@dataclass(frozen=True, slots=True)
class Target:
    """A law about askonce's CPU relative to another lane's."""

    measure: Measure
    to: Lane
    at_most: float


TARGETS = (
    Target(Measure.REQUESTS, Lane.NGINX, 4.0),
    Target(Measure.REQUESTS, Lane.AIOHTTP, 0.4),
    Target(Measure.STREAMS, Lane.NGINX, 1.5),
)


def ratios(slices: list[Slice], measure: Measure, lane: Lane, to: Lane) -> Spread | None:
    """CPU of `lane` over CPU of `to`, each round by itself, since rounds differ more than lanes within one."""
    by_round: dict[int, dict[Lane, float]] = {}
    for one in slices:
        if one.measure is measure and one.rate:
            by_round.setdefault(one.round, {})[one.lane] = one.cpu_us
    values = [costs[lane] / costs[to] for costs in by_round.values() if lane in costs and costs.get(to)]
    return Spread.of(values) if values else None


def rows(slices: list[Slice]) -> list[Row]:
    """In the order of measures and lanes."""
    return [
        _row(slices, measure, lane)
        for measure in Measure
        for lane in Lane
        if any(one.measure is measure and one.lane is lane for one in slices)
    ]


def _row(slices: list[Slice], measure: Measure, lane: Lane) -> Row:
    own = [one for one in slices if one.measure is measure and one.lane is lane]
    return Row(
        measure=measure,
        lane=lane,
        rounds=len(own),
        rate=Spread.of([one.rate for one in own]),
        cpu_us=Spread.of([one.cpu_us for one in own]),
        p50_ms=statistics.median(one.p50_ms for one in own),
        p99_ms=statistics.median(one.p99_ms for one in own),
        rss_before=max(one.rss_before for one in own),
        rss_peak=max(one.rss_peak for one in own),
        failed=sum(one.failed for one in own),
        units_per_read=statistics.median(one.units_per_read for one in own),
        to_nginx=ratios(slices, measure, lane, Lane.NGINX),
        to_aiohttp=ratios(slices, measure, lane, Lane.AIOHTTP),
    )


def verdicts(slices: list[Slice]) -> list[tuple[Target, float | None, bool | None]]:
    """For every target: the ratio found and whether it holds; None where a lane is missing."""
    found: list[tuple[Target, float | None, bool | None]] = []
    for target in TARGETS:
        spread = ratios(slices, target.measure, Lane.ASKONCE, target.to)
        ratio = spread.median if spread else None
        found.append((target, ratio, None if ratio is None else ratio <= target.at_most))
    return found


def as_json(slices: list[Slice], absent: dict[Lane, str], seed: int) -> bytes:
    laws = [
        {"measure": target.measure, "to": target.to, "at_most": target.at_most, "ratio": ratio, "holds": holds}
        for target, ratio, holds in verdicts(slices)
    ]
    tree = {"seed": seed, "missing": absent, "rows": rows(slices), "targets": laws, "slices": slices}
    return msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n"


_WIDTH = 136
_TITLES = {
    Measure.REQUESTS: ("Pass-through: chat JSON, 32 connections", "request"),
    Measure.STREAMS: ("Streams: frames one by one", "frame"),
    Measure.LARGE: ("Large requests: 1 MiB body, 8 connections", "request"),
    Measure.UPLOAD: ("One upload", "upload"),
}


def show(slices: list[Slice], absent: dict[Lane, str]) -> None:
    console = Console(width=max(Console().width, _WIDTH))
    everything = rows(slices)
    for measure, (title, unit) in _TITLES.items():
        own = [row for row in everything if row.measure is measure]
        if own:
            console.print(_table(title, unit, own))
    for lane, reason in absent.items():
        console.print(f"[yellow]{lane}: not measured: {reason}[/]", highlight=False)
    for one in slices:
        for complaint in one.complaints:
            console.print(f"[red]{one.lane}, {one.measure}: {complaint}[/]", highlight=False)
    for target, ratio, holds in verdicts(slices):
        if ratio is not None:
            unit = _TITLES[target.measure][1]
            state = "[green]holds[/]" if holds else "[red]BROKEN[/]"
            law = f"askonce's CPU per {unit} ≤ {target.at_most:g} × {target.to}'s"
            console.print(f"{state}  {law}: {ratio:.2f} ×", highlight=False)


def _table(title: str, unit: str, own: list[Row]) -> Table:
    spread = f"median of {own[0].rounds} rounds (lowest–highest)" if own[0].rounds > 1 else "one round"
    table = Table(title=f"\n{title}; {spread}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("lane", no_wrap=True)
    delay = "frame delay" if unit == "frame" else "latency"
    heads = [f"{unit}s/s", f"CPU µs\n/{unit}", "CPU × nginx", "CPU × aiohttp", f"{delay}\np50–p99 ms"]
    for head in [*heads, "RSS peak\nMiB", "grown\nMiB", "failed"]:
        table.add_column(head, justify="right", no_wrap=True)
    if unit == "frame":
        table.add_column("frames\n/read", justify="right", no_wrap=True)
    for row in own:
        cells = [
            str(row.lane),
            f"{row.rate.median:,.0f}" if row.rate.median >= 10 else f"{row.rate.median:.2f}",
            _spread(row.cpu_us, 1),
            _spread(row.to_nginx, 2),
            _spread(row.to_aiohttp, 2),
            f"{row.p50_ms:.2f}–{row.p99_ms:.2f}",
            f"{row.rss_peak / 2**20:.0f}",
            f"{max(0, row.rss_peak - row.rss_before) / 2**20:.0f}",
            str(row.failed),
        ]
        table.add_row(*cells, *([f"{row.units_per_read:.2f}"] if unit == "frame" else []))
    return table


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return "–"
    if spread.lowest == spread.highest:
        return f"{spread.median:,.{digits}f}"
    return f"{spread.median:,.{digits}f} ({spread.lowest:,.{digits}f}–{spread.highest:,.{digits}f})"
