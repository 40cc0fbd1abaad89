"""Models that keep their weights as bytes and multiply with them as float32: said anew, so that the runtime need not.

An exporter that knows no quantised operators writes `weight = Cast(bytes) * scale`, a scale for each column. The
runtime works that out once, when it loads the model, and from then on has four bytes for each, more than a processor's
cache holds, to read for every question. Said as DequantizeLinear, it multiplies bytes with bytes in blocks of 32, which
takes two thirds of the time; and of a table whose rows are looked up, only these rows become float32. Cosines of what
comes out move by a thousandth, some by up to five. A runtime that does not know how does as before.

The file is protobuf, of which four kinds of message matter: github.com/onnx/onnx, onnx.proto.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, final

__all__ = ["with_byte_weights"]

GRAPH, OPERATORS, NODE, TENSOR, RESULT = 7, 8, 1, 5, 12
DOMAIN, VERSION = 1, 2
INPUT, OUTPUT, OP, ATTRIBUTE = 1, 2, 4, 5
DIMS, KIND, NAME, DATA = 1, 2, 8, 9
A_NAME, A_INTEGER, A_GRAPH, A_GRAPHS, A_KIND = 1, 3, 6, 11, 20
FLOAT: Final = 1
INT8: Final = 3
INTEGER: Final = 2
WITH_AXIS: Final = 13
"""From this version of the operators on, DequantizeLinear has an axis."""


class _Field(NamedTuple):
    number: int
    value: memoryview
    integer: int
    whole: memoryview


class _Node(NamedTuple):
    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Sequence[_Field]
    """The fields of all of them."""
    whole: bytes


class _Tensor(NamedTuple):
    dims: tuple[int, ...]
    kind: int
    data: memoryview


class _Weight(NamedTuple):
    """Of bytes. `steps` are the nodes that make it float32, and `users` those that it goes to."""

    data: str
    scale: str
    steps: tuple[_Node, _Node]
    users: Sequence[_Node]


def with_byte_weights(model: bytes) -> bytes | None:
    """None where there is nothing to be said anew, or nothing that can be read."""
    try:
        top = [*_fields(memoryview(model))]
        (graph,) = [field for field in top if field.number == GRAPH]
        if _operators(top) < WITH_AXIS:
            return None
        parts = [*_fields(graph.value)]
        said = _Rewriting(parts).parts()
    except (ValueError, IndexError):
        return None
    if said is None:
        return None
    rest = [bytes(field.whole) for field in top if field is not graph]
    return b"".join([*rest, _message(GRAPH, b"".join(said))])


def _operators(top: Sequence[_Field]) -> int:
    """The version of those that are of no domain of their own."""
    sets = [[*_fields(field.value)] for field in top if field.number == OPERATORS]
    return max(
        field.integer
        for fields in sets
        if all(bytes(field.value) in (b"", b"ai.onnx") for field in fields if field.number == DOMAIN)
        for field in fields
        if field.number == VERSION
    )


@final
class _Rewriting:
    """Of one graph's fields."""

    def __init__(self, parts: Sequence[_Field]) -> None:
        self._parts = parts
        self._tensors = dict(_tensor(part.value) for part in parts if part.number == TENSOR)
        self._nodes = [_node(part) for part in parts if part.number == NODE]
        self._users: defaultdict[str, list[_Node]] = defaultdict(list)
        for node in self._nodes:
            for name in node.inputs:
                self._users[name].append(node)
        results = [field for part in parts if part.number == RESULT for field in _fields(part.value)]
        self._results = {str(field.value, "utf-8") for field in results if field.number == INPUT}
        if any(field.number in (A_GRAPH, A_GRAPHS) for node in self._nodes for field in node.attributes):
            raise ValueError("a graph within the graph, which may use what is outside")

    def parts(self) -> list[bytes] | None:
        """Nodes stay in their order, since each comes before its users."""
        said: dict[bytes, bytes] = {}
        added: list[bytes] = []
        for weight in self._weights():
            cast, product = weight.steps
            if all(self._is_factor(weight, user) for user in weight.users):
                flat = weight.scale + ":flat"
                scale = self._tensors[weight.scale]
                added.append(_float_tensor(flat, scale))
                of_columns = [_attribute("axis", 1)]
                said[cast.whole] = b""
                said[product.whole] = _written("DequantizeLinear", (weight.data, flat), product.outputs, of_columns)
            elif all(self._is_table(weight, user) for user in weight.users):
                said[cast.whole] = said[product.whole] = b""
                said |= {user.whole: _looked_up(weight, user) for user in weight.users}
        if not said:
            return None
        return [said.get(bytes(part.whole), bytes(part.whole)) for part in self._parts] + added

    def _weights(self) -> Iterator[_Weight]:
        made_by = {name: node for node in self._nodes for name in node.outputs}
        for product in self._nodes:
            if product.op != "Mul" or len(product.inputs) != 2:
                continue
            cast, scale = made_by.get(product.inputs[0]), product.inputs[1]
            if cast is None or cast.op != "Cast" or len(self._users[product.inputs[0]]) != 1:
                continue
            data, by = self._tensors.get(cast.inputs[0]), self._tensors.get(scale)
            users = [] if product.outputs[0] in self._results else self._users[product.outputs[0]]
            if data is not None and by is not None and data.kind == INT8 and by.kind == FLOAT and by.data and users:
                yield _Weight(cast.inputs[0], scale, (cast, product), users)

    def _is_factor(self, weight: _Weight, user: _Node) -> bool:
        """Of a product of matrices, with a scale for each column."""
        dims = self._tensors[weight.data].dims
        return (
            user.op == "MatMul"
            and user.inputs[1] == weight.steps[1].outputs[0] != user.inputs[0]
            and len(dims) == 2
            and self._tensors[weight.scale].dims == (1, dims[1])
        )

    def _is_table(self, weight: _Weight, user: _Node) -> bool:
        """Whose rows are looked up, with a scale for each row."""
        dims = self._tensors[weight.data].dims
        return (
            user.op == "Gather"
            and user.inputs[0] == weight.steps[1].outputs[0] != user.inputs[1]
            and not any(field.integer for field in user.attributes if field.number == A_INTEGER)
            and self._tensors[weight.scale].dims == (dims[0], 1)
        )


def _looked_up(weight: _Weight, user: _Node) -> bytes:
    name, where = user.outputs[0], user.inputs[1]
    data, scale, number = (f"{name}:{part}" for part in ("bytes", "scale", "number"))
    return b"".join(
        [
            _written("Gather", (weight.data, where), (data,)),
            _written("Gather", (weight.scale, where), (scale,)),
            _written("Cast", (data,), (number,), [_attribute("to", FLOAT)]),
            _written("Mul", (number, scale), (name,)),
        ]
    )


# protobuf


def _fields(data: memoryview) -> Iterator[_Field]:
    """Raises ValueError or IndexError for what is none."""
    at = 0
    while at < len(data):
        start = at
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        value, integer = data[:0], 0
        match kind:
            case 0:
                integer, at = _varint(data, at)
            case 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            case 1 | 5:
                at += 8 if kind == 1 else 4
            case _:
                raise ValueError(f"a field of kind {kind}")
        if at > len(data):
            raise ValueError("a field without an end")
        yield _Field(number, value, integer, data[start:at])


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number without an end")


def _node(part: _Field) -> _Node:
    fields = [*_fields(part.value)]
    inputs, outputs, ops = (
        [str(field.value, "utf-8") for field in fields if field.number == number] for number in (INPUT, OUTPUT, OP)
    )
    attributes = [each for field in fields if field.number == ATTRIBUTE for each in _fields(field.value)]
    return _Node(ops[0], inputs, outputs, attributes, bytes(part.whole))


def _tensor(data: memoryview) -> tuple[str, _Tensor]:
    name, kind, content = "", 0, data[:0]
    dims: list[int] = []
    for field in _fields(data):
        match field.number:
            case 1:
                dims += _packed(field.value) if field.value else [field.integer]
            case 2:
                kind = field.integer
            case 8:
                name = str(field.value, "utf-8")
            case 9:
                content = field.value
    return name, _Tensor(tuple(dims), kind, content)


def _packed(data: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _float_tensor(name: str, tensor: _Tensor) -> bytes:
    """In one dimension."""
    count = tensor.dims[0] * tensor.dims[1]
    kind = _number(DIMS, count) + _number(KIND, FLOAT)
    return _message(TENSOR, kind + _message(NAME, name.encode()) + _message(DATA, bytes(tensor.data)))


def _attribute(name: str, value: int) -> bytes:
    return _message(A_NAME, name.encode()) + _number(A_INTEGER, value) + _number(A_KIND, INTEGER)


def _written(op: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Sequence[bytes] = ()) -> bytes:
    named = [(INPUT, name) for name in inputs] + [(OUTPUT, name) for name in outputs] + [(OP, op)]
    body = [_message(number, name.encode()) for number, name in named]
    return _message(NODE, b"".join(body + [_message(ATTRIBUTE, each) for each in attributes]))


def _message(number: int, body: bytes) -> bytes:
    return _plain(number << 3 | 2) + _plain(len(body)) + body


def _number(number: int, value: int) -> bytes:
    return _plain(number << 3) + _plain(value)


def _plain(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)
