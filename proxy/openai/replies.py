"""Whether an answer is all that it should be, so that it may be given again. Sans-IO.

What is not understood is not complete: an answer is kept because everything that ends it was seen.
"""

import codecs
import enum
import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from proxy.openai.events import DONE, Recorded, read
from proxy.openai.float32 import NotFloat32, unpack
from proxy.openai.shapes import (
    CHUNKS,
    DELTAS,
    HEARD,
    NULL,
    RESPONSES,
    SHAPES,
    STEPS,
    Answer,
    Choices,
    Chunk,
    Embeddings,
    Image,
    Images,
    Models,
    Moderations,
    Piece,
    Response,
    Said,
    Transcript,
    Vector,
)
from proxy.openai.usage import error_of

__all__ = ["LAST_EVENTS", "Judged", "Verdict", "is_file", "judge_body", "judge_file", "judge_stream"]


class Verdict(enum.Enum):
    """The value is the label of a metric."""

    COMPLETE = "complete"
    NOT_JSON = "not-json"
    UNKNOWN_SHAPE = "unknown-shape"
    ERROR = "error"
    EMPTY = "empty"
    """No choices, no output, no data, or a choice with nothing in it."""
    NO_FINISH_REASON = "no-finish-reason"
    """Of one choice, or of one that never came."""
    UNKNOWN_FINISH_REASON = "unknown-finish-reason"
    CONTENT_FILTER = "content-filter"
    UNFINISHED = "unfinished"
    """A response that is queued, in progress, cancelled, or incomplete for another reason than its limit;
    or fewer images than were asked for.
    """
    NO_END = "no-end-of-stream"


class Judged(NamedTuple):
    verdict: Verdict
    usage: bytes = b""
    """The usage object as sent, JSON; the last one of a stream."""
    model: str = ""
    """The upstream's word for it."""
    tier: str = ""
    """OpenAI's `service_tier`, where it is named beside the usage."""


FINISHED: Final = frozenset(
    [
        *("stop", "length", "tool_calls", "function_call"),
        *("eos", "eos_token", "stop_sequence", "end_turn", "max_tokens", "model_length", "tool_use"),
    ]
)
"""OpenAI's, and what Together, TGI, Mistral and Anthropic call the same."""

STANDARD: Final = "default"
"""OpenAI's name for the tier that is meant where none is named."""
MAX_TIER: Final = 32

LAST_EVENTS: Final[Mapping[str, str]] = {
    "audio/speech": "speech.audio.done",
    "audio/transcriptions": "transcript.text.done",
    "audio/translations": "transcript.text.done",
}
"""Of streams of speech and transcripts, by endpoint: the type of the event that ends them."""

_NOTHING: Final = frozenset([b"null", b"[]", b"{}", b'""', b"false"])
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


_says = attrgetter(*Said.__struct_fields__[:-1])
_filter_failed = re.compile(rb'"error"\s*:\s*(?!null)').search
"""Azure's `content_filter_results` say so, and that the answer came unfiltered."""


def judge_body(endpoint: str, body: bytes, choices: int = 1) -> Judged:
    """A JSON answer with status 200. `endpoint` is a route's name; one that is not known is UNKNOWN_SHAPE.

    `choices` is how many were asked for.
    """
    decoder = SHAPES.get(endpoint)
    if decoder is None:
        return Judged(Verdict.UNKNOWN_SHAPE)
    try:
        answer: Answer = decoder.decode(body)
    except _NOT_JSON as error:
        return Judged(_misread(body, error))
    if _failed(answer):
        return Judged(Verdict.ERROR)
    verdict = _weigh(endpoint, answer, choices) if _is_text(body) else Verdict.NOT_JSON
    return Judged(verdict, _usage(answer.usage), answer.model or "", _tier(answer.service_tier))


def _failed(answer: Answer) -> bool:
    if answer.error is NULL and answer.errors is NULL and answer.object != "error":
        return False
    return answer.error != NULL or answer.object == "error" or bytes(answer.errors) not in _NOTHING


def _is_text(body: bytes) -> bool:
    """Valid UTF-8, which msgspec looks for only in the strings that it reads; it may end within a character."""
    if body.isascii():
        return True
    try:
        codecs.utf_8_decode(body, "strict", False)
    except UnicodeDecodeError:
        return False
    return True


def is_file(endpoint: str, content_type: bytes) -> bool:
    """Whether nobody can tell from the answer itself that it is whole: sound, subtitles and other text."""
    kind = content_type.partition(b";")[0].strip().lower()
    if endpoint == "audio/speech":
        return b"json" not in kind and not kind.startswith(b"text/")
    if endpoint in LAST_EVENTS:
        return (kind.startswith(b"text/") and kind != b"text/html") or kind == b"application/x-subrip"
    return False


def judge_file(body: bytes) -> Judged:
    """All of such an answer, as its framing has it, with status 200."""
    if not body:
        return Judged(Verdict.EMPTY)
    return Judged(Verdict.ERROR if error_of(body) else Verdict.COMPLETE)


def judge_stream(endpoint: str, frames: Sequence[bytes], choices: int = 1) -> Judged:
    """An event stream with status 200, from its first byte to its last. Linear in its size."""
    stream = b"".join(frames)
    if endpoint == "responses":
        judged = _judge_steps(read((stream,)))
    elif endpoint in {"chat/completions", "completions"}:
        judged = _judge_chunks(read((stream,)), choices)
    elif endpoint in LAST_EVENTS:
        judged = _judge_heard(LAST_EVENTS[endpoint], read((stream,)))
    else:
        return Judged(Verdict.UNKNOWN_SHAPE)
    if judged.verdict is Verdict.COMPLETE and not _is_text(stream):
        return judged._replace(verdict=Verdict.NOT_JSON)
    return judged


def _weigh(endpoint: str, answer: Answer, choices: int) -> Verdict:
    match answer:
        case Choices():
            return _weigh_choices(answer, choices, chat=endpoint == "chat/completions")
        case Response():
            return _weigh_response(answer)
        case Embeddings():
            return _weigh_vectors(answer.data or [])
        case Moderations():
            return _some(answer.results)
        case Models():
            return Verdict.COMPLETE if answer.id else _some(answer.data)
        case Images():
            return _weigh_images(answer.data or [], choices)
        case Transcript(text=str()):
            return Verdict.COMPLETE
        case _:
            return Verdict.EMPTY


def _some(parts: Sequence[object] | None) -> Verdict:
    return Verdict.COMPLETE if parts else Verdict.EMPTY


def _weigh_choices(answer: Choices, wanted: int, *, chat: bool) -> Verdict:
    choices = answer.choices or []
    for choice in choices:
        said = choice.message
        if (said is None) if chat else (bytes(choice.text)[:1] != b'"'):
            return Verdict.UNKNOWN_SHAPE
        if choice.error != NULL or (said is not None and said.error != NULL):
            return Verdict.ERROR
        if _filter_failed(choice.content_filter_results):
            return Verdict.ERROR
    if _filter_failed(answer.prompt_filter_results):
        return Verdict.ERROR
    verdict = _weigh_finishes([choice.finish_reason for choice in choices])
    if verdict is not Verdict.COMPLETE:
        return verdict
    if chat and not all(_speaks(choice.message) for choice in choices):
        return Verdict.EMPTY
    return Verdict.COMPLETE if len(choices) >= wanted else Verdict.NO_FINISH_REASON


def _speaks(said: Said | None) -> bool:
    """Whether there is anything in it, if only white space."""
    return said is not None and not _NOTHING.issuperset(map(bytes, _says(said)))


def _weigh_finishes(reasons: Sequence[str | None]) -> Verdict:
    if not reasons:
        return Verdict.EMPTY
    if "content_filter" in reasons:
        return Verdict.CONTENT_FILTER
    if "error" in reasons:
        return Verdict.ERROR
    if not all(reasons):
        return Verdict.NO_FINISH_REASON
    return Verdict.COMPLETE if FINISHED.issuperset(reasons) else Verdict.UNKNOWN_FINISH_REASON


def _weigh_response(response: Response) -> Verdict:
    if response.error != NULL:
        return Verdict.ERROR
    match response.status:
        case "completed":
            return Verdict.COMPLETE if response.output else Verdict.EMPTY
        case "incomplete":
            reason = response.incomplete_details.reason if response.incomplete_details else None
            if reason == "max_output_tokens":
                return Verdict.COMPLETE if response.output else Verdict.EMPTY
            return Verdict.CONTENT_FILTER if reason == "content_filter" else Verdict.UNFINISHED
        case "failed":
            return Verdict.ERROR
        case "in_progress" | "queued" | "cancelled":
            return Verdict.UNFINISHED
        case _:
            return Verdict.UNKNOWN_SHAPE


def _weigh_vectors(vectors: Sequence[Vector]) -> Verdict:
    if not vectors:
        return Verdict.EMPTY
    complete = sorted(vector.index for vector in vectors) == [*range(len(vectors))]
    try:
        sizes = {len(unpack(bytes(vector.embedding))) for vector in vectors}
    except NotFloat32:
        return Verdict.UNKNOWN_SHAPE
    complete = complete and len(sizes) == 1
    return Verdict.COMPLETE if complete else Verdict.UNKNOWN_SHAPE


def _weigh_images(images: Sequence[Image], wanted: int) -> Verdict:
    if not images:
        return Verdict.EMPTY
    if len(images) < wanted:
        return Verdict.UNFINISHED
    complete = all(image.url or len(bytes(image.b64_json)) > len(b"null") for image in images)
    return Verdict.COMPLETE if complete else Verdict.UNKNOWN_SHAPE


def _judge_chunks(recorded: Recorded, wanted: int) -> Judged:
    """Chat completions and completions: chunks, then `[DONE]`."""
    finishes: dict[int, str | None] = {}
    said: set[int] = set()
    model, usage, tier = "", NULL, NULL
    ended = False
    for name, data in recorded.events:
        if ended or name == b"error":
            return Judged(_stray(name, data))
        if data.strip() == DONE:
            ended = True
            continue
        try:
            chunk = CHUNKS.decode(data)
            if _failed(chunk) or (b'"error"' in data and _failed_within(chunk)):
                return Judged(Verdict.ERROR)
            for piece in chunk.choices or ():
                index = piece.index
                if index not in said and _begins(piece):
                    said.add(index)
                # What a filter took away stays away, whatever is said behind it.
                if finishes.get(index) != "content_filter":
                    finishes[index] = piece.finish_reason or finishes.get(index)
        except _NOT_JSON as error:
            return Judged(_misread(data, error))
        model = model or chunk.model or ""
        if chunk.usage != NULL:
            usage, tier = chunk.usage, chunk.service_tier
    verdict = _weigh_finishes([*finishes.values()])
    if verdict is Verdict.COMPLETE:
        if len(finishes) < wanted or sorted(finishes) != [*range(len(finishes))]:
            verdict = Verdict.NO_FINISH_REASON
        elif not (ended and recorded.whole):
            verdict = Verdict.NO_END
        elif len(said) < len(finishes):
            verdict = Verdict.EMPTY
    return Judged(verdict, _usage(usage), model, _tier(tier))


def _begins(piece: Piece) -> bool:
    """Whether there is anything in it. An empty text is one, as it is of completions in JSON."""
    if bytes(piece.text)[:1] == b'"':
        return True
    return piece.delta != NULL and _speaks(DELTAS.decode(piece.delta))


def _failed_within(chunk: Chunk) -> bool:
    """Of a chunk in which `"error"` stands somewhere, be it in what the model says."""
    for piece in chunk.choices or ():
        if piece.error != NULL or _filter_failed(piece.content_filter_results):
            return True
        if piece.delta != NULL and DELTAS.decode(piece.delta).error != NULL:
            return True
    return _filter_failed(chunk.prompt_filter_results) is not None


def _judge_steps(recorded: Recorded) -> Judged:
    """Responses: typed events, of which the last one holds the response."""
    last = Judged(Verdict.NO_END)
    closed = False
    for name, data in recorded.events:
        if data.strip() == DONE:
            continue
        if closed or name == b"error":
            return Judged(_stray(name, data))
        try:
            step = STEPS.decode(data)
            if step.error != NULL or step.type in {"error", "response.failed"}:
                return Judged(Verdict.ERROR)
            if step.type in {"response.completed", "response.incomplete"}:
                response = RESPONSES.decode(step.response)
                closed = True
                tier = _tier(response.service_tier)
                last = Judged(_weigh_response(response), _usage(response.usage), response.model or "", tier)
        except _NOT_JSON as error:
            return Judged(_misread(data, error))
    if last.verdict is Verdict.COMPLETE and not recorded.whole:
        return last._replace(verdict=Verdict.NO_END)
    return last


def _judge_heard(last: str, recorded: Recorded) -> Judged:
    """Speech and transcripts: typed events, of which the last one says so."""
    closed, usage = False, NULL
    for name, data in recorded.events:
        if data.strip() == DONE:
            continue
        if closed or name == b"error":
            return Judged(_stray(name, data))
        try:
            event = HEARD.decode(data)
        except _NOT_JSON as error:
            return Judged(_misread(data, error))
        if event.error != NULL or event.type == "error":
            return Judged(Verdict.ERROR)
        if event.type == last:
            closed, usage = True, event.usage
    return Judged(Verdict.COMPLETE if closed and recorded.whole else Verdict.NO_END, _usage(usage))


def _stray(name: bytes, message: bytes) -> Verdict:
    """An error, or something where nothing should be."""
    return Verdict.ERROR if name == b"error" or error_of(message) else Verdict.UNKNOWN_SHAPE


def _misread(message: bytes, error: Exception) -> Verdict:
    if error_of(message):
        return Verdict.ERROR
    return Verdict.UNKNOWN_SHAPE if isinstance(error, msgspec.ValidationError) else Verdict.NOT_JSON


def _tier(tier: msgspec.Raw) -> str:
    text = bytes(tier)
    found = text[1:-1].decode("latin-1") if text[:1] == b'"' else ""
    return "" if found == STANDARD or len(found) > MAX_TIER else found


def _usage(usage: msgspec.Raw) -> bytes:
    text = bytes(usage)
    return text if text[:1] == b"{" else b""
