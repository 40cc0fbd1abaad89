"""`askonce check` loads the models that are to run in this process, as the start does."""

import time
from typing import Final, NamedTuple

from proxy.config import Config
from proxy.config.semantic import Semantic
from proxy.semantic.modes import Modes

__all__ = ["Models", "load_models"]

TYPICAL: Final = "What do I have to bring along when I collect a parcel for somebody else?"
SHARE: Final = 0.5
"""Of the deadline, what a verifier may take of a quiet machine: embedding and searching take some, and it is not always
quiet.
"""


class Models(NamedTuple):
    """What is to be said of each, "" where there is none; and what starts, but will not do what is wanted."""

    embedder: str = ""
    verifier: str = ""
    warnings: tuple[str, ...] = ()


def load_models(config: Config) -> Models:
    """Those from folders. Blocks for some seconds. Raises ConfigError for one that can't be used."""
    semantic = config.semantic
    if not config.cache.enabled or not Modes.read(semantic.mode, semantic.models, semantic.endpoints).any:
        return Models()
    embedder = _embedder(semantic) if semantic.embedder.kind == "onnx" else ""
    return _verifier(semantic, embedder) if semantic.verifier.path else Models(embedder)


def _embedder(semantic: Semantic) -> str:
    # Importing this takes a second, which other configurations do without.
    from proxy.local_models import embedder_files

    files = embedder_files(semantic)
    return f"{files.dimension} numbers, sha256 {files.model_sha256}"


def _verifier(semantic: Semantic, embedder: str) -> Models:
    from cache.semantic.verify import questions_in_pairs
    from proxy.local_models import cross_encoder

    model = cross_encoder(semantic)
    look = questions_in_pairs(TYPICAL, [TYPICAL] * semantic.verifier.candidates)
    model.run([look])
    begun = time.perf_counter()
    model.run([look])
    took = time.perf_counter() - begun
    told = f"{took * 1e3:.1f} ms for {semantic.verifier.candidates} questions of {len(TYPICAL)} characters"
    if took <= SHARE * semantic.deadline:
        return Models(embedder, told)
    late = f"semantic.deadline: {semantic.deadline * 1e3:g} ms for all of a look, of which the verifier takes {told}"
    return Models(embedder, told, (late,))
