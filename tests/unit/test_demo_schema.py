"""Documents made after a JSON Schema."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.demo.model.schema import MAX_DEPTH, MAX_NODES, example

NODE: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["name", "next"],
    "additionalProperties": False,
}


def fits(schema: Any, value: Any, root: Any = None) -> bool:
    """Whether `value` satisfies the keywords that the tests use."""
    root = schema if root is None else root
    if "$ref" in schema:
        return fits(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in schema:
        return any(fits(branch, value, root) for branch in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    match schema["type"]:
        case "object":
            known = schema.get("properties", {})
            return (
                isinstance(value, dict)
                and set(schema.get("required", ())) <= set(value) <= set(known)
                and all(fits(known[name], item, root) for name, item in value.items())
            )
        case "array":
            fitting = isinstance(value, list) and schema.get("minItems", 0) <= len(value) <= schema.get(
                "maxItems", 10**9
            )
            return fitting and all(fits(schema["items"], item, root) for item in value)
        case "string":
            return isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
        case "integer":
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and schema.get("minimum", value) <= value <= schema.get("maximum", value)
        case "number":
            return isinstance(value, int | float)
        case "boolean":
            return isinstance(value, bool)
        case _:
            return value is None


def bounded(kind: str, low: str, high: str) -> st.SearchStrategy[dict[str, Any]]:
    least = st.integers(0, 40)
    return st.tuples(least, st.integers(0, 20)).map(lambda pair: {"type": kind, low: pair[0], high: sum(pair)})


leaves = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "number"}, {"enum": ["a", 1, None]}]),
    bounded("string", "minLength", "maxLength"),
    bounded("integer", "minimum", "maximum"),
)


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(
        lambda fields: {"type": "object", "properties": fields, "required": list(fields)}
    )
    arrays = st.tuples(inner, st.integers(0, 3), st.integers(0, 3)).map(
        lambda made: {"type": "array", "items": made[0], "minItems": made[1], "maxItems": made[1] + made[2]}
    )
    return st.one_of(objects, arrays, st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}))


@given(st.recursive(leaves, nested, max_leaves=8), st.text(max_size=4))
def test_example_satisfies_its_schema(schema: dict[str, Any], seed: str) -> None:
    """Whatever the schema, the document fits it, and is the same for the same seed."""
    document = example(schema, seed)
    assert fits(schema, document)
    assert example(schema, seed) == document


def test_recursion_ends() -> None:
    """A schema that refers to itself gives a document of bounded depth that fits."""
    schema = {"$ref": "#/$defs/node", "$defs": {"node": NODE}}
    document = example(schema, "seed")
    assert fits(schema, document)
    assert msgspec.json.encode(document).count(b"{") <= MAX_DEPTH + 1


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"type": "object", "properties": {name: {"$ref": "#"} for name in "abcd"}, "required": [*"abcd"]},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}]},
        {"type": "array", "minItems": 1_000, "items": {"$ref": "#"}},
    ],
)
def test_endless_recursion_ends(schema: dict[str, Any]) -> None:
    """A schema that nothing finite can satisfy ends all the same, in a document of bounded size."""
    document = example(schema, "seed")
    assert len(msgspec.json.encode(document)) < 40 * MAX_NODES


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({"const": {"a": 1}}, {"a": 1}),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "string", "pattern": "^[A-Z]{3}-\\d{2}$"}, "AAA-77"),
        ({"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6}, 5),
        ({"type": "number", "multipleOf": 10, "minimum": 15, "maximum": 25}, 20),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"type": ["null", "boolean"], "enum": [True]}, True),
        ({"prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 3}, [1, 2, 3]),
        ({"type": "array", "items": {"const": "x"}, "uniqueItems": True}, ["x", "x-1"]),
        ({"$ref": "#/$defs/nowhere"}, example({}, "seed")),
    ],
)
def test_keywords(schema: dict[str, Any], document: Any) -> None:
    """Each keyword is obeyed."""
    assert example(schema, "seed") == document
