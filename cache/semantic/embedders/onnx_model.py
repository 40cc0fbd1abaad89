"""A model on onnxruntime that makes vectors of texts, in whatever thread one likes."""

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray

from cache.semantic.embed import Reason, Vector, unit
from cache.semantic.embedders.network import (
    ModelError,
    Network,
    checked,
    digest,
    give_back,
    read,
    session,
    tokenizer_of,
)

__all__ = ["MAX_PIECES", "ModelError", "ModelFiles", "OnnxModel", "Pooling", "examine"]

MAX_PIECES: Final = 128
"""Word pieces of a text, without those that stand for its beginning and end."""
TOLERANCE: Final = 1e-4
"""By which a component may change with what else is in the batch."""
PROBES: Final = ("a", "what is said beside it does not change what is said")
"""Of very different lengths, so that one is padded."""
PER_PIECE: Final = ("last_hidden_state", "token_embeddings")
POOLED: Final = "sentence_embedding"


class Pooling(enum.Enum):
    """How one vector is made of a text's pieces."""

    MEAN = "mean"
    OWN = "own"
    """The model does it."""


@final
@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model by its files and what they must be."""

    model: Path
    tokenizer: Path
    model_sha256: str
    tokenizer_sha256: str
    pooling: Pooling
    dimension: int

    @property
    def fingerprint(self) -> str:
        """Of all that decides on the numbers."""
        parts = (self.model_sha256, self.tokenizer_sha256, self.pooling.value, str(self.dimension))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def examine(folder: Path) -> ModelFiles:
    """What `model.onnx` and `tokenizer.json` in a folder are. Blocks for about a second. Raises ModelError."""
    paths = folder / "model.onnx", folder / "tokenizer.json"
    model, tokenizer = (read(path) for path in paths)
    network = Network(session(paths[0], model), tokenizer_of(paths[1], tokenizer))
    pooling = Pooling.OWN if POOLED in network.outputs else Pooling.MEAN
    dimension = OnnxModel(network, pooling, 0).prove(paths[0])
    return ModelFiles(*paths, digest(model), digest(tokenizer), pooling, dimension)


@final
class OnnxModel:
    """A loaded model. May be used by several threads at once, each call on one core."""

    def __init__(self, network: Network, pooling: Pooling, dimension: int) -> None:
        self._network = network
        self._tokenizer = network.tokenizer
        self._pooling = pooling
        self._dimension = dimension
        self._added: int = network.tokenizer.num_special_tokens_to_add(is_pair=False)
        self._output = _output(network.outputs, pooling)
        self.steady = True
        """A text's vector does not depend on what else is in the batch."""

    def __repr__(self) -> str:
        return f"<OnnxModel {self._dimension} {self._pooling.value} steady={self.steady}>"

    @classmethod
    def load(cls, files: ModelFiles) -> Self:
        """Blocks for about half a second. Raises ModelError."""
        model = checked(files.model, files.model_sha256)
        tokenizer = checked(files.tokenizer, files.tokenizer_sha256)
        network = Network(session(files.model, model), tokenizer_of(files.tokenizer, tokenizer))
        loaded = cls(network, files.pooling, files.dimension)
        width = loaded.prove(files.model)
        if width != files.dimension:
            raise ModelError(f"{files.model} makes {width} numbers of a text, not {files.dimension}")
        return loaded

    def prove(self, path: Path) -> int:
        """Sets `steady`. How many numbers a vector has. Raises ModelError for what makes no vectors."""
        try:
            self._check_shape(path)
            return self.find_steady()
        except ModelError:
            raise
        except Exception as error:  # the runtime has no base class of its own
            raise ModelError(f"{path} does not run: {error}") from error

    def _check_shape(self, path: Path) -> None:
        made, mask = self._network.run([self._tokenizer.encode(text).ids for text in PROBES], self._output)
        wanted = mask.shape if self._pooling is Pooling.MEAN else mask.shape[:1]
        if made.shape[:-1] != wanted or made.shape[-1] < 2:
            what = f"numbers of shape {made.shape} of {len(PROBES)} texts"
            raise ModelError(f"{path} makes {what}: it is no embedder")

    def find_steady(self) -> int:
        """Sets `steady`. How many numbers a vector has. Raises what the runtime does."""
        together = self.raw(PROBES)
        alone = np.concatenate([self.raw([text]) for text in PROBES])
        size = np.linalg.norm(alone, axis=1, keepdims=True)
        self.steady = bool((np.abs(together - alone) <= TOLERANCE * size).all())
        give_back()
        return int(together.shape[1])

    def run(self, texts: Sequence[str]) -> list[Vector | Reason]:
        """A vector for each, or why there is none."""
        results: list[Vector | Reason] = [Reason.BAD] * len(texts)
        good: list[tuple[int, list[int]]] = []
        for place, text in enumerate(texts):
            ids = self._tokenizer.encode(text).ids
            pieces = len(ids) - self._added
            if pieces > MAX_PIECES:
                results[place] = Reason.TOO_LONG
            elif pieces > 0:
                good.append((place, ids))
        for batch in [good] if self.steady and good else [[each] for each in good]:
            made = self._vectors([ids for _, ids in batch])
            for (place, _), vector in zip(batch, made, strict=True):
                results[place] = unit(vector, self._dimension)
        return results

    def raw(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As the model has them, of any length. Raises what the runtime does."""
        return self._vectors([self._tokenizer.encode(text).ids for text in texts])

    def _vectors(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        made, mask = self._network.run(rows, self._output)
        if self._pooling is Pooling.OWN:
            return made
        shown = mask[..., None].astype(np.float32)
        mean: NDArray[np.float32] = (made * shown).sum(axis=1) / shown.sum(axis=1)
        return mean


def _output(names: Sequence[str], pooling: Pooling) -> str:
    if pooling is Pooling.OWN:
        return POOLED
    return next((name for name in PER_PIECE if name in names), names[0])
