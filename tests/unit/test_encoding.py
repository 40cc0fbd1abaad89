"""Content codings of an answer."""

import gzip
import os
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest

from cache.encoding import IDENTITY, Decoder, Flaw, Undecodable, compress, decode, negotiate

TEXT = b'{"choices":[{"message":{"content":"the same words again and again"}}]}' * 40
LIMIT = 1 << 20


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def brotlied(body: bytes) -> bytes:
    packed: bytes = brotli.compress(body)
    return packed


PACKERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"GZip": gzip.compress,
    b"deflate": zlib.compress,
    b" deflate ": raw_deflate,
    b"br": brotlied,
    b"": bytes,
    b"identity": bytes,
    b"gzip, br": lambda body: brotlied(gzip.compress(body)),
    b"deflate,,identity , gzip": lambda body: gzip.compress(zlib.compress(body)),
}
PACKED = [coding for coding in PACKERS if coding not in {b"", b"identity"}]


def flaw(coding: bytes, body: bytes, limit: int = LIMIT) -> Flaw | None:
    try:
        decode(coding, body, limit)
    except Undecodable as error:
        return error.flaw
    return None


@pytest.mark.parametrize("coding", PACKERS)
def test_what_was_packed_comes_back(coding: bytes) -> None:
    """In every coding, several at a time, up to the limit and not a byte further."""
    packed = PACKERS[coding](TEXT)
    assert decode(coding, packed, len(TEXT)) == TEXT
    assert decode(coding, PACKERS[coding](b""), 0) == b""
    assert flaw(coding, packed, len(TEXT) - 1) is Flaw.TOO_LARGE


@pytest.mark.parametrize("coding", PACKERS)
def test_byte_by_byte(coding: bytes) -> None:
    """The same comes out."""
    packed = PACKERS[coding](TEXT)
    decoder = Decoder(coding, len(TEXT))
    assert b"".join(decoder.feed(packed[i : i + 1]) for i in range(len(packed))) == TEXT
    decoder.end()


@pytest.mark.parametrize("coding", PACKED)
def test_a_torn_body(coding: bytes) -> None:
    """Cut anywhere, or with anything behind it, it is no body."""
    packed = PACKERS[coding](TEXT)
    assert {flaw(coding, packed[:cut]) for cut in range(len(packed))} == {Flaw.TORN}
    assert flaw(coding, packed + b"x") is Flaw.TORN
    assert flaw(coding, b'{"plain":true}') is Flaw.TORN


@pytest.mark.parametrize("coding", [b"compress", b"gzip, dcb", b"gzip;q=1", b"gzip,gzip,gzip,gzip", b"\xff"])
def test_a_coding_that_nobody_knows(coding: bytes) -> None:
    """Or more of them than anyone means: told before a byte is read."""
    with pytest.raises(Undecodable) as refused:
        Decoder(coding, LIMIT)
    assert refused.value.flaw is Flaw.UNKNOWN


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"gzip, br"])
def test_a_bomb(coding: bytes) -> None:
    """Little more than the limit is ever made of it."""
    bomb = PACKERS[coding](b"\0" * (32 << 20))
    tracemalloc.start()
    try:
        assert flaw(coding, bomb) is Flaw.TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_members() -> None:
    """Several gzip members are one body; thousands of empty ones are an attack."""
    assert decode(b"gzip", gzip.compress(b"one ") + gzip.compress(b"two"), 7) == b"one two"
    assert flaw(b"gzip", gzip.compress(b"one ") + gzip.compress(b"two"), 6) is Flaw.TOO_LARGE
    assert flaw(b"gzip", gzip.compress(b"") * 50_000) is Flaw.TORN


def test_a_stream_of_events() -> None:
    """What an encoder has flushed comes out at once, in gzip, deflate and brotli."""
    events = [b"data: %d\n\n" % i for i in range(50)]
    squeeze = brotli.Compressor()
    for coding, wbits in ((b"gzip", 31), (b"deflate", 15), (b"deflate", -15)):
        packer = zlib.compressobj(wbits=wbits)
        decoder = Decoder(coding, LIMIT)
        sent = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in events]
        assert [decoder.feed(chunk) for chunk in sent] == events
        decoder.feed(packer.flush())
        decoder.end()
    decoder = Decoder(b"br", LIMIT)
    assert [decoder.feed(squeeze.process(event) + squeeze.flush()) for event in events] == events
    with pytest.raises(Undecodable):
        decoder.end()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the standard library has no zstd")
def test_zstd() -> None:
    """As the others, where there is a decoder."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        packed = zstd.compress(TEXT)
        assert decode(b"zstd", packed, len(TEXT)) == TEXT
        assert flaw(b"zstd", packed, len(TEXT) - 1) is Flaw.TOO_LARGE
        assert flaw(b"zstd", packed[:-1]) is Flaw.TORN


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the standard library has zstd")
def test_no_zstd() -> None:
    """Where there is none, that is what is said."""
    assert flaw(b"zstd", b"\x28\xb5\x2f\xfd") is Flaw.UNKNOWN


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (b"", IDENTITY),
        (b"gzip", b"gzip"),
        (b"gzip, br", b"br"),
        (b"gzip, deflate, br, zstd", b"br"),
        (b"GZIP;Q=1.0 , Br ; q=0.5", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"deflate, zstd", IDENTITY),
        (b"*", b"br"),
        (b"*;q=0", IDENTITY),
        (b"*, br;q=0", b"gzip"),
        (b"*;q=0.5, gzip", b"gzip"),
        (b"gzip;q=0", IDENTITY),
        (b"gzip;q=0.001", b"gzip"),
        (b"identity", IDENTITY),
        (b"identity, gzip", b"gzip"),
        (b"identity;q=0.5, gzip;q=0.4", IDENTITY),
        (b"identity;q=0, gzip;q=0.4", b"gzip"),
        (b"identity;q=0", IDENTITY),
        (b"*;q=0, gzip;q=0.1", b"gzip"),
        (b"gzip;q=2", IDENTITY),
        (b"gzip;q=0.1234, br;q=", IDENTITY),
        (b"gzip;level=9", IDENTITY),
        (b", ,gzip,", b"gzip"),
        (b"\xff, gzip", b"gzip"),
        (b"br;q=0.9,gzip;q=0.91", b"gzip"),
        (b"gzip" + b", x" * 300, IDENTITY),
    ],
)
def test_negotiation(accept: bytes, coding: bytes) -> None:
    """RFC 9110 §12.5.3: by weight, then by what is best; refused codings are not sent, odd ones not understood."""
    assert negotiate(accept, (b"br", b"gzip")) == coding


@pytest.mark.parametrize("coding", [b"gzip", b"br"])
def test_compression_that_pays(coding: bytes) -> None:
    """Less than 1 KiB, or what hardly shrinks, stays as it is; the rest is always packed in the same way."""
    packed = compress(coding, TEXT)
    assert packed is not None
    assert decode(coding, packed, LIMIT) == TEXT
    assert compress(coding, TEXT) == packed
    assert compress(coding, TEXT[:1_023]) is None
    assert compress(coding, TEXT[:1_024]) is not None
    assert compress(coding, os.urandom(5_000)) is None
    assert compress(b"identity", TEXT) is None
