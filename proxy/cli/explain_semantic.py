"""What `askonce check` says of questions that mean the same."""

from collections.abc import Iterator

from proxy.cli.check_models import Models
from proxy.cli.units import size
from proxy.config import Config
from proxy.config.semantic import Semantic

__all__ = ["explain_semantic"]

_MODES = {
    "off": "off",
    "shadow": "shadow: looked for and counted, never served",
    "on": "on: served where it is licensed or proven",
}
_EMBEDDERS = {
    "minilm": "all-MiniLM-L6-v2, which comes along",
    "onnx": "the model in {folder}",
    "upstream": "{model}, by its upstream's /v1/embeddings",
}


def explain_semantic(config: Config, models: Models) -> Iterator[tuple[str, str]]:
    """Names and what is to be said of them."""
    semantic = config.semantic
    if not config.cache.enabled:
        yield "mode", "off, with the cache"
        return
    yield "mode", _MODES[semantic.mode]
    for name, rules in (("by model", semantic.models), ("by endpoint", semantic.endpoints)):
        if rules:
            yield name, ", ".join(rules)
    if semantic.mode == "off" and not (semantic.models or semantic.endpoints):
        return
    yield "threshold", _threshold(semantic)
    if semantic.not_rules:
        yield "rules", _switched_off(semantic)
    embedder = _EMBEDDERS[semantic.embedder.kind].format(folder=semantic.embedder.folder, model=semantic.embedder.model)
    yield "embedder", f"{embedder}: {models.embedder}" if models.embedder else embedder
    searched = "by the Redis with FT.SEARCH" if semantic.engine == "redis" else "in memory"
    yield "searched", f"{searched}, up to {size(semantic.memory_bytes)}, within {semantic.deadline * 1e3:g} ms"
    if semantic.verifier.path:
        yield "verifier", f"the model in {semantic.verifier.path}: {models.verifier}"
        yield "", f"it is believed {_score(semantic)}"
    if semantic.judge.model:
        yield "judge", f"{semantic.judge.model}, for up to ${semantic.judge.usd_per_day:g} a day"


def _switched_off(semantic: Semantic) -> str:
    from cache.semantic.guard import named_rules

    unknown = sorted({*semantic.not_rules} - named_rules())
    gone = f"; there is no {' and no '.join(unknown)}, as this version has them" if unknown else ""
    return f"{len({*semantic.not_rules}) - len(unknown)} switched off{gone}"


def _threshold(semantic: Semantic) -> str:
    if semantic.threshold:
        return f"{semantic.threshold:g} for reworded questions, which no label has proven"
    return f"as labels prove it, for at most {semantic.max_error_rate:.1%} wrong"


def _score(semantic: Semantic) -> str:
    if semantic.verifier.min_score:
        return f"from {semantic.verifier.min_score:g} on, which no label has proven, until labels disprove it"
    return f"from where labels prove it, for at most {semantic.max_error_rate:.1%} wrong"
