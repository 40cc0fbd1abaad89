"""A vector by an upstream's `/v1/embeddings`."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from cache.semantic.embed import NotEmbedded, Reason
from proxy.errors import Failure
from proxy.own_calls import OwnCalls

__all__ = ["embeddings_call"]

NUMBER = 32
"""Bytes that a number takes in JSON, at most."""
BESIDE = 4_096


class _Vector(msgspec.Struct):
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Vector]


_decode = msgspec.json.Decoder(_Answer).decode


def embeddings_call(
    own: Callable[[], OwnCalls], model: str, dimension: int, *, seconds: float
) -> Callable[[str], Awaitable[Sequence[float]]]:
    """What gives the numbers for a text, and raises NotEmbedded. `own` makes the calls of this gateway."""

    async def ask(text: str) -> Sequence[float]:
        body = msgspec.json.encode({"model": model, "input": text, "encoding_format": "float"})
        try:
            told = await own().post("embeddings", model, body, limit=dimension * NUMBER + BESIDE, seconds=seconds)
            return _decode(told.body).data[0].embedding
        except Failure:
            raise NotEmbedded(Reason.FAILED) from None
        except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
            raise NotEmbedded(Reason.BAD) from None

    return ask
