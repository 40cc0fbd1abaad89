"""Responses, well-formed or not: either messages or one named refusal, whatever the bytes and wherever they are cut."""

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.http1.express import size_line
from tests.fuzz.http import chunked_reads, cuts, responses, spoiled
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


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@given(chunked_reads, st.booleans())
@example([b"7\r\nhello\n\n\r\n", b"1", b"7\r\nhello\n\n\r\n"], False)
@example([b"7\r\nhello\n\n\r\n", b"0\r\n", b"3\r\n2\n\n\r\n"], False)
@example([b"7\r\nhello\n\n\r\n", b"0\r\n\r\n", b"7\r\nhello\n\n\r\n"], False)
@example([b"4\r\n1\r\n\n\r\n", b"2\r\n\n\n\r\n", b"0\r\n\r\n"], False)
def test_the_short_way_is_the_same_way(reads: list[bytes], eof: bool) -> None:  # noqa: FBT001  (hypothesis draws it)
    """Chunks that are passed on as they were framed make the same body, with the same end or refusal."""
    assert read_responses([CHUNKED, *reads], eof=eof, passed=[]) == read_responses([CHUNKED, *reads], eof=eof)


def test_what_takes_the_short_way() -> None:
    """Behind the first, chunks that come alone, end an event, and are framed as we frame them."""
    short = [b"7\r\nhello\n\n\r\n", b"1f\r\n%b\n\n\r\n" % (29 * b"x")]
    long = [
        b"3\r\na\n\n\r\n3\r\nb\n\n\r\n",
        b"1F\r\n%b\n\n\r\n" % (29 * b"x"),
        b"7\r\nerror\n\n\r\n",
        b"5\r\nhello\r\n",
    ]
    passed: list[bytes] = []
    read_responses([CHUNKED, short[0], *short, *long, *short, b"0\r\n\r\n"], passed=passed)
    assert passed == short * 2


@given(st.integers(1, 1 << 16) | st.integers(1, 1 << 24))
@example((1 << 16) - 1)
@example(1 << 16)
def test_small_chunks_begin_as_we_write_them(size: int) -> None:
    """And no two sizes make chunks of one length. Those of 64 KiB take the long way."""
    line = b"%x\r\n" % size
    assert size_line(len(line) + size + 2) == (line if size < 1 << 16 else b"")
    assert size_line(5) == b""


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
