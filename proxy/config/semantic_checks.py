"""What types cannot say of the answers to questions that mean the same."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.config.allowance_checks import is_pattern
from proxy.config.section import ConfigError
from proxy.config.settings import Config

__all__ = ["ENDPOINTS", "LEAST_SCORE", "check_semantic"]

_Called = Callable[[str], str]

ENDPOINTS: Final = ("chat/completions", "responses", "completions")
"""Those whose answers are text."""
MODES: Final = ("off", "shadow", "on")
MAX_PHRASE: Final = 64
MAX_PHRASES: Final = 200
LEAST_SCORE: Final = 0.5
"""No lower one is counted: labels could not disprove what it lets through."""
RULE: Final = re.compile(
    "(?:wordings|recasts|frames|phrases|synonyms)/[0-9a-f]{8}"
    "|plural|article|possessive|capital|marks|light|frame|spelling|head|preposition|typo|orders"
).fullmatch
"""As `askonce cache why` names them. What is none any more is told by `askonce check`, and stops no gateway."""
FILES: Final = ("model.onnx", "tokenizer.json")


def check_semantic(config: Config, called: _Called) -> None:
    """Raises ConfigError; `called` turns a dotted key into what the operator calls it."""
    semantic = config.semantic
    for rule in semantic.models:
        pattern, _, mode = rule.rpartition("=")
        if not is_pattern(pattern.strip()) or mode.strip() not in MODES:
            raise ConfigError(f"{called('semantic.models')}: {rule[:64]!r} is not pattern=mode, such as 'gpt-4o*=on'")
    for rule in semantic.endpoints:
        endpoint, _, mode = rule.rpartition("=")
        if endpoint.strip() not in ENDPOINTS or mode.strip() not in MODES:
            known = ", ".join(ENDPOINTS)
            raise ConfigError(f"{called('semantic.endpoints')}: {rule[:64]!r} is not endpoint=mode, of {known}")
    _check_phrases(called("semantic.never"), semantic.never)
    _check_words(called("semantic.synonyms"), semantic.synonyms, "'freeze, pause'", most=16)
    _check_words(called("semantic.not_synonyms"), semantic.not_synonyms, "'rent, hire'", most=2)
    for name in semantic.not_rules:
        if not RULE(name):
            raise ConfigError(f"{called('semantic.not_rules')}: {name[:64]!r} is no rule such as 'wordings/5809c2d2'")
    if semantic.engine == "redis" and not config.redis.url:
        raise ConfigError(f'{called("semantic.engine")}: "redis" needs redis.url')
    _check_embedder(config, called)
    _check_verifier(config, called)


def _check_phrases(called: str, phrases: tuple[str, ...]) -> None:
    if len(phrases) > MAX_PHRASES:
        raise ConfigError(f"{called}: at most {MAX_PHRASES} phrases")
    for phrase in phrases:
        if not phrase.strip() or len(phrase) > MAX_PHRASE or not phrase.isprintable():
            raise ConfigError(f"{called}: a phrase is 1 to {MAX_PHRASE} printable characters")


def _check_words(called: str, rules: tuple[str, ...], example: str, *, most: int) -> None:
    for rule in rules:
        words = [word.strip() for word in rule.split(",")]
        if not 2 <= len(words) <= most or not all(word and len(word) <= MAX_PHRASE for word in words):
            raise ConfigError(f"{called}: {rule[:64]!r} is no list of words such as {example}")


def _check_embedder(config: Config, called: _Called) -> None:
    embedder = config.semantic.embedder
    if embedder.kind == "upstream" and not embedder.model:
        raise ConfigError(f'{called("semantic.embedder.model")}: embedder.kind "upstream" needs a model')
    if embedder.kind == "upstream" and not embedder.dimension:
        raise ConfigError(f'{called("semantic.embedder.dimension")}: embedder.kind "upstream" needs one')
    if embedder.kind == "onnx":
        folder = Path(embedder.folder)
        missing = [name for name in FILES if not embedder.folder or not (folder / name).is_file()]
        if missing:
            raise ConfigError(f"{called('semantic.embedder.folder')}: it has no {' and no '.join(missing)}")


def _check_verifier(config: Config, called: _Called) -> None:
    verifier = config.semantic.verifier
    said = {"sha256": verifier.sha256, "label": verifier.label >= 0, "min_score": verifier.min_score}
    if not verifier.path:
        for name in (name for name, value in said.items() if value):
            raise ConfigError(f"{called(f'semantic.verifier.{name}')}: there is no {called('semantic.verifier.path')}")
    elif not Path(verifier.path).is_dir():
        raise ConfigError(f"{called('semantic.verifier.path')}: it is no directory")
    if 0 < verifier.min_score < LEAST_SCORE:
        raise ConfigError(f"{called('semantic.verifier.min_score')}: labels count from {LEAST_SCORE} on; 0 is none")
