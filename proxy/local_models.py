"""The composition root's part that makes what reads questions: the embedder, and the verifier if there is one."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from cache.semantic.embed import Work
from cache.semantic.embedders.asked import AskedWork, fingerprint_of
from cache.semantic.embedders.cross_encoder import CrossEncoder, find
from cache.semantic.embedders.network import ModelError
from cache.semantic.embedders.onnx_model import ModelFiles, examine
from cache.semantic.embedders.threads import ModelThreads, text_threads
from cache.semantic.minilm import minilm
from cache.semantic.verify import ThreadedVerifier, pieces_of_pairs
from proxy.config import Config, ConfigError
from proxy.config.semantic import Semantic
from proxy.own_calls import OwnCalls
from proxy.semantic.embeddings_call import embeddings_call

__all__ = ["PATIENCE", "cross_encoder", "embedder", "embedder_files", "verifier"]

PATIENCE: Final = 10.0
"""Seconds that a model has where nobody waits."""


def embedder(config: Config, own: Callable[[], OwnCalls], clock: Callable[[], float]) -> tuple[Work, str, int]:
    """What makes vectors, its fingerprint, and how many numbers a vector has. Raises ConfigError."""
    chosen = config.semantic.embedder
    if chosen.kind == "upstream":
        ask = embeddings_call(own, chosen.model, chosen.dimension, seconds=PATIENCE)
        fingerprint = fingerprint_of(_places(config), chosen.model, chosen.dimension)
        return AskedWork(ask, chosen.dimension, most=chosen.queue), fingerprint, chosen.dimension
    files = embedder_files(config.semantic)
    threads = text_threads(files, clock, threads=chosen.threads, queue=chosen.queue)
    return threads, files.fingerprint, files.dimension


def embedder_files(semantic: Semantic) -> ModelFiles:
    """Of an embedder of this process. Blocks for about a second. Raises ConfigError."""
    try:
        return minilm() if semantic.embedder.kind == "minilm" else examine(Path(semantic.embedder.folder))
    except ModelError as error:
        raise ConfigError(f"semantic.embedder: {error}") from None


def verifier(semantic: Semantic, clock: Callable[[], float]) -> ThreadedVerifier | None:
    """None: there is none, and nothing is loaded. Raises ConfigError."""
    chosen = semantic.verifier
    if not chosen.path:
        return None
    model = cross_encoder(semantic)
    work = ModelThreads(lambda: model, clock, pieces_of_pairs, threads=chosen.threads, queue=chosen.queue)
    return ThreadedVerifier(work, model.fingerprint, clock, deadline=semantic.deadline, patience=PATIENCE)


def cross_encoder(semantic: Semantic) -> CrossEncoder:
    """That of the verifier. Blocks for a second or so. Raises ConfigError."""
    chosen = semantic.verifier
    try:
        files = find(Path(chosen.path), sha256=chosen.sha256, label=chosen.label, max_tokens=chosen.max_tokens)
        return CrossEncoder.load(files)
    except ModelError as error:
        raise ConfigError(f"semantic.verifier: {error}") from None


def _places(config: Config) -> bytes:
    """Who may make the vectors of a name: another upstream, another model."""
    return repr(sorted((name, upstream.base_url) for name, upstream in config.upstreams.items())).encode()
