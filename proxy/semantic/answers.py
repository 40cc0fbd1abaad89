"""What an answer says, and whether it still says what was learnt of it."""

import hashlib

from cache.entry import Entry, EntryKind
from cache.semantic.lookup import Match
from proxy.openai.said import said
from proxy.semantic.refusing import is_refusal

__all__ = ["digest_of", "is_answer", "text_of"]


def text_of(entry: Entry) -> str | None:
    """None for what is no answer to another question: it calls, refuses, or was cut."""
    text = said(entry.endpoint, entry.frames, events=entry.kind is EntryKind.STREAM)
    return None if text is None or is_refusal(text) else text


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def is_answer(entry: Entry, match: Match) -> bool:
    """To what was near. What its labels have found holds for the answer that they were about."""
    text = text_of(entry)
    if text is None:
        return False
    return match.asked.text == match.record.text or digest_of(text) == match.record.answer
