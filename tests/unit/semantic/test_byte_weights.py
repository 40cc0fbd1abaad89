"""A model whose weights are bytes says the same when it is said anew."""

from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, checker, helper, load_from_string, numpy_helper

from cache.semantic.embedders.byte_weights import with_byte_weights
from cache.semantic.embedders.network import Network, session, tokenizer_of
from cache.semantic.minilm import minilm

DRAW = np.random.default_rng(1)
TEXTS = ("How do I cancel my subscription?", "what's the way to end it", "Which planets have rings?", "a")


def small(scale: tuple[int, ...], use: str, *, shown: bool = False, operators: int = 17) -> bytes:
    """64 × 32 bytes with a scale, by which something is multiplied, or whose rows are looked up."""
    tensors = [
        numpy_helper.from_array(DRAW.integers(-127, 128, (64, 32), np.int8), "bytes"),
        numpy_helper.from_array(DRAW.random(scale, np.float32) / 100, "scale"),
    ]
    nodes = [
        helper.make_node("Cast", ["bytes"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["weight"]),
        helper.make_node(use, ["weight", "x"] if use == "Gather" else ["x", "weight"], ["made"]),
    ]
    kind = TensorProto.INT64 if use == "Gather" else TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("x", kind, ["rows"] if use == "Gather" else ["rows", 64])]
    names = ("made", "weight") if shown else ("made",)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 32]) for name in names]
    graph = helper.make_graph(nodes, "small", inputs, outputs, tensors)
    written: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", operators)], ir_version=7 if operators < 13 else 9
    ).SerializeToString()
    return written


def made(model: bytes, use: str) -> np.ndarray:
    draw = np.random.default_rng(2)
    x = np.arange(0, 64, 7) if use == "Gather" else draw.standard_normal((5, 64), np.float32)
    result: np.ndarray = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    return result


@pytest.mark.parametrize(
    ("scale", "use", "written"), [((1, 32), "MatMul", "DequantizeLinear"), ((64, 1), "Gather", "Gather")]
)
def test_what_is_said_anew_is_a_sound_model_that_makes_the_same(scale: tuple[int, ...], use: str, written: str) -> None:
    """A product to within what eight bits tell, a table to the bit."""
    model = small(scale, use)
    anew = with_byte_weights(model)
    assert anew is not None
    checker.check_model(anew, full_check=True)
    assert load_from_string(anew).graph.node[0].op_type == written
    before, after = made(model, use), made(anew, use)
    assert np.abs(before - after).max() <= (0.0 if use == "Gather" else 0.01 * np.abs(before).max())


@pytest.mark.parametrize(
    ("scale", "use", "shown"),
    [((64, 1), "MatMul", False), ((1, 1), "MatMul", False), ((1, 32), "Gather", False), ((64, 1), "Gather", True)],
)
def test_what_is_written_in_another_way_stays(scale: tuple[int, ...], use: str, shown: bool) -> None:  # noqa: FBT001
    """A scale that is not of columns or rows; a weight that is also a result."""
    assert with_byte_weights(small(scale, use, shown=shown)) is None


def test_a_model_of_older_operators_stays() -> None:
    """Which have DequantizeLinear without an axis: it loads as it did."""
    model = small((1, 32), "MatMul", operators=12)
    assert made(model, "MatMul").shape == (5, 32)
    assert with_byte_weights(model) is None


def test_where_it_does_not_load_when_said_anew_the_model_is_loaded_as_it_is() -> None:
    """Such as one that already has a node which makes what would be written."""
    model = load_from_string(small((64, 1), "Gather"))
    model.graph.input[0].name = model.graph.node[2].input[1] = "input_ids"
    model.graph.node.append(helper.make_node("Identity", ["input_ids"], ["made:scale"]))
    whole = model.SerializeToString()
    anew = with_byte_weights(whole)
    assert anew is not None
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        onnxruntime.InferenceSession(anew, providers=["CPUExecutionProvider"])
    assert [each.name for each in session(Path("model.onnx"), whole).get_outputs()] == ["made"]


def test_the_shipped_model_makes_nearly_the_same_of_its_bytes() -> None:
    """Each vector and each cosine to a thousandth or two, for a model of which nothing is left to be said anew."""
    files = minilm()
    whole = files.model.read_bytes()
    anew = with_byte_weights(whole)
    assert anew is not None
    assert (anew.count(b"DequantizeLinear"), with_byte_weights(anew)) == (36, None)
    tokenizer = tokenizer_of(files.tokenizer, files.tokenizer.read_bytes())
    rows = [tokenizer.encode(text).ids for text in TEXTS]
    plain = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    vectors = []
    for network in (Network(plain, tokenizer), Network(session(files.model, whole), tokenizer)):
        sums = [network.run([row], network.outputs[0])[0][0].sum(axis=0) for row in rows]
        vectors.append(np.stack([each / np.linalg.norm(each) for each in sums]))
    before, after = vectors
    assert np.vecdot(before, after).min() > 0.999
    assert np.abs(before @ before.T - after @ after.T).max() < 0.003


@given(st.binary(max_size=200), st.integers(0, 2_500), st.binary(max_size=3))
@settings(max_examples=150, deadline=None)
def test_what_is_no_model_is_left_to_the_runtime(data: bytes, at: int, other: bytes) -> None:
    """Nothing is raised for any bytes, nor for a model that is torn or overwritten."""
    model = small((1, 32), "MatMul")
    assert with_byte_weights(data) is None
    with_byte_weights(model[:at])
    with_byte_weights(model[:at] + other + model[at + len(other) :])
