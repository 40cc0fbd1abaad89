"""Values in the text of a JSON object: found where they are, in any spelling, or refused."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.members import NotPlain, Span, cut, elements, members, replace

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\b{', max_size=2), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text('ab"\\u,:{} ', max_size=2)
SPACE = st.text(" \t\n\r", max_size=2)


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, list[tuple[str, object]]]:
    """A text, and what it says."""
    pairs = draw(st.lists(st.tuples(NAMES, JSON), max_size=4))
    inside = ",".join(
        draw(SPACE) + json.dumps(name) + draw(SPACE) + ":" + draw(SPACE) + json.dumps(value) + draw(SPACE)
        for name, value in pairs
    )
    return f"{draw(SPACE)}{{{inside or draw(SPACE)}}}{draw(SPACE)}", pairs


@given(objects())
@example(('{"a":1,"b":1,"a":1}', [("a", 1), ("b", 1), ("a", 1)]))
def test_every_member_is_found(drawn: tuple[str, list[tuple[str, object]]]) -> None:
    """Or the names are not distinct."""
    text, pairs = drawn[0].encode(), drawn[1]
    try:
        spans = members(text)
    except NotPlain:
        assert len(dict(pairs)) < len(pairs)
        return
    assert [(name, json.loads(text[start:end])) for name, (start, end) in spans.items()] == pairs
    assert json.loads(replace(text, dict.fromkeys(spans.values(), b"7"))) == dict.fromkeys(spans, 7)
    for name in spans:
        assert json.loads(cut(text, name)) == {other: value for other, value in pairs if other != name}


@given(st.lists(JSON, max_size=5), SPACE)
def test_every_element_is_found(values: list[object], space: str) -> None:
    """In order."""
    text = f"[{space}{f'{space},{space}'.join(map(json.dumps, values))}{space}]".encode()
    assert [json.loads(text[start:end]) for start, end in elements(text, Span(0, len(text)))] == values
