"""A request that is renamed asks the same of another model."""

import json
from itertools import chain
from urllib.parse import parse_qsl, quote

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.rename import edited, form_with_model, query_with_model, with_model
from proxy.openai.requests import form_model

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('model"\\:{', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "a", '"model":']), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["model", "a", "b", '"model"', "\\model", "Model"])
SPACE = st.text(" \t\n\r", max_size=2)
MODEL = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """A JSON string, some of its letters as their numbers."""
    return '"' + "".join(f"\\u{ord(c):04X}" if draw(st.booleans()) else json.dumps(c)[1:-1] for c in text) + '"'


@st.composite
def objects(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, object]]]:
    """A text, cut where a model's name stands, and what it says."""
    pairs = draw(st.lists(st.tuples(NAMES, JSON), max_size=4))
    pieces = [draw(SPACE) + "{" + draw(SPACE)]
    for place, (name, value) in enumerate(pairs):
        pieces[-1] += ("," if place else "") + draw(SPACE) + draw(spelled(name)) + draw(SPACE) + ":" + draw(SPACE)
        if name == "model":
            pieces.append(draw(SPACE))
        else:
            pieces[-1] += json.dumps(value) + draw(SPACE)
    pieces[-1] += "}" + draw(SPACE)
    return pieces, pairs


def form_of(parts: list[tuple[str, bytes]]) -> bytes:
    part = b'--b+b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    return b"".join([part % (name.encode(), value) for name, value in parts]) + b"--b+b--\r\n"


@given(objects(), MODEL)
def test_a_renamed_object_says_the_same_of_another_model(
    drawn: tuple[list[str], list[tuple[str, object]]], model: str
) -> None:
    """decode(with_model(encode(x), m)) == x | {"model": m} for every x that names one, and any spelling of it."""
    pieces, pairs = drawn
    values = [json.dumps(value) for name, value in pairs if name == "model"]
    body = "".join(chain.from_iterable(zip(pieces, [*values, ""], strict=True))).encode()
    renamed, said = with_model(body, model), dict(pairs)
    if len(said) == len(pairs):  # not a byte beside it changes
        assert renamed == msgspec.json.encode(model).join(piece.encode() for piece in pieces)
    if "model" in said:
        found = json.loads(renamed, object_pairs_hook=list)
        assert [value for name, value in found if name == "model"] == [model]
        assert json.loads(renamed) == said | {"model": model}
    else:
        assert renamed == body


@given(st.binary(max_size=60) | st.text('{}"model:,\\ ', max_size=30).map(str.encode))
def test_any_bytes(body: bytes) -> None:
    """Whatever comes is renamed or left as it is."""
    with_model(body, "m")
    form_with_model(body, b"multipart/form-data; boundary=b", "m")


@given(st.lists(st.tuples(st.sampled_from(["model", "a", "file"]), st.binary(max_size=12)), max_size=4), MODEL)
def test_a_renamed_form_says_the_same_of_another_model(parts: list[tuple[str, bytes]], model: str) -> None:
    """Not a byte beside it changes; and where the router finds a model, there is one to rename."""
    form, kind = form_of(parts), b'multipart/form-data; boundary="b+b"'
    renamed = edited(form, form_with_model(form, kind, model))
    assert renamed == form_of([(name, model.encode() if name == "model" else value) for name, value in parts])
    assert bool(form_model(form)) <= bool(form_with_model(form, kind, model))


PAIRS = st.tuples(st.sampled_from(["model", "mod%65l", "Model", "%6D%6F%64%65%6C", "models", "a", "%"]), NAMES)


@given(st.lists(PAIRS.map("=".join) | st.just("model"), min_size=1).map("&".join), MODEL)
def test_a_renamed_query_keeps_its_other_parameters(query: str, model: str) -> None:
    """In their order and spelling."""
    expected = [
        f"{pair.partition('=')[0]}={quote(model, safe='')}" if parse_qsl(pair, keep_blank_values=True)[0][0] == "model"
        else pair
        for pair in query.split("&")
    ]  # fmt: skip
    assert query_with_model(query.encode(), model) == "&".join(expected).encode()
