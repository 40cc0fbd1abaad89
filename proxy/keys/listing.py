"""What belongs to all who use the gateway's key, who to an upstream are one user: lists, and secrets. Sans-IO.

Who knows the id of a file, a batch or a stored answer has it from whoever made that, because ids can't be guessed.
What is answered without one tells everybody's. A secret for realtime sessions opens the upstream beside the gateway.
"""

import re
from typing import Final
from urllib.parse import unquote

__all__ = ["is_everybodys"]

NOBODYS: Final = frozenset(["models", "realtime", "responses"])
"""Paths of one name that list nothing that somebody made. All others may: new ones come."""
COLLECTIONS: Final = frozenset(
    [
        *(("audio", "voice_consents"), ("audio", "voices"), ("chat", "completions"), ("chatkit", "threads")),
        ("fine_tuning", "jobs"),
    ]
)
WHOLLY: Final = frozenset(["dashboard", "organization"])
"""What an operator does, and what everybody has used."""
_NAMES: Final = re.compile(r"[/\\]\s*([\w-]+)")
"""Of a path. Some servers decode it, or overlook a slash, or what is behind a semicolon."""


def is_everybodys(method: str, path: str) -> bool:
    """`path` is as on the wire, latin-1, under `/v1`."""
    _, *names = _NAMES.findall(unquote(path).lower())
    if names[:1] and names[0] in WHOLLY:
        return True
    if names[:1] == ["realtime"] and method not in ("GET", "HEAD", "OPTIONS"):
        return True
    if method not in ("GET", "HEAD"):
        return False
    return names[0] not in NOBODYS if len(names) == 1 else tuple(names) in COLLECTIONS
