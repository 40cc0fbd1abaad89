"""`askonce calibrate`: what the semantic tier would have made of labelled pairs of questions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.asking import ConfigFile, Json, fail, show

if TYPE_CHECKING:
    from proxy.cli.calibration.report import Report

__all__ = ["calibrate"]


def calibrate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help='Lines of JSON: {"a": …, "b": …, "same_answer": true}.')
    ],
    max_error_rate: Annotated[
        float | None,
        typer.Option(min=0.000001, max=0.5, help="Default: semantic.max_error_rate of the configuration."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw it into this file.")] = None,
    embedder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of model.onnx and tokenizer.json. Default: that of the configuration."),
    ] = None,
    verifier: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of a cross-encoder. Default: that of the configuration, if there is one."),
    ] = None,
    config: ConfigFile = None,
    *,
    as_json: Json = False,
) -> None:  # fmt: skip
    """What the semantic tier would have made of labelled pairs of questions, at every threshold.

    `a` was answered, `b` is asked, and `same_answer` says whether the answer is right for it too. Both are texts, or
    lists of messages of which the last is the question. `category` is any name, to be counted by.

    It decides as the gateway does, by the configuration that the gateway has, and reads nothing but files.
    """
    from math import inf

    from cache.semantic.decide import Settings
    from cache.semantic.embedders.cross_encoder import find
    from cache.semantic.embedders.network import ModelError
    from cache.semantic.learning import calibrate as learning
    from proxy import config as configuration
    from proxy.cli.calibration.measuring import judge
    from proxy.cli.calibration.pairs import BadPairs, read_pairs
    from proxy.cli.calibration.plot import NoPlot, draw
    from proxy.cli.calibration.reading import ALONE, read
    from proxy.cli.calibration.report import report
    from proxy.cli.calibration.vectors import files_of, similarities
    from proxy.semantic.guarding import guard_of
    from proxy.semantic.modes import Never

    semantic = configuration.load(configuration.find(config)).semantic
    if embedder is None and semantic.embedder.kind == "upstream":
        fail("the embedder of the configuration is an upstream's: name another with --embedder")
    if embedder is None and semantic.embedder.kind == "onnx":
        embedder = Path(semantic.embedder.folder)
    try:
        pairs = read_pairs(file, Never(semantic.never, usual=semantic.never_usual))
        judged = judge(pairs, similarities(pairs, files_of(embedder)), guard_of(semantic))
        rate, reads = max_error_rate or semantic.max_error_rate, semantic.verifier
        settings = Settings(audit=0.0)
        if folder := verifier or (Path(reads.path) if reads.path else None):
            sha256 = "" if verifier else reads.sha256
            judged = read(judged, find(folder, sha256=sha256, label=reads.label, max_tokens=reads.max_tokens))
            settings = ALONE
        limits = learning.Settings(max_error_rate=rate)
        found = report(judged, settings, semantic.threshold or inf, limits, reads.min_score or inf)
        if plot is not None:
            draw(found.ways, plot, rate)
    except (BadPairs, ModelError, NoPlot) as error:
        fail(str(error))
    _print(found, as_json=as_json)


def _print(found: "Report", *, as_json: bool) -> None:
    if as_json:
        show(found.document(), [], as_json=True)
        return
    for title, rows in found.tables():
        print(title)
        show({}, rows, as_json=False)
        print()
