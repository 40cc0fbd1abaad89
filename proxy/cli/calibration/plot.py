"""What was measured, as a picture: how much is served for how many traps answered wrongly."""

from collections.abc import Callable, Sequence
from pathlib import Path

from proxy.cli.calibration.measuring import Shares, Way

__all__ = ["NoPlot", "draw"]


class NoPlot(Exception):
    """There is no picture. The message says why."""


def draw(found: Sequence[Way], path: Path, rate: float) -> None:
    """A PNG. Raises NoPlot."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise NoPlot("--plot needs matplotlib: pip install 'askonce[plot]'") from None
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ways: tuple[tuple[str, Callable[[Way], Shares]], ...] = (
        ("cosine alone", lambda way: way.cosine),
        ("with vetoes", lambda way: way.vetoed),
        ("as askonce decides", lambda way: way.full),
    )
    for name, of in ways:
        points = [of(way) for way in found]
        traps = [100 * point.traps.share for point in points]
        served = [100 * point.served.share for point in points]
        low = [100 * (point.served.share - point.served.low) for point in points]
        high = [100 * (point.served.high - point.served.share) for point in points]
        axes.errorbar(traps, served, yerr=(low, high), marker="o", markersize=3, capsize=2, linewidth=1, label=name)
    axes.axvline(100 * rate, color="grey", linestyle=":", label=f"{rate:.2%} of traps")
    axes.set(xlabel="traps answered wrongly, %", ylabel="served of those that should be, %", ylim=(0, 100))
    axes.set_xscale("symlog", linthresh=1)
    axes.legend(loc="lower right")
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise NoPlot(f"{path}: {error.strerror}") from None
