"""Whether what an embedding model sent is a vector: finite numbers, at least one. Sans-IO."""

import binascii
import math
import sys
from array import array

import msgspec

__all__ = ["is_vector"]

_floats = msgspec.json.Decoder(list[float])
_strings = msgspec.json.Decoder(str)


def is_vector(embedding: bytes | msgspec.Raw) -> bool:
    """JSON: numbers in a list, or little-endian 32-bit floats in base64 (`encoding_format`)."""
    try:
        numbers = _floats.decode(embedding) if bytes(embedding)[:1] == b"[" else _packed(_strings.decode(embedding))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return False
    # One number that is not finite makes the sum not finite.
    return len(numbers) > 0 and math.isfinite(sum(numbers))


def _packed(text: str) -> "array[float]":
    """Raises ValueError."""
    numbers = array("f")
    numbers.frombytes(binascii.a2b_base64(text, strict_mode=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
