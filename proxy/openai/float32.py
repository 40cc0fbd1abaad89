"""The two forms of an embedding, a list of decimals and base64 of little-endian float32, one into the other. Sans-IO.

A float32 is spelled in the fewest digits that are read as it again, so that no way changes a bit.
"""

import binascii
import math
import struct
from collections.abc import Sequence
from typing import Final, final

import msgspec

__all__ = ["NotFloat32", "is_packed", "length", "shortest", "to_base64", "to_decimals", "unpack"]

_read_floats = msgspec.json.Decoder(list[float]).decode
_read_string = msgspec.json.Decoder(str).decode
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
MIN_DIGITS: Final = 6
"""Any decimal of so many digits survives in a float32 (FLT_DIG), but for the smallest: none needs fewer to be tried."""
MIN_NORMAL: Final = 2.0**-126
MAX_DIGITS: Final = 9
"""Any float32 survives in a decimal of so many digits."""


@final
class NotFloat32(ValueError):
    """JSON that is no vector of finite 32-bit floats."""


def is_packed(embedding: bytes) -> bool:
    return embedding[:1] == b'"'


def to_base64(decimals: bytes) -> bytes:
    """JSON text of a list → JSON text of a string. Raises NotFloat32."""
    return b'"%b"' % binascii.b2a_base64(_bytes(unpack(decimals)), newline=False)


def to_decimals(packed: bytes) -> bytes:
    """JSON text of a string → JSON text of a list. Raises NotFloat32."""
    return b"[%b]" % ",".join(shortest(unpack(packed))).encode()


def unpack(embedding: bytes) -> tuple[float, ...]:
    """The numbers of either form, each one a float32. Raises NotFloat32."""
    try:
        if is_packed(embedding):
            data = binascii.a2b_base64(_read_string(embedding), strict_mode=True)
        else:
            data = _bytes(_read_floats(embedding))
        numbers = struct.unpack(f"<{len(data) // 4}f", data)
    except (*_NOT_JSON, ValueError, OverflowError, struct.error):
        raise NotFloat32 from None
    # One number that is not finite makes the sum not finite, and no sum of float32 overflows.
    if not numbers or not math.isfinite(sum(numbers)):
        raise NotFloat32
    return numbers


def length(embedding: bytes) -> int:
    """Of a vector in either form that `unpack` has taken; much faster than that. Raises NotFloat32."""
    if not is_packed(embedding):
        return embedding.count(b",") + 1
    if b"\\" in embedding:
        return len(unpack(embedding))
    return ((len(embedding) - 2) * 3 // 4 - embedding.count(b"=")) // 4


def shortest(numbers: Sequence[float]) -> list[str]:
    """Each float32 rounded to the fewest digits that are read as it. All at once, which is three times as fast."""
    texts = [""] * len(numbers)
    left = list(range(len(numbers)))
    for digits in range(MAX_DIGITS - 1, 0, -1):
        if digits < MIN_DIGITS:
            left = [place for place in left if abs(numbers[place]) < MIN_NORMAL]
        tried = _spelled([numbers[place] for place in left], digits)
        read = _rounded([float(text) for text in tried])
        held = [each for each in zip(left, tried, read, strict=True) if each[2] == numbers[each[0]]]
        for place, text, _ in held:
            texts[place] = text
        left = [place for place, _, _ in held]
    left = [place for place, text in enumerate(texts) if not text]
    for place, text in zip(left, _spelled([numbers[place] for place in left], MAX_DIGITS), strict=True):
        texts[place] = text
    return [text if "." in text or "e" in text else text + ".0" for text in texts]


def _spelled(numbers: Sequence[float], digits: int) -> list[str]:
    return (f"%.{digits}g " * len(numbers) % tuple(numbers)).split()


def _rounded(numbers: Sequence[float]) -> tuple[float, ...]:
    return struct.unpack(f"<{len(numbers)}f", _bytes(numbers))


def _bytes(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)
