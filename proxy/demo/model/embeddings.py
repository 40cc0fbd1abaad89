"""Embeddings and moderations: numbers that are a function of the text."""

import base64
import hashlib
import math
import random
import struct

from proxy.demo.checks import Embeddings, Moderations, Refusal
from proxy.demo.model.answers import Json, digest, estimate, text_of

__all__ = ["embed", "moderate", "vector"]

_SIZES = {"text-embedding-3-large": 3072}
_DEFAULT_SIZE = 1536


def embed(request: Embeddings) -> Json:
    """The answer of /v1/embeddings. Raises Refusal."""
    inputs = _inputs(request.input)
    full = _SIZES.get(request.model, _DEFAULT_SIZE)
    size = request.dimensions or full
    if size > full:
        message = f"Invalid value for 'dimensions': this model has at most {full}."
        raise Refusal(400, message, param="dimensions", code="invalid_value")
    for place, text in enumerate(inputs):
        if not text:
            raise Refusal(400, f"'$.input[{place}]' is invalid: an empty input cannot be embedded.", param="input")
    used = sum(estimate(text) for text in inputs)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": n, "embedding": _shown(vector(text, size, request.model), request)}
            for n, text in enumerate(inputs)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def _inputs(given: str | list[str | int | list[int]]) -> list[str]:
    """Texts; an array of tokens stands for the text it writes out."""
    match given:
        case str():
            return [given]
        case [int(), *_]:
            return [" ".join(map(str, given))]
        case _:
            return [item if isinstance(item, str) else " ".join(map(str, item)) for item in given]  # type: ignore[arg-type]


def vector(text: str, size: int, model: str) -> list[float]:
    """A unit vector near those of texts that share words with this one."""
    total = [0.0] * size
    words = text.lower().split()[:64] or [text]
    for word in dict.fromkeys(words):
        seed = hashlib.sha256(f"{model}\0{word}".encode()).digest()
        source = random.Random(seed)
        noise = struct.unpack(f"<{size}h", source.randbytes(2 * size))
        total = [a + b for a, b in zip(total, noise, strict=True)]
    own = struct.unpack(f"<{size}h", random.Random(text).randbytes(2 * size))
    total = [a + b / 8 for a, b in zip(total, own, strict=True)]
    norm = math.sqrt(math.fsum(a * a for a in total)) or 1.0
    return list(struct.unpack(f"<{size}f", struct.pack(f"<{size}f", *(a / norm for a in total))))


def _shown(numbers: list[float], request: Embeddings) -> list[float] | str:
    if request.encoding_format == "base64":
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    return numbers


_CATEGORIES = {
    "harassment": ("idiot", "stupid"),
    "harassment/threatening": ("hurt you",),
    "hate": ("hate them",),
    "hate/threatening": (),
    "illicit": ("steal", "forge"),
    "illicit/violent": ("bomb",),
    "self-harm": (),
    "self-harm/intent": (),
    "self-harm/instructions": (),
    "sexual": (),
    "sexual/minors": (),
    "violence": ("kill", "attack", "bomb"),
    "violence/graphic": ("blood",),
}
_SEES_IMAGES = frozenset(
    {"self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "violence", "violence/graphic"}
)


def moderate(request: Moderations, seed: str) -> Json:
    """The answer of /v1/moderations: a text is flagged by its words."""
    return {
        "id": f"modr-{seed[:28]}",
        "model": request.model or "omni-moderation-latest",
        "results": [_judged(text, image=image) for text, image in _judged_inputs(request.input)],
    }


def _judged_inputs(given: str | list[str | Json]) -> list[tuple[str, bool]]:
    if isinstance(given, str):
        return [(given, False)]
    if any(isinstance(item, dict) for item in given):
        parts = [item for item in given if isinstance(item, dict)]
        return [(text_of(parts), any(part.get("type") == "image_url" for part in parts))]
    return [(str(item), False) for item in given]


def _judged(text: str, *, image: bool) -> Json:
    lowered = text.lower()
    flags = {name: any(word in lowered for word in words) for name, words in _CATEGORIES.items()}
    noise = int(digest(text)[:6], 16) / 0xFFFFFF / 1000
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {name: (0.93 if flagged else 0.0001) + noise for name, flagged in flags.items()},
        "category_applied_input_types": {
            name: ["text", "image"] if image and name in _SEES_IMAGES else ["text"] for name in flags
        },
    }
