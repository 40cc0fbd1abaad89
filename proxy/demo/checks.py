"""What a request must be, and the refusals OpenAI answers with when it is not."""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from proxy.demo.model.answers import CREATED, Json

__all__ = [
    "Chat",
    "Completion",
    "Embeddings",
    "Image",
    "Moderations",
    "Refusal",
    "Responses",
    "Speech",
    "check_key",
    "check_model",
    "convert",
    "decode",
    "models",
]

Limit = Annotated[int, Meta(ge=1)] | None


class Refusal(Exception):
    """An error answer in OpenAI's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.param = param
        self.code = code
        self.headers = headers or {}

    def body(self) -> Json:
        return {"error": {"message": str(self), "type": self.type, "param": self.param, "code": self.code}}


class StreamOptions(Struct):
    include_usage: bool | None = None


class JsonSchema(Struct):
    name: str
    schema: Json | None = None


class ResponseFormat(Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Chat(Struct):
    model: str
    messages: Annotated[list[Json], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Limit = None
    max_completion_tokens: Limit = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    tools: list[Json] | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    service_tier: str | None = None
    metadata: Json | None = None
    store: bool | None = None


class Completion(Struct):
    model: str
    prompt: str | list[str | int | list[int]] = "<|endoftext|>"
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    stop: str | list[str] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    echo: bool | None = None
    suffix: str | None = None


class TextFormat(Struct):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: Json | None = None


class Text(Struct):
    format: TextFormat | None = None


class Responses(Struct):
    model: str
    input: str | list[Json] = ""
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Limit = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    tools: list[Json] | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Json | None = None
    metadata: Json | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    store: bool | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class Embeddings(Struct):
    model: str
    input: str | Annotated[list[str | int | list[int]], Meta(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=3072)] | None = None


class Moderations(Struct):
    input: str | Annotated[list[str | Json], Meta(min_length=1, max_length=2048)]
    model: str | None = None


class Image(Struct):
    prompt: str = ""
    model: str | None = None
    n: Annotated[int, Meta(ge=1, le=10)] | None = None
    size: str | None = None
    quality: str | None = None
    response_format: Literal["url", "b64_json"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Meta(ge=0, le=3)] | None = None


class Speech(Struct):
    model: str
    input: Annotated[str, Meta(max_length=4096)]
    voice: str | Json
    response_format: Literal["mp3", "wav", "pcm", "opus", "aac", "flac"] | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    stream_format: Literal["audio", "sse"] | None = None


S = TypeVar("S")

_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_EXPECTED = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_BOUND = re.compile(r"Expected `(int|float|str|array)`(?: of length)? (<=|>=) ([\d.]+)")
_NAMES = {"str": "a string", "int": "an integer", "float": "a decimal", "bool": "a boolean", "array": "an array"}
_NAMES |= {"object": "an object", "null": "null"}
_UNPARSED = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
    "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)


def decode(raw: bytes) -> Json:
    """The JSON object in a request body. Raises Refusal."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal(400, _UNPARSED) from None
    if not isinstance(body, dict):
        raise Refusal(400, _UNPARSED)
    return body


def convert(body: Json, kind: type[S]) -> S:
    """The fields the demo knows, checked. Raises Refusal that names the field."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None


def _explained(text: str) -> Refusal:
    what, _, path = text.partition(" - at ")
    param = path.strip("`").removeprefix("$").removeprefix(".")
    if missing := _MISSING.match(what):
        name = f"{param}.{missing[1]}" if param else missing[1]
        return Refusal(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    if bound := _BOUND.match(what):
        kind = {"int": "integer", "float": "decimal", "str": "string", "array": "array"}[bound[1]]
        edge, word = ("below_min", "minimum") if bound[2] == ">=" else ("above_max", "maximum")
        measure = "length" if kind in ("string", "array") else "value"
        message = f"Invalid '{param}': {kind} {edge.split('_')[0]} {word} {measure}."
        message += f" Expected a {measure} {bound[2]} {bound[3]}."
        return Refusal(400, message, param=param, code=f"{kind}_{edge}_{measure}")
    if types := _EXPECTED.match(what):
        wanted = " or ".join(_NAMES.get(name, name) for name in types[1].split(" | ") if name != "null")
        got = _NAMES.get(types[2], types[2])
        message = f"Invalid type for '{param}': expected {wanted}, but got {got} instead."
        return Refusal(400, message, param=param, code="invalid_type")
    return Refusal(400, f"Invalid value for '{param}': {what}.", param=param, code="invalid_value")


def check_key(key: str) -> None:
    """Any key is good but none at all, and those that begin with `sk-invalid`."""
    if not key:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
        raise Refusal(401, message)
    if key.startswith("sk-invalid"):
        message = f"Incorrect API key provided: {key[:8]}{'*' * 8}. You can use any other key with the demo."
        raise Refusal(401, message, code="invalid_api_key")


_LISTED = {
    "chat": ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "gpt-5-mini", "gpt-5.6", "o4-mini"),
    "completion": ("gpt-3.5-turbo-instruct",),
    "embedding": ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"),
    "moderation": ("omni-moderation-latest", "text-moderation-latest"),
    "image": ("gpt-image-1", "dall-e-3", "dall-e-2"),
    "speech": ("gpt-4o-mini-tts", "tts-1", "tts-1-hd"),
    "transcription": ("gpt-4o-transcribe", "gpt-4o-mini-transcribe", "whisper-1"),
    "realtime": ("gpt-realtime", "gpt-realtime-mini"),
}
_KINDS = (
    ("demo", re.compile(r"demo-[a-z0-9-]+")),
    ("completion", re.compile(r"gpt-3\.5-turbo-instruct.*|davinci-002|babbage-002")),
    ("realtime", re.compile(r"gpt-realtime.*|gpt-.*-realtime.*")),
    ("speech", re.compile(r"tts-1.*|.*-tts")),
    ("transcription", re.compile(r"whisper-1|.*-transcribe.*")),
    ("image", re.compile(r"gpt-image-.*|dall-e-[23]")),
    ("embedding", re.compile(r"text-embedding-.*")),
    ("moderation", re.compile(r"(omni|text)-moderation-.*")),
    ("chat", re.compile(r"(ft:)?(gpt-[345]|chatgpt-|o[134](-|$)).*")),
)


def models() -> list[str]:
    """The ids in the model list."""
    return [name for names in _LISTED.values() for name in names]


def model_object(name: str) -> Json:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "demo"}


def kind_of(model: str) -> str:
    """What a model is for; "" where there is no such model."""
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(model)), "")


def check_model(model: str, wanted: str) -> None:
    """Raises Refusal where there is no such model, or it is not for this."""
    kind = kind_of(model)
    if not kind:
        message = f"The model `{model[:100]}` does not exist or you do not have access to it."
        raise Refusal(404, message, code="model_not_found")
    if kind not in (wanted, "demo"):
        message = f"The model `{model[:100]}` is for {kind} and does not serve {wanted} requests."
        raise Refusal(404, message, param="model", code="model_not_found")


def choose(value: Any, allowed: tuple[str, ...], param: str) -> str:
    """A form field that must be one of a few words; the first where it is missing."""
    if value in (None, ""):
        return allowed[0]
    if value not in allowed:
        listed = ", ".join(f"'{word}'" for word in allowed)
        message = f"Invalid value: '{str(value)[:100]}'. Supported values are: {listed}."
        raise Refusal(400, message, param=param, code="invalid_value")
    return str(value)
