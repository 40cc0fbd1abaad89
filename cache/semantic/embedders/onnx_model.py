"""A model on onnxruntime and the tokenizer that belongs to it: texts in, vectors out, in whatever thread one likes.

Nothing is fetched. Both files are read whole and checked against their digests before either is parsed, and what was
checked is what is parsed. A model that keeps its weights in further files is refused.
"""

import ctypes
import enum
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, final

import numpy as np
from numpy.typing import NDArray

from cache.semantic.embed import Reason, Vector, unit

__all__ = ["MAX_PIECES", "ModelError", "ModelFiles", "OnnxModel", "Pooling", "examine"]

MAX_PIECES: Final = 128
"""Word pieces of a text, without those that stand for its beginning and end."""
TOLERANCE: Final = 1e-4
"""By which a component may change with what else is in the batch."""
PROBES: Final = ("a", "what is said beside it does not change what is said")
"""Of very different lengths, so that one is padded."""
IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
PER_PIECE: Final = ("last_hidden_state", "token_embeddings")
POOLED: Final = "sentence_embedding"


@final
class ModelError(Exception):
    """A model cannot be had. The message names the file, and is the operator's to read."""


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
    model, tokenizer = (_read(path) for path in paths)
    digests = hashlib.sha256(model).hexdigest(), hashlib.sha256(tokenizer).hexdigest()
    session = _session(paths[0], model)
    pooling = Pooling.OWN if POOLED in _names(session.get_outputs()) else Pooling.MEAN
    try:
        made = OnnxModel(session, _tokenizer(paths[1], tokenizer), pooling, 0).raw(PROBES[:1])
    except Exception as error:  # the runtime has no base class of its own
        raise ModelError(f"{paths[0]} does not run: {error}") from error
    return ModelFiles(*paths, *digests, pooling, made.shape[1])


@final
class OnnxModel:
    """A loaded model. May be used by several threads at once, each call on one core."""

    def __init__(self, session: Any, tokenizer: Any, pooling: Pooling, dimension: int) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._pooling = pooling
        self._dimension = dimension
        self._pad: int = (tokenizer.padding or {}).get("pad_id", 0)
        self._added: int = tokenizer.num_special_tokens_to_add(is_pair=False)
        self._inputs = _names(session.get_inputs())
        self._output = _output(session, pooling)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.steady = True
        """A text's vector does not depend on what else is in the batch."""

    def __repr__(self) -> str:
        return f"<OnnxModel {self._dimension} {self._pooling.value} steady={self.steady}>"

    @classmethod
    def load(cls, files: ModelFiles) -> Self:
        """Blocks for about half a second. Raises ModelError."""
        model = _checked(files.model, files.model_sha256)
        tokenizer = _checked(files.tokenizer, files.tokenizer_sha256)
        loaded = cls(
            _session(files.model, model), _tokenizer(files.tokenizer, tokenizer), files.pooling, files.dimension
        )
        try:
            width = loaded.find_steady()
        except Exception as error:  # the runtime has no base class of its own
            raise ModelError(f"{files.model} does not run: {error}") from error
        if width != files.dimension:
            raise ModelError(f"{files.model} makes {width} numbers of a text, not {files.dimension}")
        return loaded

    def find_steady(self) -> int:
        """Sets `steady`. How many numbers a vector has. Raises what the runtime does."""
        together = self.raw(PROBES)
        alone = np.concatenate([self.raw([text]) for text in PROBES])
        size = np.linalg.norm(alone, axis=1, keepdims=True)
        self.steady = bool((np.abs(together - alone) <= TOLERANCE * size).all())
        _give_back()
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
        ids = np.full((len(rows), max(map(len, rows))), self._pad, np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        given = {IDS: ids, MASK: mask, TYPES: np.zeros_like(ids)}
        made: NDArray[np.float32]
        (made,) = self._session.run([self._output], {name: given[name] for name in self._inputs})
        if self._pooling is Pooling.OWN:
            return made
        shown = mask[..., None].astype(np.float32)
        mean: NDArray[np.float32] = (made * shown).sum(axis=1) / shown.sum(axis=1)
        return mean


def _give_back() -> None:
    """Loading takes 70 MB more than what stays; glibc keeps them unless it is told."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


def _checked(path: Path, sha256: str) -> bytes:
    data = _read(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ModelError(f"{path} is not what it should be: its sha256 is {digest}, not {sha256}")
    return data


def _session(path: Path, model: bytes) -> Any:
    # Releases from 1.29 on report to their makers and keep a file for that, unless this is said before they load.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # keeps 80 MB after one long batch, and saves nothing
    options.log_severity_level = 4  # what is wrong is raised
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no base class of its own
        raise ModelError(f"{path} is no model that can be loaded: {error}") from error
    unknown = {*_names(session.get_inputs())} - {IDS, MASK, TYPES}
    if unknown:
        raise ModelError(f"{path} wants {', '.join(sorted(unknown))}, which is not known")
    return session


def _tokenizer(path: Path, data: bytes) -> Any:
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises nothing more special
        raise ModelError(f"{path} is no tokenizer that can be loaded: {error}") from error


def _output(session: Any, pooling: Pooling) -> str:
    names = _names(session.get_outputs())
    if pooling is Pooling.OWN:
        return POOLED
    return next((name for name in PER_PIECE if name in names), names[0])


def _names(values: Sequence[Any]) -> list[str]:
    return [value.name for value in values]
