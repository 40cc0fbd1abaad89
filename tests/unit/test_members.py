"""Values in the text of a JSON object."""

import pytest

from proxy.openai.members import NotPlain, Span, cut, elements, members, replace

TEXT = b' {\t"a" : [1, "]" ,{"b":[2]}] ,\n"b\\u0022\\\\":"}\\"," , "":null,"\xc3\xbc":-1.5e3}\r\n'


def test_members_stand_where_they_are_said_to() -> None:
    """Names as they mean, values as they are written."""
    found = {name: TEXT[span.start : span.end] for name, span in members(TEXT).items()}
    assert found == {"a": b'[1, "]" ,{"b":[2]}]', 'b"\\': b'"}\\","', "": b"null", "ü": b"-1.5e3"}
    assert members(b" { } ") == {}


def test_elements_stand_where_they_are_said_to() -> None:
    """Whatever they are, and whatever space is about."""
    text = b'{"a": [ 1 ,"x, ]",[ 2],\n{}\t] }'
    where = members(text)["a"]
    assert [text[span.start : span.end] for span in elements(text, where)] == [b"1", b'"x, ]"', b"[ 2]", b"{}"]
    assert elements(b"[ ]", Span(0, 3)) == []


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"1", b'{"a":1}}', b'{"\xff":1}', b'{"a":%b}' % (b"[" * 50_000)])
def test_what_is_no_object(text: bytes) -> None:
    """One error."""
    with pytest.raises(NotPlain):
        members(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"b":2,"a":1}',
        b'{"a":1,"\\u0061":1}',
        b'{"a":{"z":1,"b":2},"b":3,"a":123456}',
        b'{"a":1,"x":9,"a":1234567}',
    ],
)
def test_what_is_not_plain(text: bytes) -> None:
    """Names that come twice: parsers disagree on which one counts."""
    with pytest.raises(NotPlain):
        members(text)


def test_what_is_no_array() -> None:
    """The same error."""
    with pytest.raises(NotPlain):
        elements(b'{"a":1}', Span(0, 7))


def test_replacing() -> None:
    """In any order, and no other byte."""
    spans = members(TEXT)
    other = replace(TEXT, {spans["ü"]: b"7", spans["a"]: b""})
    assert other == TEXT.replace(b"-1.5e3", b"7").replace(b'[1, "]" ,{"b":[2]}]', b"")


@pytest.mark.parametrize(
    ("text", "name", "rest"),
    [
        (b'{"a":1,"b":2,"c":3}', "a", b'{"b":2,"c":3}'),
        (b'{"a":1,"b":2,"c":3}', "b", b'{"a":1,"c":3}'),
        (b'{"a":1,"b":2,"c":3}', "c", b'{"a":1,"b":2}'),
        (b' { "a" : 1 , "b" : [2] }\n', "a", b' { "b" : [2] }\n'),
        (b' { "a" : 1 , "b" : [2] }\n', "b", b' { "a" : 1 }\n'),
        (b'{"a":1}', "a", b"{}"),
        (b' { "a" : 1 } ', "a", b" { } "),
        (b' {"b" : {"a":1} } ', "a", b' {"b" : {"a":1} } '),
        (b"{}", "a", b"{}"),
    ],
)
def test_cutting(text: bytes, name: str, rest: bytes) -> None:
    """First, middle, last, alone or none: the member goes, with one comma."""
    assert cut(text, name) == rest
