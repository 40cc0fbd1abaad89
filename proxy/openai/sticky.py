"""What belongs together, so that an upstream's prompt cache is met again. Sans-IO.

An upstream's cache goes by the beginning of what it reads: first the instructions, then the messages. The first
message of a user is taken in with them and nothing behind it, for that is what grows from turn to turn. Where the
instructions alone are longer than PREFIX, all who share them belong together.
"""

import enum
from hashlib import blake2b
from typing import Final

import msgspec

__all__ = ["Sticky", "sticky_of"]

MAX_PARSED: Final = 1_048_576
"""Bytes of a body that the event loop may look through."""
PREFIX: Final = 1_024
_NULL: Final = msgspec.Raw(b"null")
_NOTHING: Final = (b"null", b'""')
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Sticky(enum.Enum):
    OFF = "off"
    CONVERSATION = "conversation"
    PREFIX = "prefix"


class _Body(msgspec.Struct, gc=False):
    prompt_cache_key: msgspec.Raw = _NULL
    conversation: msgspec.Raw = _NULL
    user: msgspec.Raw = _NULL
    instructions: msgspec.Raw = _NULL
    messages: msgspec.Raw = _NULL
    input: msgspec.Raw = _NULL
    prompt: msgspec.Raw = _NULL


class _Named(msgspec.Struct, gc=False):
    id: msgspec.Raw = _NULL


class _Said(msgspec.Struct, gc=False):
    role: str = ""


_decode = msgspec.json.Decoder(_Body).decode
_decode_named = msgspec.json.Decoder(_Named).decode
_decode_said = msgspec.json.Decoder(_Said).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def sticky_of(how: Sticky, body: object, model: str) -> bytes:
    """A digest of what requests have in common that belong together; b"" where nothing of the kind is known."""
    if how is Sticky.OFF or not isinstance(body, bytes):
        return b""
    if len(body) > MAX_PARSED:
        # Of what is so long, the beginning of the text is the beginning of the conversation.
        return _digest(b"text", model.encode("utf-8", "replace"), body[:PREFIX])
    try:
        found = _decode(body)
        if how is Sticky.CONVERSATION:
            for name, value in (
                (b"key", bytes(found.prompt_cache_key)),
                (b"conversation", _conversation(found.conversation)),
                (b"user", bytes(found.user)),
            ):
                if value not in _NOTHING:
                    return _digest(name, value[:PREFIX])
        begins = _beginning(found)
        return _digest(b"prefix", model.encode("utf-8", "replace"), begins) if begins else b""
    except _NOT_JSON:
        return b""


def _digest(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))
    return digest.digest()


def _conversation(value: msgspec.Raw) -> bytes:
    """By its name, or an object that has it."""
    text = bytes(value)
    return bytes(_decode_named(text).id) if text[:1] == b"{" else text


def _beginning(found: _Body) -> bytes:
    text = b"" if found.instructions == _NULL else bytes(found.instructions)
    for value in (found.messages, found.input, found.prompt):
        if len(text) < PREFIX and value != _NULL:
            text += _first_words(bytes(value))
    return text[:PREFIX]


def _first_words(value: bytes) -> bytes:
    """Of a list of messages, those up to the first of a user; of all else, all."""
    if value[:1] != b"[":
        return value
    text = b""
    for item in map(bytes, _decode_items(value)):
        text += item[:PREFIX]
        if len(text) >= PREFIX or item[:1] != b"{" or _decode_said(item).role == "user":
            break
    return text
