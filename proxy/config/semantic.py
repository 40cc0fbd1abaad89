"""Settings of the answers to questions that mean the same."""

from typing import Annotated, Literal

from msgspec import Meta

from proxy.config.section import Count, Section

__all__ = ["Embedder", "Judge", "Semantic", "Verifier"]


class Embedder(Section, frozen=True):
    """What turns a question into a vector."""

    kind: Literal["minilm", "onnx", "upstream"] = "minilm"
    folder: str = ""
    model: str = ""
    dimension: Annotated[int, Meta(ge=0, le=4_096)] = 0
    threads: Annotated[int, Meta(ge=1, le=16)] = 1
    queue: Annotated[int, Meta(ge=1, le=10_000)] = 256


class Verifier(Section, frozen=True):
    """A cross-encoder that reads what is near beside what is asked; none where there is no path."""

    path: str = ""
    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    label: Annotated[int, Meta(ge=-1, le=99)] = -1
    min_score: Annotated[float, Meta(ge=0, le=1)] = 0.0
    candidates: Annotated[int, Meta(ge=1, le=8)] = 3
    max_tokens: Annotated[int, Meta(ge=16, le=512)] = 256
    threads: Annotated[int, Meta(ge=1, le=16)] = 1
    queue: Annotated[int, Meta(ge=1, le=10_000)] = 64


class Judge(Section, frozen=True):
    """A model that is asked whether two answers say the same; none where it is not named."""

    model: str = ""
    sample: Annotated[float, Meta(ge=0, le=1)] = 1.0
    usd_per_day: Annotated[float, Meta(ge=0, le=1e6)] = 1.0


class Semantic(Section, frozen=True):
    """Questions that mean the same."""

    mode: Literal["off", "shadow", "on"] = "shadow"
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    deadline: Annotated[float, Meta(gt=0, le=10)] = 0.03
    engine: Literal["memory", "redis"] = "memory"
    memory_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 256 << 20
    version: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{0,64}$")] = ""
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0
    max_error_rate: Annotated[float, Meta(gt=0, le=0.5)] = 0.01
    audit: Annotated[float, Meta(ge=0, le=1)] = 0.02
    inserts_per_minute: Count = 120
    never: tuple[str, ...] = ()
    never_usual: bool = True
    synonyms: tuple[str, ...] = ()
    not_synonyms: tuple[str, ...] = ()
    not_rules: tuple[str, ...] = ()
    padding: Annotated[float, Meta(ge=0, le=60)] = 0.0
    label_days: Annotated[float, Meta(gt=0, le=3_650)] = 90.0
    embedder: Embedder = Embedder()
    verifier: Verifier = Verifier()
    judge: Judge = Judge()
