"""`python -m bench.semantic`: what a look for a question that means the same takes, of a request that misses, by parts.

Questions come one at a time, each another, among the entries of one partition, of which several are near: so each look
embeds, searches, reads eight records and compares questions. `--entries 250000` has a graph.
"""

from typing import Annotated, Final

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from bench.semantic.entries import Site
from bench.semantic.looking import Looks, look
from bench.semantic.parts import NAMES
from cache.semantic.embedders.onnx_model import OnnxModel
from cache.semantic.minilm import minilm

__all__ = ["main"]

REAL: Final = 1_500
"""Entries with vectors of the model."""
WIDTH: Final = 150


def show(results: list[Looks]) -> None:
    console = Console(width=WIDTH)
    took = Table(title="A look, milliseconds; the parts are medians; CPU of the process, the least of five batches")
    for name in ("entries", "p50", "p99", *NAMES, "CPU", "candidates", "hit", "gray", "recall@8"):
        took.add_column(name, justify="right")
    kept = Table(title="What there is: milliseconds, pauses of the event loop in its thread and by the clock; bytes")
    for name in ("entries", "pause", "growing", "one added", "settled, s", "index", "records", "real"):
        kept.add_column(name, justify="right")
    for one in results:
        times = (one.p50, one.p99, *one.parts.values(), one.cpu, one.found)
        shares = (one.results.get("hit", 0.0), one.results.get("gray", 0.0))
        took.add_row(
            f"{one.entries:,}",
            *(f"{each:.2f}" for each in times),
            *(f"{each:.0%}" for each in shares),
            f"{one.recall:.4f}",
        )
        pauses = (f"{own:.1f}, {clock:.1f}" for own, clock in (one.pause, one.growing))
        sizes = (f"{each:,.0f}" for each in (one.index_bytes, one.record_bytes, one.resident_bytes))
        kept.add_row(f"{one.entries:,}", *pauses, f"{one.added:.4f}", f"{one.settling:.1f}", *sizes)
    console.print(took)
    console.print(kept)


def measure(
    *,
    entries: Annotated[list[int] | None, typer.Option(min=REAL, help="In the partition; may be given often.")] = None,
    looks: Annotated[int, typer.Option(min=10, help="Questions to ask.")] = 400,
) -> None:
    """Measures looks, and what an entry takes."""
    model = OnnxModel.load(minilm())
    site = Site.of(model, REAL)
    show([uvloop.run(look(site, model, count, looks)) for count in entries or (10_000, 100_000)])


def main() -> None:
    typer.run(measure)


if __name__ == "__main__":
    main()
