"""Labelled pairs of questions in a file, one a line, read as the gateway reads requests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from cache.fingerprint import Unkeyable, digest_apart
from cache.semantic.guard import MAX_TEXT
from cache.semantic.language import language
from proxy.caching.meaning import left_out
from proxy.openai.asked import Unasked, asked
from proxy.semantic.modes import Never

__all__ = ["MAX_BYTES", "BadPairs", "Pair", "read_pairs"]

MAX_BYTES: Final = 256 << 20
"""Of a file."""
MAX_LINE: Final = 1 << 20
MAX_PAIRS: Final = 200_000
MAX_CATEGORY: Final = 64
ENDPOINT: Final = "chat/completions"
OTHER_CONTEXT: Final = "another context"
"""Why a pair is never compared: what stands before the question differs, or its language does;"""
TOO_LONG: Final = "too long"
NEVER: Final = "of one person or moment"
"""or its words are those of `semantic.never`."""

_Turns = str | list[dict[str, Any]]


class BadPairs(Exception):
    """The file can't be read, or a line of it. The message names the line, and shows nothing of the questions."""


class Pair(NamedTuple):
    """`stored` was answered, and `asked` is asked. `barred`: why the one is never looked for by the other, or "".

    `weight` and `audited` are those of labels that a gateway exported.
    """

    asked: str
    stored: str
    same: bool
    category: str
    language: str
    barred: str
    weight: float
    audited: bool


class _Line(msgspec.Struct):
    a: _Turns
    b: _Turns
    same_answer: bool
    category: str = ""
    subtype: str = ""
    weight: float = 1.0
    audited: bool = False
    rival: bool = False
    """It was compared because another was wrong, and so is no sample of anything."""


class _Read(NamedTuple):
    text: str
    apart: bytes
    language: str
    barred: str


_decode: Final = msgspec.json.Decoder(_Line).decode


def read_pairs(path: Path, never: Never) -> list[Pair]:
    """Raises BadPairs."""
    try:
        with path.open("rb") as file:
            pairs = [*_pairs(file, path, never)]
    except OSError as error:
        raise BadPairs(f"{path}: {error.strerror}") from None
    if not pairs:
        raise BadPairs(f"{path}: there is no pair in it")
    return pairs


def _pairs(file: BinaryIO, path: Path, never: Never) -> Iterator[Pair]:
    size = count = 0
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), 1):
        where = f"{path}: line {number}"
        size += len(line)
        if len(line) > MAX_LINE:
            raise BadPairs(f"{where}: longer than {MAX_LINE:,} bytes")
        if size > MAX_BYTES:
            raise BadPairs(f"{where}: the file has more than {MAX_BYTES:,} bytes")
        if not line.strip():
            continue
        count += 1
        if count > MAX_PAIRS:
            raise BadPairs(f"{where}: there are more than {MAX_PAIRS:,} pairs")
        pair = _pair(line, where, never)
        if pair is not None:
            yield pair


def _pair(line: bytes, where: str, never: Never) -> Pair | None:
    """None for what no threshold may be made of."""
    try:
        found = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadPairs(f"{where}: {_reason(error)}") from None
    if not 0 < found.weight < float("inf"):
        raise BadPairs(f"{where}: weight: a number above 0")
    if found.rival:
        return None
    stored, asks = (_read(turns, f"{where}: {name}", never) for name, turns in (("a", found.a), ("b", found.b)))
    barred = stored.barred or asks.barred
    if not barred and (stored.apart != asks.apart or stored.language != asks.language):
        barred = OTHER_CONTEXT
    category = (found.category or found.subtype)[:MAX_CATEGORY]
    return Pair(asks.text, stored.text, found.same_answer, category, asks.language, barred, found.weight, found.audited)


def _read(turns: _Turns, where: str, never: Never) -> _Read:
    """As a request would be that asks so. Raises BadPairs for what no request could be."""
    messages = [{"role": "user", "content": turns}] if isinstance(turns, str) else turns
    body = msgspec.json.encode({"messages": messages})
    found = asked(ENDPOINT, body)
    if isinstance(found, Unasked):
        raise BadPairs(f"{where}: a text, or messages of which the last is a text of the user ({found.value})")
    text = found.text.strip()
    try:
        apart = digest_apart(body, found.path, left_out(ENDPOINT))
        text.encode()
    except (Unkeyable, UnicodeEncodeError):
        raise BadPairs(f"{where}: can't be read as a request") from None
    if not text:
        raise BadPairs(f"{where}: it is empty")
    barred = TOO_LONG if len(text) > MAX_TEXT else NEVER if never.holds(text) else ""
    return _Read(text, apart, language(text), barred)


def _reason(error: Exception) -> str:
    """msgspec names what it wants and where, and quotes nothing."""
    if isinstance(error, msgspec.ValidationError):
        return str(error)
    return "no JSON"
