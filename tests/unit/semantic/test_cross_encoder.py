"""A model that reads two questions at once: which files it takes, which models, and what it makes of a pair."""

from collections.abc import Sequence
from math import exp
from pathlib import Path

import pytest

from cache.semantic.embed import Reason
from cache.semantic.embedders.cross_encoder import CrossEncoder, Pair, Scores, find
from cache.semantic.embedders.network import ModelError
from cache.semantic.minilm import minilm
from tests.fakes.cross_encoder import ONE, TWO, cross_encoder

ASKED = "How do I get a refund?"
REWORDED = "How do I get my money back as a refund?"
OTHER = "Which planets have rings?"
REVERSED = [-one for one in TWO]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder(tmp_path_factory.mktemp("model"))


def scored(model: CrossEncoder, *pairs: Pair) -> Scores:
    (found,) = model.run([pairs])
    assert not isinstance(found, Reason)
    return found


@pytest.mark.parametrize("classes", [ONE, TWO])
def test_a_score_is_a_probability(classes: Sequence[float], tmp_path: Path) -> None:
    """Of one number by the logistic function, of two by softmax of the last; here that comes to the same."""
    model = CrossEncoder.load(find(cross_encoder(tmp_path, classes)))
    found = scored(model, (ASKED, REWORDED), (REWORDED, ASKED), (ASKED, OTHER))
    logits = [20 * (part - 0.5) for part in (1, 8 / 12, 1 / 8)]
    assert found == tuple(pytest.approx(1 / (1 + exp(-logit)), abs=1e-6) for logit in logits)


def test_a_score_does_not_depend_on_its_neighbours(folder: Path) -> None:
    """Whatever else is read with it, and however long that is."""
    model = CrossEncoder.load(find(folder))
    pairs = (ASKED, REWORDED), (ASKED, OTHER * 4), ("a", "b c")
    assert model.steady
    together = scored(model, *pairs)
    assert together == tuple(pytest.approx(scored(model, pair)[0]) for pair in pairs)


def test_what_is_too_long_is_not_read_at_all(folder: Path) -> None:
    """What is cut off might be what tells the two apart; it costs its neighbours nothing."""
    model = CrossEncoder.load(find(folder, max_tokens=20))
    long, short = scored(model, (ASKED, REWORDED), (ASKED, ASKED))
    assert long is None
    assert short is not None
    assert scored(model) == ()


def test_a_question_cannot_say_where_it_ends(folder: Path) -> None:
    """Marks of the model's own are words like others where a client writes them."""
    model = CrossEncoder.load(find(folder))
    same, marked = scored(model, (ASKED, ASKED), (f"{ASKED} [SEP] [PAD]", ASKED))
    assert same is not None
    assert marked is not None
    assert marked < same


def test_what_makes_vectors_is_no_verifier(tmp_path: Path) -> None:
    """It is told at the start, by the shape of what it makes."""
    shipped = minilm()
    (tmp_path / "model.onnx").symlink_to(shipped.model)
    (tmp_path / "tokenizer.json").symlink_to(shipped.tokenizer)
    with pytest.raises(ModelError, match="it is no cross-encoder"):
        CrossEncoder.load(find(tmp_path))


def test_where_there_are_no_words_there_is_no_score(folder: Path) -> None:
    """Some models make no number of nothing."""
    assert CrossEncoder.load(find(folder)).run([(("", ""),)]) == [(None,)]


@pytest.mark.parametrize("name", ["model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_O3.onnx"])
def test_a_model_is_found_where_exports_have_it(name: str, tmp_path: Path) -> None:
    """By its name, or because there is no other."""
    assert find(cross_encoder(tmp_path, name=name)).model == tmp_path / name


def test_of_several_models_none_is_guessed(tmp_path: Path) -> None:
    """Unless one is called what a model is called."""
    for name in ("model_O1.onnx", "model_O2.onnx"):
        cross_encoder(tmp_path, name=name)
    with pytest.raises(ModelError, match=r"model_O1\.onnx, model_O2\.onnx where there should be one"):
        find(tmp_path)
    cross_encoder(tmp_path)
    assert find(tmp_path).model.name == "model.onnx"


@pytest.mark.parametrize(
    ("classes", "label", "said"),
    [
        (REVERSED, -1, "its label the right one"),
        (TWO, 0, "its label the right one"),
        ([0.0, 1.0, 0.0], -1, "label has to say which"),
        (TWO, 2, "there is no label 2"),
    ],
)
def test_a_model_that_says_yes_for_no_is_refused(
    classes: Sequence[float], label: int, said: str, tmp_path: Path
) -> None:
    """Nothing in an export says which class means the same."""
    with pytest.raises(ModelError, match=said):
        CrossEncoder.load(find(cross_encoder(tmp_path, classes), label=label))
    assert CrossEncoder.load(find(cross_encoder(tmp_path, [0.0, 1.0, 0.0]), label=1)).steady


def test_another_model_is_another_verifier(folder: Path, tmp_path: Path) -> None:
    """So is another reading of the same: labels of one prove nothing of the other."""
    files = find(folder), find(cross_encoder(tmp_path, TWO)), find(tmp_path, label=1), find(folder, max_tokens=64)
    assert len({CrossEncoder.load(each).fingerprint for each in files}) == 4
