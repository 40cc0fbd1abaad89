"""What answers look like, of all that is read of them to judge them. Sans-IO."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = [
    "CHUNKS",
    "DELTAS",
    "HEARD",
    "NULL",
    "RESPONSES",
    "SHAPES",
    "STEPS",
    "Answer",
    "Choices",
    "Chunk",
    "Embeddings",
    "Image",
    "Images",
    "Models",
    "Moderations",
    "Piece",
    "Response",
    "Said",
    "Transcript",
    "Vector",
]

NULL: Final = msgspec.Raw(b"null")


class Answer(msgspec.Struct, gc=False):
    error: msgspec.Raw = NULL
    errors: msgspec.Raw = NULL
    object: str | None = None
    model: str | None = None
    usage: msgspec.Raw = NULL
    service_tier: msgspec.Raw = NULL


class Said(msgspec.Struct, gc=False):
    """A message, or a part of one: all that may be said in it."""

    content: msgspec.Raw = NULL
    tool_calls: msgspec.Raw = NULL
    function_call: msgspec.Raw = NULL
    refusal: msgspec.Raw = NULL
    reasoning: msgspec.Raw = NULL
    reasoning_content: msgspec.Raw = NULL
    reasoning_details: msgspec.Raw = NULL
    audio: msgspec.Raw = NULL
    images: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None
    message: Said | None = None
    text: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    content_filter_results: msgspec.Raw = NULL


class Choices(Answer):
    choices: list[Choice] | None = None
    prompt_filter_results: msgspec.Raw = NULL


class Piece(msgspec.Struct, gc=False):
    index: int
    finish_reason: str | None = None
    delta: msgspec.Raw = NULL
    text: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    content_filter_results: msgspec.Raw = NULL


class Chunk(Answer):
    choices: list[Piece] | None = None
    prompt_filter_results: msgspec.Raw = NULL


class Details(msgspec.Struct):
    reason: str | None = None


class Response(Answer):
    status: str = ""
    incomplete_details: Details | None = None
    output: list[msgspec.Raw] | None = None


class Step(msgspec.Struct, gc=False):
    type: str
    error: msgspec.Raw = NULL
    response: msgspec.Raw = NULL


class Heard(msgspec.Struct, gc=False):
    type: str
    error: msgspec.Raw = NULL
    usage: msgspec.Raw = NULL


class Vector(msgspec.Struct):
    index: int
    embedding: msgspec.Raw


class Embeddings(Answer):
    data: list[Vector] | None = None


class Result(msgspec.Struct):
    flagged: bool


class Moderations(Answer):
    results: list[Result] | None = None


class Model(msgspec.Struct):
    id: str


class Models(Answer):
    data: list[Model] | None = None
    id: str | None = None


class Image(msgspec.Struct):
    url: str | None = None
    b64_json: msgspec.Raw = NULL


class Images(Answer):
    data: list[Image] | None = None


class Transcript(Answer):
    text: str | None = None


DELTAS: Final = msgspec.json.Decoder(Said)
CHUNKS: Final = msgspec.json.Decoder(Chunk)
STEPS: Final = msgspec.json.Decoder(Step)
HEARD: Final = msgspec.json.Decoder(Heard)
RESPONSES: Final = msgspec.json.Decoder(Response)
SHAPES: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "chat/completions": msgspec.json.Decoder(Choices),
    "completions": msgspec.json.Decoder(Choices),
    "responses": RESPONSES,
    "embeddings": msgspec.json.Decoder(Embeddings),
    "moderations": msgspec.json.Decoder(Moderations),
    "models": msgspec.json.Decoder(Models),
    "models/*": msgspec.json.Decoder(Models),
    "images/generations": msgspec.json.Decoder(Images),
    "audio/transcriptions": msgspec.json.Decoder(Transcript),
    "audio/translations": msgspec.json.Decoder(Transcript),
}
