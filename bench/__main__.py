"""`make bench`: what a request and a frame cost, side by side with nginx and relays, in one run."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.lanes import Lane, Measure, Plan
from bench.load import LoadError, wrk_installed
from bench.report import as_json, verdicts
from bench.rounds import run
from bench.tables import show

__all__ = ["main"]

_EACH = "may be given several times; all when not given"


def bench(
    *,
    lane: Annotated[list[Lane] | None, typer.Option(help=f"A server to measure; {_EACH}.")] = None,
    only: Annotated[list[Measure] | None, typer.Option(help=f"A measure to take; {_EACH}.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds; each takes the lanes in another order.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Two short rounds; figures are rough.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when a target is broken or unmeasured.")] = False,
    seed: Annotated[int, typer.Option(help="Orders the lanes and spreads the streams.")] = 1,
) -> None:
    """Measures askonce beside nginx, aiohttp relays and a relay on bare protocols, over loopback.

    What passes through is measured with the cache off.
    """
    plan = Plan(lanes=tuple(lane or Lane), measures=tuple(only or Measure), rounds=rounds, seed=seed)
    if quick:
        plan = Plan(plan.lanes, plan.measures, rounds=min(rounds, 2), seconds=1.0, frames=100, upload_bytes=64 << 20)
    errors = Console(stderr=True)
    if not wrk_installed():
        errors.print("wrk is not installed: the built-in generator drives the load", highlight=False)
    try:
        with errors.status("starting") as status:
            slices, absent = run(plan, status.update)
    except LoadError as error:
        errors.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    show(slices, absent)
    if json_file is not None:
        json_file.write_bytes(as_json(slices, absent, seed))
    ours = tuple(lane for lane in Lane if lane.value.startswith("askonce"))
    failed = any(lane in absent for lane in ours) or any(one.failed for one in slices)
    if failed or (check and not all(verdict.holds for verdict in verdicts(slices))):
        raise typer.Exit(1)


def main() -> None:
    # SIGTERM unwinds like Ctrl-C, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    typer.run(bench)


if __name__ == "__main__":
    main()
