"""Embeddings that tell whose they are, as `bench.chaos.canary` does for chat: small whole numbers in every vector."""

import base64
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from bench.chaos.canary import Order, canary

__all__ = ["EMBEDDER", "TEXT", "batch_body", "embeddings", "read_embeddings"]

EMBEDDER: Final = "text-embedding-3-small"
TEXT: Final = "Text #%012d"
"""An input; its number stands in it."""
_HALF: Final = 1 << 12
_TOKENS_EACH: Final = 5


def _vector(key: str, text: int, serial: int) -> list[float]:
    """A 32-bit float holds each of these exactly."""
    owner = list(bytes.fromhex(canary(key)))
    return [float(each) for each in (*owner, *divmod(text, _HALF), *divmod(serial, _HALF))]


def embeddings(key: str, texts: Sequence[int], serial: int, *, packed: bool) -> bytes:
    """The upstream's answer; `packed` is base64."""
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(_vector(key, text, serial) for text in texts)
    ]
    tokens = _TOKENS_EACH * len(texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": EMBEDDER, "usage": usage})


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def batch_body(texts: Sequence[int], order: Order, *, packed: bool) -> bytes:
    """What the upstream shall do stands in `user`, which is no part of what is asked."""
    inputs = [TEXT % text for text in texts]
    form = "base64" if packed else "float"
    user = msgspec.json.encode(order.as_metadata).decode()
    return msgspec.json.encode({"model": EMBEDDER, "input": inputs, "encoding_format": form, "user": user})


def read_embeddings(body: bytes, key: str, texts: Sequence[int], *, packed: bool) -> str:
    """Why this is not a vector of one's own for each text, in order; "" where it is."""
    try:
        answer = msgspec.json.decode(body)
        data = [(each["index"], _unpacked(each["embedding"], packed=packed)) for each in answer["data"]]
        told = answer["model"], answer["object"], type(answer["usage"]["prompt_tokens"])
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, struct.error):
        return f"no embeddings: {body[:80]!r}"
    if told != (EMBEDDER, "list", int) or [index for index, _ in data] != list(range(len(texts))):
        return f"not one vector for each of {len(texts)} texts: {body[:80]!r}"
    same: dict[int, list[float]] = {}
    for text, (index, vector) in zip(texts, data, strict=True):
        if vector[:8] != _vector(key, 0, 0)[:8]:
            return f"another tenant's vector in place {index}"
        if vector[:10] != _vector(key, text, 0)[:10] or len(vector) != len(_vector(key, 0, 0)):
            return f"another text's vector in place {index}"
        if same.setdefault(text, vector) != vector:
            return f"two vectors for the text of place {index}"
    return ""


def _unpacked(vector: object, *, packed: bool) -> list[float]:
    """Raises TypeError, ValueError and struct.error for what is not in that form."""
    if packed:
        data = base64.b64decode(str(vector), validate=True)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    if not isinstance(vector, list):
        raise TypeError("no list")
    return [float(each) for each in vector]
