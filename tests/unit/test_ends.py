"""The members of a JSON object that stand in its two ends."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.ends import HEAD, TAIL, WHOLE, Ends, members_at

NAMES = st.sampled_from(["usage", "model", "x", '"usage":{', '\\"usage', "}", '{"usage":{"a":1}}', ""])
TEXTS = NAMES | st.text('"\\{}[]:,usage', max_size=12) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)


def read(found: bytes) -> dict[str, Any]:
    return msgspec.json.decode(found, type=dict[str, Any])


@given(OBJECTS, st.integers(0, 200), st.integers(0, 200), st.booleans())
@example({'"usage': {"a": 1}}, 0, 16, False)
@example({'\\"usage': {"a": 1}}, 0, 16, False)
def test_what_stands_in_the_ends_is_told_as_by_the_whole(
    whole: dict[str, Any],
    first: int,
    last: int,
    wide: bool,  # noqa: FBT001  (hypothesis gives it)
) -> None:
    """Wherever it is cut: no member of a text, or of what is inside, and none with another value."""
    text = msgspec.json.encode(whole)
    text = msgspec.json.format(text) + b"\n" if wide else text
    for name, value in read(members_at(text[:first], text[max(0, len(text) - last) :])).items():
        assert whole[name] == value


@given(OBJECTS, st.binary(max_size=20), st.binary(max_size=20))
def test_whatever_stands_whole_in_an_end_is_found(whole: dict[str, Any], before: bytes, behind: bytes) -> None:
    """Before or behind a member that is missing."""
    members = msgspec.json.encode(whole)[1:-1]
    missing = msgspec.json.encode(before.decode("latin-1") + '"' + behind.decode("latin-1"))
    comma = b"," if members else b""
    last = b'{"data":[%b]%b%b}' % (missing, comma, members)
    cut = last[last.index(missing) + 1 :]
    assert read(members_at(b"", cut)) == whole
    first = b'{%b%b"data":[%b]}' % (members, comma, missing)
    assert read(members_at(first[: len(members) + len(b',"data":[') + 2], b"")) == whole
    assert read(members_at(first, first)) == {**whole, "data": [msgspec.json.decode(missing)]}


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_have_ends(head: bytes, tail: bytes) -> None:
    """It never fails; what it finds begins and ends as an object does."""
    found = members_at(head, tail)
    assert (found[:1], found[-1:]) == (b"{", b"}")


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (b'AAAA"}],"usage":{"a":[1,{"b":2}]},"x":1}\n', {"usage": {"a": [1, {"b": 2}]}, "x": 1}),
        (b'..\\"usage\\":{\\"a\\":1}}"}],"model":"m"}', {"model": "m"}),
        (b'"x":{"usage":{"a":1}}}', {}),
        (b',"x":{"usage":{"a":1}}}', {"x": {"usage": {"a": 1}}}),
        (b'"usage":{"a":1}]', {}),
        (b'"usage":{"a":1', {}),
        (b'\\"usage":{"a":1}}', {}),
        (b'\\\\"usage":{"a":1}}', {}),
        (b"", {}),
    ],
)
def test_the_last_members(tail: bytes, found: dict[str, Any]) -> None:
    """Those that begin behind the cut; not what stands in a text, or deeper, or in what is no object."""
    assert read(members_at(b"", tail)) == found


@given(st.lists(st.binary(max_size=40_000), max_size=8))
def test_ends_are_bounded(chunks: list[bytes]) -> None:
    """Of a short body all is kept, of a longer one its first bytes and its last."""
    ends, body = Ends(), b"".join(chunks)
    for chunk in chunks:
        ends.add(chunk)
        assert len(ends.head) + len(ends.rest) <= WHOLE + HEAD
    assert ends.size == len(body)
    if len(body) <= WHOLE:
        assert (ends.head, ends.rest) == (b"", body)
    else:
        assert ends.head == body[:HEAD]
        assert body.endswith(ends.rest)
        assert len(ends.rest) >= TAIL
