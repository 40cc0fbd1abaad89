"""Content codings: whatever an upstream sends, the plain body, or one of three flaws."""

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import brotli
from hypothesis import example, given
from hypothesis import strategies as st

from cache.encoding import AVAILABLE, IDENTITY, Decoder, Undecodable, decode, negotiate

PACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
}
CODINGS = st.lists(st.sampled_from(sorted(PACK)), max_size=3)
BODIES = st.binary(max_size=2_000) | st.tuples(st.binary(max_size=9), st.integers(0, 5_000)).map(lambda t: t[0] * t[1])


def cut(body: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in pairwise(marks)]


@given(BODIES, CODINGS, st.lists(st.integers(0, 5_000), max_size=8), st.integers(0, 50_000))
def test_pieces_are_the_whole(body: bytes, codings: list[bytes], places: list[int], limit: int) -> None:
    """In any codings, cut anyhow: what was packed, if it is within the limit."""
    packed = body
    for coding in codings:
        packed = PACK[coding](packed)
    decoder = Decoder(b",".join(codings), limit)
    try:
        assert b"".join([decoder.feed(piece) for piece in cut(packed, places)]) == body
        decoder.end()
    except Undecodable:
        assert len(body) > limit
    else:
        assert len(body) <= limit


@given(st.sampled_from([b"gzip", b"deflate", b"br", b"gzip,br"]), st.binary(max_size=200), st.integers(0, 1_000))
@example(b"deflate", b"x", 10)
@example(b"deflate", b"\x78\x9c", 10)
@example(b"br", b"\x06", 0)
def test_junk_is_torn(coding: bytes, junk: bytes, limit: int) -> None:
    """Never another exception, and never more than the limit."""
    with suppress(Undecodable):
        assert len(decode(coding, junk, limit)) <= limit


@given(BODIES, st.sampled_from(sorted(PACK)), st.integers(0, 5_000), st.binary(min_size=1, max_size=2))
def test_damage_is_torn_or_seen_through(body: bytes, coding: bytes, place: int, junk: bytes) -> None:
    """gzip and zlib have a checksum: what comes out is what went in."""
    packed = PACK[coding](body)
    place %= len(packed) + 1
    try:
        plain = decode(coding, packed[:place] + junk + packed[place + len(junk) :], 1 << 20)
    except Undecodable:
        return
    assert coding != b"gzip" or plain == body


@given(st.text("gzipbrdefl*identy,;q=01. \t", max_size=60).map(str.encode) | st.binary(max_size=60))
def test_any_field_is_negotiated(accept: bytes) -> None:
    """Something that there is, and nothing that the client did not name, nor by `*`."""
    coding = negotiate(accept)
    assert coding in (*AVAILABLE, IDENTITY)
    assert coding == IDENTITY or coding in accept.lower() or b"*" in accept
