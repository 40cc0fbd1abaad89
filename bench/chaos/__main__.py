"""`make chaos`: shakes the gateway and says which laws held."""

import resource
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console

from bench.chaos.scenarios import Scenario, Settings, replayed_by, run
from bench.load import LoadError
from bench.servers import StartError

__all__ = ["chaos_of", "main"]

_DESCRIPTORS = 65_536


def chaos(
    scenarios: Annotated[list[Scenario] | None, typer.Argument(help="What to run; everything when not given.")] = None,
    *,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Length of each scenario (streams 120, mixed 60, storm 20, overload 60, soak 600, endure 600).",
        ),
    ] = None,
    streams: Annotated[int, typer.Option(min=1, help="Concurrent streams of the scenario `streams`.")] = 1_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same requests.")] = 1,
) -> None:
    """Runs scenarios over loopback; exits with 1 when a law is broken.

    But for the last two, with one worker and without the cache.
    """
    console = Console(width=max(Console().width, 140), highlight=False)
    _raise_descriptor_limit()
    broken = 0
    for scenario in scenarios or list(Scenario):
        broken += chaos_of(scenario, Settings(seconds, streams, seed), console)
    if broken:
        raise typer.Exit(1)


def chaos_of(scenario: Scenario, settings: Settings, console: Console) -> int:
    """How many laws are broken. Whatever goes wrong, the command that runs the same again is printed."""
    console.print(f"\n[bold]{scenario}[/]  seed {settings.seed}")

    def told(line: str) -> None:
        console.print(f"  {line}", markup=False, soft_wrap=True)

    again = f"again with: {replayed_by(scenario, settings)}"
    try:
        laws = run(scenario, settings, told)
    except (LoadError, StartError) as error:
        console.print(f"  [red]{type(error).__name__}[/]")
        told(str(error))
        told(again)
        raise typer.Exit(1) from None
    except Exception:
        told(again)
        raise
    broken = sum(not law.holds for law in laws)
    if broken:
        told(again)
    for law in laws:
        state = "[green]holds [/]" if law.holds else "[red]BROKEN[/]"
        console.print(f"  {state}  {law.promise}: {law.figures}")
    return broken


def _raise_descriptor_limit() -> None:
    """A thousand streams are two thousand sockets in the gateway; what is started inherits this."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    # SIGTERM unwinds like Ctrl-C, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    typer.run(chaos)


if __name__ == "__main__":
    main()
