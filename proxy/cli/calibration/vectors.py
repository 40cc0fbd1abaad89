"""How similar the questions of each pair are, by the embedder that the gateway has."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import Progress

from cache.semantic.embed import Reason, Vector
from cache.semantic.embedders.onnx_model import ModelFiles, OnnxModel, examine
from cache.semantic.minilm import minilm
from proxy.cli.calibration.pairs import Pair

__all__ = ["files_of", "similarities"]

BATCH: Final = 32


def files_of(folder: Path | None) -> ModelFiles:
    """What comes along, or what lies in a folder. Raises ModelError."""
    return minilm() if folder is None else examine(folder)


def similarities(pairs: Sequence[Pair], files: ModelFiles) -> Iterator[float]:
    """One cosine for each pair; 0 where a question has no vector. Shows its progress. Raises ModelError."""
    texts = sorted({text for pair in pairs for text in (pair.asked, pair.stored)}, key=len)
    model = OnnxModel.load(files)
    vectors: dict[str, Vector | Reason] = {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("embedding", total=len(texts))
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            vectors.update(zip(some, model.run(some), strict=True))
            progress.update(task, advance=len(some))
    for pair in pairs:
        one, other = vectors[pair.asked], vectors[pair.stored]
        if isinstance(one, Reason) or isinstance(other, Reason):
            yield 0.0
        else:
            yield min(float(np.dot(one, other)), 1.0)
