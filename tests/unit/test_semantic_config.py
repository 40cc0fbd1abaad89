"""Settings of the semantic tier: what is refused, and what is said of them."""

from pathlib import Path

import pytest

from cache.semantic.learning.scores import SCORES
from proxy.cli.check_models import Models
from proxy.cli.explain_semantic import explain_semantic
from proxy.config import Config, ConfigError, advice, load, read
from proxy.config.semantic_checks import LEAST_SCORE

REFUSED = {
    'models = ["gpt-4o"]': "semantic.models",
    'models = ["gpt-4o=maybe"]': "semantic.models",
    'endpoints = ["embeddings=on"]': "semantic.endpoints",
    'never = [""]': "semantic.never",
    'synonyms = ["freeze"]': "semantic.synonyms",
    'not_synonyms = ["a, b, c"]': "semantic.not_synonyms",
    'engine = "redis"': "semantic.engine",
    'embedder = { kind = "onnx", folder = "/nowhere" }': "semantic.embedder.folder",
    'embedder = { kind = "upstream" }': "semantic.embedder.model",
    'embedder = { kind = "upstream", model = "e" }': "semantic.embedder.dimension",
    'verifier = { path = "/nowhere" }': "semantic.verifier.path",
    "verifier = { min_score = 0.9 }": "semantic.verifier.min_score",
    'verifier = { path = "/", min_score = 0.49 }': "semantic.verifier.min_score",
    "verifier = { label = 0 }": "semantic.verifier.label",
    "verifier = { candidates = 9 }": "semantic.verifier.candidates",
    'verifier = { sha256 = "f" }': "semantic.verifier.sha256",
}


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def configured(folder: Path, text: str) -> Config:
    return load(written(folder, text), {})


@pytest.mark.parametrize(("line", "key"), REFUSED.items())
def test_what_makes_no_sense_stops_the_start(tmp_path: Path, line: str, key: str) -> None:
    """With the key in the one line that says why."""
    with pytest.raises(ConfigError, match=f"^{key}"):
        configured(tmp_path, f"[semantic]\n{line}\n")


def test_the_least_score_that_can_be_set_is_the_least_that_labels_count_for(tmp_path: Path) -> None:
    """What is served for a lower one, no label could disprove."""
    line = f'[semantic]\nverifier = {{ path = "/", min_score = {SCORES[0]} }}\n'
    assert configured(tmp_path, line).semantic.verifier.min_score == LEAST_SCORE == SCORES[0]


def test_what_makes_sense_is_taken(tmp_path: Path) -> None:
    """Of each kind one."""
    text = """[semantic]
    mode = "on"
    models = ["gpt-4o*=on", "*code* = off"]
    endpoints = ["responses=shadow"]
    never = ["opening hours"]
    synonyms = ["freeze, pause", "member, subscriber, user"]
    not_synonyms = ["rent, hire"]
    """
    assert configured(tmp_path, text).semantic.endpoints == ("responses=shadow",)


EXPLAINED = {
    "": "shadow: looked for and counted, never served",
    'mode = "on"': "as labels prove it, for at most 1.0% wrong",
    "threshold = 0.95": "0.95 for reworded questions, which no label has proven",
    'embedder = { kind = "upstream", model = "e-3", dimension = 8 }': "e-3, by its upstream's /v1/embeddings",
    'judge = { model = "gpt-4o-mini" }': "gpt-4o-mini, for up to $1 a day",
    'models = ["a=on"]': "a=on",
}


@pytest.mark.parametrize(("line", "told"), EXPLAINED.items())
def test_check_says_what_it_comes_to(tmp_path: Path, line: str, told: str) -> None:
    """In words."""
    assert told in [text for _, text in explain_semantic(configured(tmp_path, f"[semantic]\n{line}\n"), Models())]


ADVISED = {
    'mode = "off"\n[keys.declared.ci]\nsemantic = "on"\ndigest = "' + "0" * 64 + '"': "keys.declared.ci.semantic",
    "threshold = 0.9": "semantic.threshold",
    "padding = 1.0": "semantic.padding",
}


@pytest.mark.parametrize(("lines", "key"), ADVISED.items())
def test_what_is_probably_not_meant_is_said(tmp_path: Path, lines: str, key: str) -> None:
    """By `askonce check`."""
    loaded = read(written(tmp_path, f"[semantic]\n{lines}\n"), {})
    assert [line for line in advice(loaded, {}, 1) if line.startswith(key)]
