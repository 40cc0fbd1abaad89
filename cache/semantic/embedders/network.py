"""A network on onnxruntime and the tokenizer that belongs to it: word pieces in, numbers out, in any thread.

Nothing is fetched. Both files are read whole and checked against their digests before either is parsed, and what was
checked is what is parsed. A network that keeps its weights in further files is refused.
"""

import ctypes
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from cache.semantic.embedders.byte_weights import with_byte_weights

__all__ = ["ModelError", "Network", "checked", "digest", "give_back", "read", "session", "tokenizer_of"]

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
PROVIDERS: Final = ["CPUExecutionProvider"]


@final
class ModelError(Exception):
    """A model cannot be had. The message names the file, and is the operator's to read."""


@final
class Network:
    """`tokenizer` is taken as it is but for padding and truncation, which are done here and nowhere."""

    __slots__ = ("_inputs", "_pad", "_session", "outputs", "tokenizer")

    def __init__(self, session: Any, tokenizer: Any) -> None:
        self._session = session
        self._pad: int = (tokenizer.padding or {}).get("pad_id", 0)
        self._inputs = _names(session.get_inputs())
        self.outputs = _names(session.get_outputs())
        self.tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()

    def __repr__(self) -> str:
        return f"<Network {', '.join(self._inputs)} → {', '.join(self.outputs)}>"

    def run(
        self, rows: Sequence[Sequence[int]], output: str, types: Sequence[Sequence[int]] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """What one output has for each row, and 1 where there are pieces, 0 for padding. Raises what the runtime does.

        `types` tells for each piece which of two texts it is of; where there are none, all are of the first.
        """
        ids = np.full((len(rows), max(map(len, rows))), self._pad, np.int64)
        mask = np.zeros_like(ids)
        kinds = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
            if types:
                kinds[place, : len(row)] = types[place]
        given = {IDS: ids, MASK: mask, TYPES: kinds}
        made: NDArray[np.float32]
        (made,) = self._session.run([output], {name: given[name] for name in self._inputs})
        return made, mask


def give_back() -> None:
    """Loading takes 70 MB more than what stays; glibc keeps them unless it is told."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def read(path: Path) -> bytes:
    """Raises ModelError."""
    try:
        # What is written to by another process is waited for without an end.
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} cannot be read: it is no regular file")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def checked(path: Path, sha256: str) -> bytes:
    """Raises ModelError for what can't be read, or is something else."""
    data = read(path)
    if (found := digest(data)) != sha256:
        raise ModelError(f"{path} is not what it should be: its sha256 is {found}, not {sha256}")
    return data


def session(path: Path, model: bytes) -> Any:
    """`path` is for the message. Blocks for up to a second. Raises ModelError.

    Where the weights can be bytes, they are, if that loads.
    """
    # Releases from 1.29 on report to their makers and keep a file for that, unless this is said before they load.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # keeps 80 MB after one long batch, and saves nothing
    options.log_severity_level = 4  # what is wrong is raised

    def of(data: bytes) -> Any:
        try:
            return onnxruntime.InferenceSession(data, options, providers=PROVIDERS)
        except Exception as error:  # the runtime has no base class of its own
            raise ModelError(f"{path} is no model that can be loaded: {error}") from error

    anew = with_byte_weights(model)
    try:
        made = of(model if anew is None else anew)
    except ModelError:
        if anew is None:
            raise
        made = of(model)
    unknown = {*_names(made.get_inputs())} - {IDS, MASK, TYPES}
    if unknown:
        raise ModelError(f"{path} wants {', '.join(sorted(unknown))}, which is not known")
    return made


def tokenizer_of(path: Path, data: bytes) -> Any:
    """Raises ModelError."""
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises nothing more special
        raise ModelError(f"{path} is no tokenizer that can be loaded: {error}") from error


def _names(values: Sequence[Any]) -> list[str]:
    return [value.name for value in values]
