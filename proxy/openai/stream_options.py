"""`stream_options.include_usage`: how to ask to be told what a stream used, and the frame that tells it. Sans-IO."""

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.openai.events import DONE, frame, read

__all__ = ["ask_for_usage", "is_usage_only", "with_usage", "without_usage"]

SHARED: Final = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
"""What chunks repeat."""

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.encode
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EMPTY = msgspec.Raw(b"[]")
_TRUE = msgspec.Raw(b"true")
_NULL = msgspec.Raw(b"null")
_ABSENT = msgspec.Raw(b"")


class _Body(msgspec.Struct):
    stream: msgspec.Raw = _NULL
    stream_options: msgspec.Raw = _ABSENT


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL
    prompt_filter_results: msgspec.Raw = _NULL


_bodies = msgspec.json.Decoder(_Body)
_chunks = msgspec.json.Decoder(_Chunk)


def ask_for_usage(body: bytes) -> bytes | None:
    """The same request, but that it asks for usage. None where it does so already, is no stream, or takes no options.

    No other byte changes, save the white space between members where there were options already.
    """
    try:
        asked = _bodies.decode(body)
        if asked.stream != _TRUE:
            return None
        if asked.stream_options == _ABSENT:
            return b'%b,"stream_options":{"include_usage":true}}' % body.rstrip()[:-1].rstrip()
        members = _objects.decode(body)
        options = {} if asked.stream_options == _NULL else _objects.decode(asked.stream_options)
        if options.get("include_usage") == _TRUE:
            return None
        return _encode(members | {"stream_options": options | {"include_usage": True}})
    except _NOT_JSON:
        return None


def is_usage_only(each: bytes) -> bool:
    """One frame of chat/completions or completions: no choices, and a usage object."""
    if b'"usage"' not in each or b'"choices":[{' in each or b'"choices": [{' in each:
        return False
    found = [chunk for _, data in read([each]).events if (chunk := _chunk(data)) is not None]
    return bool(found) and all(_only(chunk) for chunk in found)


def without_usage(frames: Sequence[bytes]) -> tuple[bytes, ...]:
    """For a client that did not ask. Usage in a chunk that says more stays: the upstream sends it to everyone."""
    return tuple(each for each in frames if not is_usage_only(each))


def with_usage(frames: Sequence[bytes], usage: bytes) -> tuple[bytes, ...]:
    """For a client that asked: a frame with the usage object before `[DONE]`, unless there is usage, or no `[DONE]`."""
    place = next((at for at in range(len(frames) - 1, -1, -1) if _is_done(frames[at])), None)
    if not usage or place is None or any(b'"usage"' in each and _says_usage(each) for each in frames):
        return tuple(frames)
    return (*frames[:place], frame(_head(frames) | {"choices": [], "usage": msgspec.Raw(usage)}), *frames[place:])


def _head(frames: Sequence[bytes]) -> dict[str, object]:
    """What chunks repeat, of the first one that has choices: Azure's very first has no id."""
    for _, data in read(frames).events:
        try:
            chunk = _objects.decode(data)
        except _NOT_JSON:
            continue
        if chunk.get("choices", _EMPTY) != _EMPTY:
            return {key: chunk[key] for key in SHARED if key in chunk}
    return {}


def _is_done(each: bytes) -> bool:
    return DONE in each and any(data.strip() == DONE for _, data in read([each]).events)


def _says_usage(each: bytes) -> bool:
    found = (_chunk(data) for _, data in read([each]).events)
    return any(chunk is not None and bytes(chunk.usage)[:1] == b"{" for chunk in found)


def _chunk(data: bytes) -> _Chunk | None:
    try:
        return _chunks.decode(data)
    except _NOT_JSON:
        return None


def _only(chunk: _Chunk) -> bool:
    empty = chunk.choices == [] and chunk.error == _NULL and chunk.prompt_filter_results == _NULL
    return empty and bytes(chunk.usage)[:1] == b"{"
