"""The list of models, as far as one key may know it; and the model that a path names. Sans-IO.

Upstreams list their models in several shapes, some in two at once (llama.cpp: `data` and `models`). What
is not understood is not passed on: a list that is read wrongly would tell what it should not.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from proxy.openai.members import NotPlain, Span, elements, members, replace

__all__ = ["also", "model_in", "only"]

PREFIX: Final = "/v1/models/"
LISTS: Final = ("data", "models")
"""OpenAI's and nearly everyone's; Ollama's own and Gemini's."""
ENDS: Final = ("first_id", "last_id")
"""Anthropic's: the first and the last entry of a page."""
ENTRY: Final[dict[str, object]] = {"id": "", "object": "model", "created": 0, "owned_by": "askonce"}
NAMES: Final = ("id", "model", "name")
"""Of an entry, the first of them that it has: behind an id, a name is one to be shown."""
Allowed = Callable[[str], bool]

_entries = msgspec.json.Decoder(dict[str, Any])
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def only(body: bytes, allowed: Allowed) -> bytes | None:
    """The answer to `GET /v1/models` without the models that are not allowed; no other value changes.

    None where it can't be told what is in it. Linear in its size.
    """
    try:
        if body.lstrip()[:1] == b"[":
            start = body.index(b"[")
            kept, _ = _kept(body, Span(start, len(body)), allowed)
            return body if kept is None else body[:start] + kept
        return _less(body, members(body), allowed)
    except (NotPlain, *_NOT_JSON):
        return None


def also(body: bytes, names: Iterable[str]) -> bytes:
    """The answer to `GET /v1/models` with these at its end, where they are not in it yet; no other byte changes.

    As it is where it has another shape, or is a page of several.
    """
    try:
        bare = body.lstrip()[:1] == b"["
        top = {} if bare else members(body)
        array = Span(body.index(b"["), len(body)) if bare else top.get(LISTS[0])
        if array is None or not top.keys().isdisjoint(ENDS):
            return body
        spans = elements(body, array)
        known = {_name(body[span.start : span.end]) for span in spans}
    except (NotPlain, *_NOT_JSON):
        return body
    more = [msgspec.json.encode(ENTRY | {"id": name}) for name in names if name not in known]
    place = spans[-1].end if spans else array.start + 1
    return body[:place] + b",".join([b"", *more] if spans else more) + body[place:]


def model_in(path: str) -> str:
    """The model that a path names, percent-decoded; "" where it is the list itself. `path` is as on the wire, latin-1.

    Slashes around it are no part of it, since servers differ on whether `/v1/models/` is the list.
    """
    if not path.startswith(PREFIX):
        return ""
    return unquote_to_bytes(path[len(PREFIX) :].encode("latin-1", "replace")).decode("utf-8", "replace").strip("/")


def _less(body: bytes, top: dict[str, Span], allowed: Allowed) -> bytes | None:
    """An object with one list or more. Raises NotPlain and what a decoder raises."""
    changed: dict[Span, bytes] = {}
    names: list[str] = []
    found = False
    for member in LISTS:
        span = top.get(member)
        if span is None or body[span.start : span.end] == b"null":
            continue
        kept, listed = _kept(body, span, allowed)
        if kept is not None:
            changed[span] = kept
        names = names or listed
        found = True
    if not found:
        return None
    if changed:
        for member, name in zip(ENDS, (names[:1], names[-1:]), strict=True):
            if member in top:
                changed[top[member]] = msgspec.json.encode(name[0] if name else None)
    return replace(body, changed)


def _kept(text: bytes, array: Span, allowed: Allowed) -> tuple[bytes | None, list[str]]:
    """The array of what is allowed, None if that is all of it; and its names."""
    spans = elements(text, array)
    kept, names = [], []
    for span in spans:
        entry = text[span.start : span.end]
        name = _name(entry)
        if allowed(name):
            kept.append(entry)
            names.append(name)
    return (None if len(kept) == len(spans) else b"[%b]" % b",".join(kept)), names


def _name(entry: bytes) -> str:
    """Raises NotPlain and what a decoder raises."""
    found = _entries.decode(entry)
    name = next((found[each] for each in NAMES if each in found), None)
    if not isinstance(name, str) or not name:
        raise NotPlain("a model without a name")
    return name
