"""A cross-encoder on onnxruntime: it reads two texts at once, and says how surely they mean the same.

An export has one output for each pair, or one for each class (`logits`): the first is turned into a score between 0
and 1 by the logistic function, and of the others by softmax that of one class. Which class, an export does not say: of
two it is mostly the last, of three it may be any, and a model that is asked for the wrong one says yes where it should
say no. So of three and more it has to be named; and a model that scores two questions that have nothing in common as
high as one beside itself is refused.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from cache.semantic.embed import Reason
from cache.semantic.embedders.network import ModelError, Network, digest, give_back, read, session, tokenizer_of

__all__ = ["MAX_TOKENS", "CrossEncoder", "Pair", "Pairs", "Scores", "VerifierFiles", "find"]

MAX_TOKENS: Final = 256
LAST: Final = -1
"""The class that means the same, where nobody has named one."""
TOLERANCE: Final = 1e-4
"""By which a score may change with what else is in the batch."""
PROBE: Final = "How do I reset my password?"
UNLIKE: Final = "Which of the planets have rings around them, and what are these made of?"
LOGITS: Final = "logits"

Pair: TypeAlias = tuple[str, str]
Pairs: TypeAlias = tuple[Pair, ...]
Scores: TypeAlias = tuple[float | None, ...]
"""From 0 to 1; None for a pair that is too long to be read whole, or of which a model makes no number."""


@final
@dataclass(frozen=True, slots=True)
class VerifierFiles:
    """A model by its files. `sha256` is what that of the model must be, "" for anything; `label` the class that means
    the same; `max_tokens` what it reads of both texts together.
    """

    model: Path
    tokenizer: Path
    sha256: str = ""
    label: int = LAST
    max_tokens: int = MAX_TOKENS


def find(folder: Path, *, sha256: str = "", label: int = LAST, max_tokens: int = MAX_TOKENS) -> VerifierFiles:
    """`tokenizer.json`, and `model.onnx` or `onnx/model.onnx` or the only other `*.onnx`. Raises ModelError."""
    named = [path for path in (folder / "model.onnx", folder / "onnx" / "model.onnx") if path.is_file()]
    others = [path for place in (folder, folder / "onnx") for path in sorted(place.glob("*.onnx"))]
    tokenizer = folder / "tokenizer.json"
    if not named and len(others) != 1:
        known = ", ".join(path.name for path in others) or "no *.onnx"
        raise ModelError(f"{folder} has no model.onnx, and {known} where there should be one")
    if not tokenizer.is_file():
        raise ModelError(f"{folder} has no tokenizer.json")
    return VerifierFiles((named or others)[0], tokenizer, sha256, label, max_tokens)


@final
class CrossEncoder:
    """A loaded model. May be used by several threads at once, each call on one core."""

    def __init__(self, network: Network, *, label: int = LAST, max_tokens: int = MAX_TOKENS, mark: str = "") -> None:
        self._network = network
        self._tokenizer = network.tokenizer
        # Else a question that says [SEP] is two, and says itself what it is to be compared with.
        self._tokenizer.encode_special_tokens = True
        self._label = label
        self._max_tokens = max_tokens
        self._output = LOGITS if LOGITS in network.outputs else network.outputs[0]
        self.fingerprint = mark
        """Of all that decides on the numbers. Scores of two models are never compared."""
        self.steady = True
        """A pair's score does not depend on what else is in the batch."""

    def __repr__(self) -> str:
        return f"<CrossEncoder {self.fingerprint[:12]} up to {self._max_tokens} pieces steady={self.steady}>"

    @classmethod
    def load(cls, files: VerifierFiles) -> Self:
        """Blocks for a second or so. Raises ModelError."""
        model, tokenizer = read(files.model), read(files.tokenizer)
        if files.sha256 and files.sha256 != digest(model):
            raise ModelError(f"{files.model} is not what it should be: its sha256 is {digest(model)}")
        parts = " ".join([digest(model), digest(tokenizer), str(files.label), str(files.max_tokens)])
        network = Network(session(files.model, model), tokenizer_of(files.tokenizer, tokenizer))
        mark = hashlib.sha256(parts.encode()).hexdigest()
        loaded = cls(network, label=files.label, max_tokens=files.max_tokens, mark=mark)
        try:
            loaded.prove(files.model)
        except ModelError:
            raise
        except Exception as error:  # the runtime has no base class of its own
            raise ModelError(f"{files.model} does not run: {error}") from error
        return loaded

    def prove(self, path: Path) -> None:
        """Sets `steady`. Raises ModelError where its scores can't be used, and what the runtime does."""
        pairs = (PROBE, PROBE), (PROBE, UNLIKE)
        self._check_shape(path, self._raw(pairs[:1]))
        together = self._scored(pairs)
        alone = [self._scored([pair])[0] for pair in pairs]
        give_back()
        if not np.isfinite([*together, *alone]).all():
            raise ModelError(f"{path} makes no numbers of two questions")
        same, other = alone
        if same <= other:
            raise ModelError(
                f"{path} scores a question beside itself {same:.3f}, and beside one that has nothing in common with it"
                f" {other:.3f}: is it one for questions that mean the same, and its label the right one?"
            )
        self.steady = bool(np.abs(np.subtract(together, alone)).max() <= TOLERANCE)

    def run(self, looks: Sequence[Pairs]) -> list[Scores | Reason]:
        """For each of several that wait, the scores of its pairs."""
        return [self._read(pairs) for pairs in looks]

    def _read(self, pairs: Pairs) -> Scores:
        scores: list[float | None] = [None] * len(pairs)
        encoded = [(place, self._tokenizer.encode(*pair)) for place, pair in enumerate(pairs)]
        fit = [(place, found) for place, found in encoded if len(found.ids) <= self._max_tokens]
        for batch in [fit] if self.steady and fit else [[each] for each in fit]:
            rows, types = [found.ids for _, found in batch], [found.type_ids for _, found in batch]
            made = self._probabilities(self._network.run(rows, self._output, types)[0])
            for (place, _), score in zip(batch, made, strict=True):
                scores[place] = score if 0 <= score <= 1 else None
        return tuple(scores)

    def _check_shape(self, path: Path, made: NDArray[np.float32]) -> None:
        if made.ndim > 2 or len(made) != 1:
            raise ModelError(f"{path} makes numbers of shape {made.shape} of one pair: it is no cross-encoder")
        classes = made.size
        if classes > 2 and self._label == LAST:
            raise ModelError(f"{path} tells {classes} classes apart: label has to say which of them means the same")
        if not -classes <= self._label < classes:
            raise ModelError(f"{path} tells {classes} classes apart: there is no label {self._label}")

    def _scored(self, pairs: Sequence[Pair]) -> list[float]:
        return self._probabilities(self._raw(pairs))

    def _raw(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        encoded = [self._tokenizer.encode(*pair) for pair in pairs]
        made, _ = self._network.run([each.ids for each in encoded], self._output, [each.type_ids for each in encoded])
        return made

    def _probabilities(self, made: NDArray[np.float32]) -> list[float]:
        logits = made.reshape(len(made), -1).astype(np.float64)
        with np.errstate(all="ignore"):
            if logits.shape[1] == 1:
                scores: NDArray[np.float64] = 1 / (1 + np.exp(-logits[:, 0]))
            else:
                powers = np.exp(logits - logits.max(axis=1, keepdims=True))
                scores = powers[:, self._label] / powers.sum(axis=1)
        return [float(score) for score in scores]
