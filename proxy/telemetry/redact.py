"""What may stand in a log: printable, short, and nothing that looks like a key. Sans-IO."""

import re
from pathlib import Path
from types import TracebackType
from typing import Final

__all__ = ["described", "printable", "redacted"]

MAX_TEXT: Final = 500
_ROOT: Final = str(Path(__file__).resolve().parents[2])
_OURS: Final = tuple(f"{_ROOT}/{package}/" for package in ("proxy", "cache", "limits"))
_SECRETS: Final = [
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s,;'\"]+"), r"\1 ***"),
    (
        re.compile(r"(?i)\b((?:proxy-)?authorization|api[-_]key)(['\"]?\s*[:=,]\s*(?:b(?=['\"]))?['\"]?)(?!bearer|basic)[^\s,;'\"]+"),
        r"\1\2***",
    ),
    (re.compile(r"\b(?:sk|pk|rk|ek|gsk|xai|hf)[-_][\w.-]{4,}"), "***"),
    (re.compile(r"\?[^\s'\"<>?]*=[^\s'\"<>]*"), "?***"),
]  # fmt: skip


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """At most `limit` characters, none of which moves a cursor, ends a line or fails to encode."""
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def redacted(text: str, limit: int = MAX_TEXT) -> str:
    """`printable`, with everything masked that looks like a key, a credential or a query string."""
    text = text[: limit * 4]
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return printable(text, limit)


def described(error: BaseException) -> dict[str, str]:
    """Type and place of an exception: its innermost frame in our code, never its values."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return {"error": printable(name), "at": _place(error.__traceback__)}


def _place(traceback: TracebackType | None) -> str:
    ours = innermost = ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        path = code.co_filename
        innermost = f"{Path(path).name}:{traceback.tb_lineno} {code.co_name}"
        if path.startswith(_OURS):
            ours = f"{path[len(_ROOT) + 1 :]}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next
    return ours or innermost
