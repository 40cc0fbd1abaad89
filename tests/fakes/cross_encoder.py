"""A small cross-encoder in ONNX: how large a part of the word pieces of one question the other has as well.

It is not symmetric, has the inputs and outputs that exports of real ones have, and reads as the shipped tokenizer does.
"""

from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, helper, save

from cache.semantic.minilm import minilm

__all__ = ["ONE", "TWO", "cross_encoder"]

WORDS = 999
"""Ids of pieces that stand for no text are below."""
STEEP = 20.0
"""The part of the pieces that is shared, less a half, times this is the logit."""
ONE: Sequence[float] = [1.0]
TWO: Sequence[float] = [-0.5, 0.5]
"""By class, what the logit is multiplied with."""
NODES = (
    ("Greater", ["input_ids", "words"], "is_word"),
    ("Cast", ["is_word"], "word"),
    ("Cast", ["attention_mask"], "mask"),
    ("Cast", ["token_type_ids"], "second"),
    ("Mul", ["word", "mask"], "counted"),
    ("Mul", ["counted", "second"], "theirs"),
    ("Sub", ["counted", "theirs"], "ours"),
    ("Unsqueeze", ["input_ids", "last"], "down"),
    ("Unsqueeze", ["input_ids", "middle"], "across"),
    ("Equal", ["down", "across"], "is_equal"),
    ("Cast", ["is_equal"], "equal"),
    ("Unsqueeze", ["theirs", "middle"], "theirs_across"),
    ("Mul", ["equal", "theirs_across"], "found"),
    ("ReduceMax", ["found", "last"], "has"),
    ("Mul", ["has", "ours"], "shared"),
    ("ReduceSum", ["shared", "pieces"], "both"),
    ("ReduceSum", ["ours", "pieces"], "all"),
    ("Div", ["both", "all"], "part"),
    ("Sub", ["part", "half"], "more"),
    ("Mul", ["more", "steep"], "logit"),
    ("Mul", ["logit", "classes"], "logits"),
)


def cross_encoder(folder: Path, classes: Sequence[float] = ONE, name: str = "model.onnx") -> Path:
    """Is written into that folder, which is given back."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    save(_model(classes), folder / name)
    (folder / "tokenizer.json").write_bytes(minilm().tokenizer.read_bytes())
    return folder


def _model(classes: Sequence[float]) -> ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["pairs", "pieces"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["pairs", len(classes)])]
    numbers = {"half": [0.5], "steep": [STEEP], "classes": [*classes]}
    axes = {"words": WORDS, "last": 2, "middle": 1, "pieces": 1}
    constants = [
        *(helper.make_tensor(name, TensorProto.FLOAT, [len(each)], each) for name, each in numbers.items()),
        *(helper.make_tensor(name, TensorProto.INT64, [1], [each]) for name, each in axes.items()),
    ]
    nodes = [_node(kind, given, made) for kind, given, made in NODES]
    graph = helper.make_graph(nodes, "overlap", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _node(kind: str, given: list[str], made: str) -> NodeProto:
    if kind == "Cast":
        return helper.make_node(kind, given, [made], to=TensorProto.FLOAT)
    if kind.startswith("Reduce"):
        # Sums keep their axis, so that there is a row for each pair.
        return helper.make_node(kind, given, [made], keepdims=int(made in ("both", "all")))
    return helper.make_node(kind, given, [made])
