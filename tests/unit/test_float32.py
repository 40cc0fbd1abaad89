"""The two forms of an embedding."""

import base64
import json
import struct

import pytest

from proxy.openai.float32 import NotFloat32, length, shortest, to_base64, to_decimals, unpack


def packed(*numbers: float) -> bytes:
    return json.dumps(base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()).encode()


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (0x00000000, "0.0"),
        (0x80000000, "-0.0"),
        (0x00000001, "1e-45"),
        (0x807FFFFF, "-1.1754942e-38"),
        (0x00800000, "1.1754944e-38"),
        (0x7F7FFFFF, "3.4028235e+38"),
        (0xFF7FFFFF, "-3.4028235e+38"),
        (0x3F800000, "1.0"),
        (0x3DCCCCCD, "0.1"),
        (0x3EAAAAAB, "0.33333334"),
        (0x40490FDB, "3.1415927"),
        (0x4B800000, "16777216.0"),
        (0x4B7FFFFF, "16777215.0"),
        (0x501502F9, "1e+10"),
        (0x1C881970, "9.0063e-22"),
        (0xBC18F5C3, "-0.009335938"),
    ],
)
def test_a_float32_in_the_fewest_digits(bits: int, text: str) -> None:
    """Zeros, subnormals and the largest; a number without a fraction remains no integer."""
    (number,) = struct.unpack("<f", struct.pack("<I", bits))
    assert shortest([number]) == [text]
    assert to_decimals(packed(number)) == f"[{text}]".encode()
    assert to_base64(f"[{text}]".encode()) == packed(number)


def test_numbers_of_other_spellings_are_rounded() -> None:
    """Integers, doubles and exponents become the nearest float32, in little-endian order."""
    assert to_base64(b"[1, 0.1, 1E-3 , -0.0]") == packed(1, 0.1, 0.001, -0.0)
    assert to_base64(b"[1]") == b'"AACAPw=="'


def test_base64_of_other_spellings_is_read() -> None:
    """JSON may escape a solidus."""
    assert unpack(b'"\\/\\/\\/\\/PQ=="') == unpack(b'"////PQ=="')


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    "embedding",
    [
        packed(1.0, INF),
        packed(-INF, INF),
        packed(NAN),
        packed(),
        b"[]",
        b"[3.5e38]",
        b"[1e999]",
        b"[null]",
        b"[true]",
        b'["1"]',
        b"[[1]]",
        b"1",
        b"null",
        b"{}",
        b"",
        b"[1",
        b'"AACAP"',
        b'"AACAPw="',
        b'"AACAPwA="',
        b'"AACA\\nPw=="',
        b'"AAC-Pw=="',
        b'"\xff"',
    ],
)
def test_what_is_no_vector(embedding: bytes) -> None:
    """Not finite, beyond 32 bits, torn, empty, or something else."""
    with pytest.raises(NotFloat32):
        unpack(embedding)


@pytest.mark.parametrize("count", range(1, 8))
def test_a_vector_is_as_long_in_either_form(count: int) -> None:
    """However it is padded or spelled."""
    decimals = json.dumps([0.5] * (count - 1) + [-1.1]).encode()
    packed = to_base64(decimals)
    forms = [
        decimals,
        decimals.replace(b", ", b","),
        packed,
        packed.replace(b"/", b"\\/"),
        b'"\\u00%x%b' % (packed[1], packed[2:]),
    ]
    assert [length(form) for form in forms] == [count] * 5 == [len(unpack(form)) for form in forms]
