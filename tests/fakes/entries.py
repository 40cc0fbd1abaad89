"""Answers to be kept."""

import hashlib
from typing import Any

from cache.entry import Entry, EntryKind

__all__ = ["NOW", "json_entry", "key", "stream_entry"]

NOW = 1_750_000_000.0


def key(name: object) -> str:
    return hashlib.sha256(repr(name).encode()).hexdigest()


def json_entry(name: object = 1, **changes: Any) -> Entry:
    """A JSON answer, made now, fresh for a minute, of use for another; of `name` only the key is made."""
    fields: dict[str, Any] = {
        "key": key(name),
        "kind": EntryKind.JSON,
        "endpoint": "chat/completions",
        "status": 200,
        "content_type": b"application/json",
        "usage": b'{"prompt_tokens":5,"completion_tokens":7}',
        "model": "gpt-5",
        "served_model": "gpt-5-2026-08-01",
        "upstream": "openai",
        "scope": key("scope"),
        "team": "search",
        "tags": ("nightly", "evaluation"),
        "created": NOW,
        "expires": NOW + 60,
        "stale_until": NOW + 120,
        "spent_ms": 1_234,
        "sent_model": "",
        "tier": "",
        "frames": (b'{"choices":[{"message":{"content":"Hello"}}]}',),
    }
    return Entry(**{**fields, **changes})


def stream_entry(name: object = 1, frames: int = 10, size: int = 200, **changes: Any) -> Entry:
    """A stream of so many events of so many bytes."""
    events = tuple(b"data: %b\n\n" % (b"%d" % i).ljust(size - 8, b".") for i in range(frames))
    streamed = {
        "kind": EntryKind.STREAM,
        "content_type": b"text/event-stream",
        "frames": events,
        "gaps": tuple(range(300, 300 + frames)),
    }
    return json_entry(name, **{**streamed, **changes})
