"""The model that is shipped, and others from a folder."""

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cache.semantic.embed import Reason, Vector
from cache.semantic.embedders.network import Network
from cache.semantic.embedders.onnx_model import MAX_PIECES, ModelError, OnnxModel, Pooling, examine
from cache.semantic.minilm import minilm
from tests.fakes.cross_encoder import cross_encoder

ASKED = "How do I cancel my subscription?"
SAME = "what's the way to end my subscription"
OTHER = "Which planets have rings?"


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return OnnxModel.load(minilm())


def vectors(model: OnnxModel, *texts: str) -> list[Vector]:
    made = model.run(texts)
    assert not any(isinstance(each, Reason) for each in made)
    return [each for each in made if not isinstance(each, Reason)]


def test_questions_that_mean_the_same_are_near(model: OnnxModel) -> None:
    """The model, its tokenizer and the pooling belong together."""
    asked, same, other = vectors(model, ASKED, SAME, OTHER)
    assert asked @ same > 0.75
    assert asked @ other < 0.2


def test_a_vector_does_not_depend_on_its_neighbours(model: OnnxModel) -> None:
    """Whatever else is in the batch, and however long that is."""
    assert model.steady
    together = vectors(model, ASKED, OTHER * 4, "a", SAME)
    for text, vector in zip((ASKED, OTHER * 4, "a", SAME), together, strict=True):
        np.testing.assert_allclose(vector, vectors(model, text)[0], atol=1e-5)


def test_long_texts_and_empty_ones_are_told_apart_from_their_neighbours(model: OnnxModel) -> None:
    """The bound is on word pieces, and one text costs the others nothing."""
    longest = " ".join(["word"] * MAX_PIECES)
    results = model.run([longest, f"{longest} word", "", " \t", ASKED])
    assert [each if isinstance(each, Reason) else None for each in results] == [
        *(None, Reason.TOO_LONG, Reason.BAD, Reason.BAD, None)
    ]


class Session:
    """Makes numbers that depend on how many texts there are."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="input_ids")]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="sentence_embedding")]

    def run(self, names: list[str], given: dict[str, Any]) -> list[Any]:
        assert (names, [*given]) == (["sentence_embedding"], ["input_ids"])
        rows = len(given["input_ids"])
        self.batches.append(rows)
        return [np.ones((rows, 2), np.float32) * [1.0, float(rows)]]


class Words:
    padding = None

    def num_special_tokens_to_add(self, *, is_pair: bool) -> int:
        return int(is_pair)

    def no_padding(self) -> None: ...
    def no_truncation(self) -> None: ...
    def encode(self, text: str) -> Any:
        return SimpleNamespace(ids=[*map(len, text.split())])


def test_a_model_whose_batches_matter_is_given_one_text_at_a_time() -> None:
    """What a text means must not depend on who else asks."""
    session = Session()
    model = OnnxModel(Network(session, Words()), Pooling.OWN, 2)
    assert (model.find_steady(), model.steady) == (2, False)
    session.batches.clear()
    assert len({vector.tobytes() for vector in vectors(model, "a", "b c", "d")}) == 1
    assert session.batches == [1, 1, 1]


def test_a_folder_with_the_same_files_is_the_same_embedder(tmp_path: Path) -> None:
    """Pooling and dimension are read from the model."""
    shipped = minilm()
    (tmp_path / "model.onnx").symlink_to(shipped.model)
    (tmp_path / "tokenizer.json").symlink_to(shipped.tokenizer)
    found = examine(tmp_path)
    assert (found.pooling, found.dimension) == (Pooling.MEAN, 384)
    assert found.fingerprint == shipped.fingerprint


@pytest.mark.parametrize("torn", ["model", "tokenizer"])
def test_a_file_that_is_not_what_it_should_be_is_named(torn: str, tmp_path: Path) -> None:
    """Before anything is made of it."""
    files = {name: tmp_path / name for name in ("model", "tokenizer")}
    shipped = minilm()
    for name, path in files.items():
        whole: bytes = getattr(shipped, name).read_bytes()
        path.write_bytes(whole[: -1 if name == torn else None])
    with pytest.raises(ModelError, match=f"{files[torn]} is not what it should be"):
        OnnxModel.load(dataclasses.replace(shipped, model=files["model"], tokenizer=files["tokenizer"]))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({}, r"model\.onnx cannot be read"),
        ({"model.onnx": b"?"}, r"tokenizer\.json cannot be read"),
        ({"model.onnx": b"?", "tokenizer.json": b"{}"}, r"model\.onnx is no model"),
        ({"model.onnx": None, "tokenizer.json": b"{}"}, r"tokenizer\.json is no tokenizer"),
    ],
)
def test_a_folder_that_holds_no_embedder_says_which_file(
    made: dict[str, bytes | None], said: str, tmp_path: Path
) -> None:
    """The operator reads the name of the file, and what is wrong with it."""
    for name, data in made.items():
        (tmp_path / name).write_bytes(minilm().model.read_bytes() if data is None else data)
    with pytest.raises(ModelError, match=said):
        examine(tmp_path)


def test_what_makes_one_number_of_a_text_is_no_embedder(tmp_path: Path) -> None:
    """A cross-encoder in the wrong place is refused where the folder is looked at, not when it is loaded."""
    with pytest.raises(ModelError, match=r"model\.onnx makes numbers of shape \(2, 1\) of 2 texts: it is no embedder"):
        examine(cross_encoder(tmp_path))


def test_a_file_that_would_be_waited_for_is_refused(tmp_path: Path) -> None:
    """Nobody writes into a pipe that lies where a model should."""
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be read: it is no regular file"):
        examine(tmp_path)
