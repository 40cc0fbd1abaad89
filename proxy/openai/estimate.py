"""Tokens of a request before it is sent: what goes in, and the most that may come out. Sans-IO.

An estimate is what a limit is asked for, and is made good from what the upstream reports. It may be
off by some percent; what it may not be is far too low, or slow. So text is counted or measured, at
four bytes a token; images, sound and files, whose base64 says little, have a rate of their own; and
the output is what the request allows, or else what its model's answers have come to.
"""

import enum
from collections.abc import Mapping
from math import ceil, isfinite
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from proxy.openai.encodings import Counter

__all__ = [
    "AN_IMAGE",
    "A_LARGE_IMAGE",
    "BYTES",
    "MOST",
    "NO_OUTPUT",
    "SHORT",
    "Estimate",
    "Method",
    "estimate",
    "estimate_words",
    "quick_to_estimate",
]

QUICK: Final = 16_384
"""Bytes of a body that an event loop may wait for: 0.6 ms of English, 4 ms of letters without a space."""
SHORT: Final = 1_024
"""Bytes of a body whose text is not counted, if it is ASCII: nobody knows so little of the answer."""
CONVERSATIONS: Final = ("chat/completions", "responses", "responses/compact")
BYTES: Final = 4
"""A token of English, and of most code."""
A_MESSAGE: Final = 4
"""Tokens around each message, its role included, and one for the answer's beginning."""
AN_IMAGE: Final = 1_000
A_SMALL_IMAGE: Final = 85
A_FILE: Final = 1_000
"""One that is named by an id or a URL."""
FILE_BYTES: Final = 50
"""Base64 of a PDF or an office document for each token of it."""
TEXT_BYTES: Final = 5
"""Base64 of plain text."""
SOUND_BYTES: Final = 1_000
"""Base64 of compressed sound, at ten tokens a second."""
RAW_SOUND_BYTES: Final = 4_000
MOST: Final = 1 << 40
LONGEST_NUMBER: Final = 32
LEGACY_OUTPUT: Final = 16
"""What completions without max_tokens are cut to, at OpenAI and vLLM."""
A_LARGE_IMAGE: Final = 40_000
"""What models come to that count an image dearest (gpt-4o-mini, `detail` high)."""
A_LARGE_FILE: Final = 200_000
A_HISTORY: Final = 400_000
"""A context window: what stands in a conversation, or a prompt, that the upstream keeps."""
SPOKEN: Final = 2
"""Tokens of speech for a character, at 20 tokens a second."""

NO_OUTPUT: Final = frozenset({"embeddings", "moderations"})
"""Routes whose answers are paid for by what goes in."""
MAX_ANSWERS: Final = 1 << 20
_NULL: Final = msgspec.Raw(b"null")
_NOTHING: Final = msgspec.Raw(b"")
_NO_UNITS: Final[Mapping[str, int]] = {}


class Method(enum.Enum):
    """How text became tokens."""

    TIKTOKEN = "tiktoken"
    BYTES = "bytes"


_BYTES: Final = Method.BYTES
BACKSLASH: Final = ord("\\")


class Estimate(msgspec.Struct, frozen=True, gc=False):
    input: int
    output: int
    """Of all answers together."""
    capped: bool
    """The request itself says how much output there may be; else it is what was learned."""
    method: Method
    units: Mapping[str, int]
    """What is no token and stands in the request alone: images asked for, characters to be spoken."""
    answers: int = 1
    """That the output is of."""
    more: int = 0
    """What may go in beside the input that is expected: the request names it, and the upstream alone has it."""
    tier: str = ""
    """The `service_tier` that is asked for."""
    spoken: bool = False
    """The output is speech."""
    stays: bool = False
    """It is made in the background, whoever leaves."""


_Bound: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
_Answers: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MAX_ANSWERS)]


class _Body(msgspec.Struct, gc=False):
    messages: Any = None
    input: Any = None
    prompt: Any = None
    instructions: Any = None
    system: Any = None
    tools: msgspec.Raw = _NULL
    functions: msgspec.Raw = _NULL
    response_format: msgspec.Raw = _NULL
    text: msgspec.Raw = _NULL
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    max_tokens: Any = None
    n: Any = None
    best_of: Any = None
    service_tier: Any = None
    previous_response_id: Any = None
    conversation: Any = None
    background: Any = None
    modalities: Any = None
    web_search_options: msgspec.Raw = _NULL


class _Words(msgspec.Struct, gc=False):
    """What is None may not be there, nor anything of another type."""

    messages: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    instructions: msgspec.Raw = _NOTHING
    service_tier: str | None = None
    max_completion_tokens: _Bound | None = None
    max_output_tokens: _Bound | None = None
    max_tokens: _Bound | None = None
    n: _Answers | None = None
    previous_response_id: None = None
    conversation: None = None
    prompt: None = None
    background: None = None
    modalities: None = None
    web_search_options: None = None


class _Content:
    """What the walk through a prompt has found."""

    __slots__ = ("flat", "more", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.flat = 0
        """Tokens of what is no text."""
        self.more = 0
        """That it may come to on top."""


class _Tool(msgspec.Struct, gc=False):
    type: str = ""


_decode = msgspec.json.Decoder(_Body).decode
_tools = msgspec.json.Decoder(list[_Tool] | None).decode
_words = msgspec.json.Decoder(_Words).decode
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_IMAGES: Final = frozenset({"image_url", "input_image", "image"})
_SOUNDS: Final = frozenset({"input_audio"})
_FILES: Final = frozenset({"file", "input_file", "document", "video_url", "video", "input_video"})
_SKIPPED: Final = frozenset({"type", "role", "id", "call_id", "tool_call_id", "tool_use_id", "status", "cache_control"})
_CLIENTS: Final = frozenset(
    ["", "function", "custom", "local_shell", "shell", "apply_patch", "computer", "computer_use_preview"]
)
"""Tools that the client uses itself."""
_OPAQUE: Final = frozenset({"encrypted_content", "signature"})
_RAW_SOUNDS: Final = frozenset({"wav", "pcm16", "pcm"})
_PACKED: Final = ("JVBER", "UEsDB", "0M8R4")
"""How base64 begins of a PDF, of a zip, in which office documents are, and of their older form."""


def quick_to_estimate(body: bytes) -> bool:
    """Whether an event loop may wait for its estimate: 4 ms at worst. Others belong into a thread."""
    return len(body) <= QUICK


def estimate_words(route: str, body: bytes, expected: int) -> Estimate | None:
    """Of a short conversation in plain words, measured as it stands; None where there may be more in it than that.

    What stands around a message in JSON takes as many bytes as the tokens around it are counted as.
    """
    if len(body) > SHORT or route not in CONVERSATIONS or not body.isascii():
        return None
    # A name may be written with escapes. (To look for one byte is a fifth of the work of looking for two, and `in` asks
    # first whether what it looks for is a number.)
    if body.find(b'"type"') >= 0 or (BACKSLASH in body and body.find(b"\\u") >= 0):
        return None
    try:
        asked = _words(body)
    except _NOT_JSON:
        return None
    said = len(asked.messages) + len(asked.input) + len(asked.instructions)
    if route == "chat/completions":
        cap, older = asked.max_completion_tokens or 0, asked.max_tokens or 0
        cap = cap if cap > older else older
    else:
        cap = 0 if route == "responses/compact" else asked.max_output_tokens or 0
    answers, tier = asked.n or 1, asked.service_tier or ""
    output = (cap or expected) * answers
    return Estimate(-(-said // BYTES), output if output < MOST else MOST, cap > 0, _BYTES, _NO_UNITS, answers, 0, tier)


def estimate(route: str, body: bytes, count: Counter | None, expected: int) -> Estimate:
    """`expected`: the output of an answer whose request does not bound it. A body that can't be read is measured."""
    method = Method.BYTES if count is None else Method.TIKTOKEN
    try:
        asked = _decode(body)
    except _NOT_JSON:
        output = 0 if route in NO_OUTPUT else expected
        return Estimate(-(-len(body) // BYTES), output, capped=False, method=Method.BYTES, units={})
    output, capped, answers = _output(route, asked, expected)
    entered, more = _input(asked, count)
    if asked.previous_response_id is not None or asked.conversation is not None or _is_kept(asked.prompt):
        more += A_HISTORY
    if asked.web_search_options != _NULL or _brings(asked.tools):
        more += A_HISTORY
    spoken = isinstance(asked.modalities, list) and "audio" in asked.modalities
    stays = asked.background is True
    tier, more = _name(asked.service_tier), min(more, MOST)
    return Estimate(entered, output, capped, method, _units(route, asked), answers, more, tier, spoken, stays)


def _brings(tools: msgspec.Raw) -> bool:
    """Whether the upstream itself uses one of these tools, and reads what that brings."""
    try:
        kinds = [tool.type for tool in _tools(tools) or ()]
    except _NOT_JSON:
        return tools != _NULL
    return not _CLIENTS.issuperset(kinds)


def _is_kept(prompt: object) -> bool:
    """A prompt that the upstream has, by its id (responses)."""
    return isinstance(prompt, dict)


def _name(value: object) -> str:
    return value if isinstance(value, str) else ""


def _input(asked: _Body, count: Counter | None) -> tuple[int, int]:
    """And how much more it may be."""
    content = _Content()
    messages = asked.messages if isinstance(asked.messages, list) else ()
    for prompt in (asked.messages, asked.input, asked.prompt, asked.instructions, asked.system):
        if prompt is not None:
            _walk(prompt, content)
    for schema in (asked.tools, asked.functions, asked.response_format, asked.text):
        if schema is not _NULL:
            content.texts.append(bytes(schema).decode("utf-8", "replace"))
    text = "\n".join(content.texts)
    if count is not None:
        tokens = count(text)
    else:
        tokens = -(-(len(text) if text.isascii() else len(text.encode("utf-8", "replace"))) // BYTES)
    return min(tokens + content.flat + A_MESSAGE * (len(messages) + 1), MOST), content.more


def _walk(prompt: object, content: _Content) -> None:
    texts = content.texts
    waiting = [prompt]
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if kind is str:
            texts.append(value)  # type: ignore[arg-type]
        elif isinstance(value, list):
            others = [each for each in value if type(each) is not int]
            content.flat += len(value) - len(others)  # a prompt of tokens
            waiting.extend(others)
        elif isinstance(value, dict) and not _is_media(value, content):
            _open(value, waiting, content)


def _open(value: dict[str, Any], waiting: list[object], content: _Content) -> None:
    for name, inner in value.items():
        if name in _SKIPPED or not isinstance(inner, (str, list, dict)):
            continue
        if name in _OPAQUE:
            content.flat += len(inner) // BYTES
        else:
            waiting.append(inner)


def _is_media(part: dict[str, Any], content: _Content) -> bool:
    kind = part.get("type")
    if type(kind) is not str:
        return False
    if kind in _IMAGES:
        inner = part.get("image_url")
        detail = inner.get("detail") if isinstance(inner, dict) else part.get("detail")
        content.flat += A_SMALL_IMAGE if detail == "low" else AN_IMAGE
        content.more += 0 if detail == "low" else A_LARGE_IMAGE
    elif kind in _SOUNDS:
        sound = part.get("input_audio")
        sound = sound if isinstance(sound, dict) else {}
        rate = RAW_SOUND_BYTES if sound.get("format") in _RAW_SOUNDS else SOUND_BYTES
        content.flat += 1 + _length(sound.get("data")) // rate
    elif kind in _FILES:
        inner = part.get("file", part.get("source"))
        held = inner if isinstance(inner, dict) else part
        data = _longer(held.get("file_data"), held.get("data"))
        packed = "video" in kind or data[data.find(",") + 1 :][:5].startswith(_PACKED)
        rate = FILE_BYTES if packed else TEXT_BYTES
        content.flat += A_FILE + len(data) // rate
        content.more += 0 if data else A_LARGE_FILE
    else:
        return False
    return True


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else 0


def _longer(one: object, other: object) -> str:
    return max((value for value in (one, other) if isinstance(value, str)), key=len, default="")


def _output(route: str, asked: _Body, expected: int) -> tuple[int, bool, int]:
    """Of how many answers, too; and whether the request bounds it."""
    if route in NO_OUTPUT:
        return 0, True, 1
    if route == "audio/speech":
        return SPOKEN * _length(asked.input), True, 1
    cap = _cap(route, asked)
    answers = max(_amount(asked.n), 1)
    if route == "completions":
        expected = LEGACY_OUTPUT
        answers = max(_amount(asked.best_of), answers) * _prompts(asked.prompt)
    answers = min(answers, MAX_ANSWERS)
    return min((cap or expected) * answers, MOST), bool(cap), answers


def _cap(route: str, asked: _Body) -> int:
    """The most that any upstream may take for the bound of one answer, by the names that this route has for it; 0 where
    there is none.
    """
    if route == "responses":
        return _amount(asked.max_output_tokens)
    if route == "responses/compact":
        return 0
    if route != "chat/completions" or asked.max_completion_tokens is None:
        return _amount(asked.max_tokens)
    return max(_amount(asked.max_completion_tokens), _amount(asked.max_tokens))


def _prompts(prompt: object) -> int:
    """A list of texts, or of lists of tokens, is so many prompts."""
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return len(prompt)
    return 1


def _units(route: str, asked: _Body) -> Mapping[str, int]:
    if route == "images/generations":
        return {"images": min(max(_amount(asked.n), 1), MAX_ANSWERS)}
    if route == "audio/speech" and isinstance(asked.input, str):
        return {"characters": len(asked.input)}
    return {}


def _amount(value: object) -> int:
    """Of a number as upstreams read it: some take 100.0 and "100" for 100."""
    if value is None:
        return 0
    if type(value) is str and len(value) <= LONGEST_NUMBER:
        try:
            value = float(value)
        except ValueError:
            return 0
    if type(value) is float and isfinite(value):
        value = ceil(value)
    return min(value, MOST) if type(value) is int and value > 0 else 0
