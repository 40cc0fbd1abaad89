"""Responses, well-formed or not: either messages or one named refusal, whatever the bytes and wherever they are cut."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.http import cuts, responses, spoiled
from tests.fuzz.recording import pieces, read_responses

ANYTHING = st.one_of(responses(), spoiled(responses()), st.binary(max_size=200))


@given(responses(), st.booleans())
def test_well_formed_responses_are_read(data: bytes, head_only: bool) -> None:  # noqa: FBT001  (hypothesis draws it)
    """A head, its body, and an end, or a tunnel."""
    events = read_responses([data], heads_only=(head_only,), eof=True)
    assert events[0][0] == "head"
    if b" 101 " not in data:
        assert ("end",) in events


@given(ANYTHING, cuts, st.booleans())
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n", [40], False)
@example(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nbody", [], False)
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", [], True)
def test_cuts_do_not_matter(data: bytes, cuts: list[int], eof: bool) -> None:  # noqa: FBT001  (hypothesis draws it)
    """Any split of the bytes gives the same events, and the same refusal."""
    assert read_responses(pieces(data, cuts), eof=eof) == read_responses([data], eof=eof)


@given(responses(), responses(), cuts)
def test_an_answer_to_head_has_no_body(head: bytes, tail: bytes, cuts: list[int]) -> None:
    """Whatever its fields announce; what follows it is either the next answer or refused."""
    events = read_responses([head, *pieces(tail, cuts)], heads_only=(True, False), eof=True)
    assert events[0][0] == "head"
    if b" 101 " not in head:
        assert events[1] in (("end",), ("bad", events[1][1]) if len(events[1]) > 1 else None)


@given(responses(), st.integers(1, 200))
def test_what_was_cut_short_is_never_whole(data: bytes, missing: int) -> None:
    """A framed answer that lost its last bytes does not end well."""
    cut = data[: max(0, len(data) - missing)]
    if b"until the end" in data or b" 101 " in data:
        return
    events = read_responses([cut], eof=True)
    assert ("end",) not in events
    assert events[-1][0] == "bad"
