"""Heads: what crosses, and how it is written."""

import pytest

from proxy.http1.messages import (
    NOT_FORWARDED,
    BadMessage,
    Caps,
    Fields,
    RequestHead,
    request_head_bytes,
    response_head_bytes,
)


def fields(*lines: tuple[bytes, bytes]) -> Fields:
    found = Fields(Caps())
    for name, value in lines:
        found.add(name, value)
    return found


def test_what_speaks_of_the_connection_is_set_apart() -> None:
    """In whatever case; the others keep their order and number."""
    kept, special = fields((b"X-A", b"1"), (b"TE", b"x"), (b"x-b", b"2"), (b"X-A", b"3"), (b"Host", b"h")).split(
        NOT_FORWARDED
    )
    assert kept == [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]
    assert (special.one(b"host"), special.one(b"te"), special.one(b"upgrade")) == (b"h", b"x", None)


@pytest.mark.parametrize(
    "connection",
    [[b"x-a"], [b"X-A , close"], [b"keep-alive", b"x-a"], [b"close,x-a,,"], [b"", b"x-a"]],
)
def test_fields_that_connection_names_are_dropped(connection: list[bytes]) -> None:
    """All of them, wherever they stand."""
    lines = [(b"connection", value) for value in connection]
    kept, _ = fields((b"x-a", b"1"), *lines, (b"x-b", b"2"), (b"x-a", b"3")).split(NOT_FORWARDED)
    assert kept == [(b"x-b", b"2")]


def test_a_field_that_must_not_repeat() -> None:
    """Refused, even if both say the same."""
    _, special = fields((b"host", b"h"), (b"host", b"h"), (b"te", b"a"), (b"te", b"B, c")).split(NOT_FORWARDED)
    with pytest.raises(BadMessage):
        special.one(b"host")
    assert special.members(b"te") == [b"a", b"b", b"c"]


def test_heads_are_written_as_the_grammar_has_them() -> None:
    """Known reasons, none for unknown statuses, framing last."""
    assert response_head_bytes(404, b"a: b\r\n", b"x: y\r\n") == b"HTTP/1.1 404 Not Found\r\na: b\r\nx: y\r\n\r\n"
    assert response_head_bytes(799, b"", b"") == b"HTTP/1.1 799 \r\n\r\n"
    assert (
        request_head_bytes("GET", b"/a", b"h:1", b"a: \xe9\r\n", b"")
        == b"GET /a HTTP/1.1\r\nhost: h:1\r\na: \xe9\r\n\r\n"
    )


def test_a_head_does_not_show_what_is_in_it() -> None:
    """Its fields may be credentials."""
    head = RequestHead("GET", "/", b"key", [(b"authorization", b"canary")], [], 0, True, True, False, b"", b"")
    assert repr(head) == "<RequestHead GET>"
