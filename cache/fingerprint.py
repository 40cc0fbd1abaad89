"""What makes two requests the same: canonical bytes of a JSON body, and the key of an answer. Sans-IO.

Theory. The canonical form of a JSON value is itself JSON, in one spelling: no white space; members
sorted by code point; strings with the fewest escapes; numbers without fraction, leading or trailing
zeros, as an integer if it is one of fewer than 20 digits and as `<digits>e<exponent>` elsewhere. So

- two spellings of a value give the same bytes, because the form depends on the value alone;
- two values never give the same bytes, because the bytes, read as JSON, are the value again.

A value is what JSON says, exactly: `1`, `1.0` and `10e-1` are one number and `1e999` is another, not
infinity; `true`, `1` and `"1"` differ, null differs from absent, and text is compared by code point
without normalisation. Members of one name are refused, because parsers disagree on which one counts.

Bodies are read by msgspec, unless its reading could differ from the above, which `_quick` can tell
without reading twice; what is left is spelled by the standard library's scanner and `_spell`.
"""

import enum
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, final

import msgspec

__all__ = [
    "DENIED",
    "FAMILIES",
    "QUALIFYING",
    "Unkeyable",
    "UnkeyableReason",
    "canonical",
    "canonical_value",
    "digest",
    "digest_apart",
    "key_of",
    "qualifiers_of",
    "quick_to_read",
    "scope_of",
]

DENIED: Final[Mapping[str, str]] = MappingProxyType({
    "stream": "how the answer is sent, not what it says: streams and JSON share entries",
    "stream_options": "asks for a usage frame and padding, which are added or left out on the way",
    "user": "names the end user for abuse detection; scopes keep teams apart",
    "metadata": "labels for the upstream's own dashboards",
    "store": "whether the upstream keeps a copy",
    "safety_identifier": "names the end user for abuse detection",
    "prompt_cache_key": "a hint at which of the upstream's machines has the prompt's prefix",
})  # fmt: skip
"""Top-level members that do not count, each with its reason. Every other counts, known or not.

A member that is meant for the gateway is cut out of the body before, so that whatever the upstream reads counts.
"""

QUALIFYING: Final = frozenset(
    [
        *(b"openai-organization", b"openai-project", b"openai-beta", b"anthropic-beta"),
        *(b"helicone-target-url", b"helicone-target-provider", b"helicone-openai-api-base", b"helicone-fallbacks"),
        *(b"helicone-prompt-id", b"cf-aig-metadata", b"x-model-provider-id"),
        *(b"azureml-model-deployment", b"extra-parameters"),
    ]
)
"""Header fields that choose what answers, here or at a gateway behind. No other counts but for those of a family,
least of all one that names the client's address.
"""

FAMILIES: Final = (b"x-portkey-", b"x-litellm-", b"x-amzn-bedrock-")
"""Beginnings of the names of fields that choose what answers."""

_ASIDE: Final = re.compile(
    rb"api-key$|-authorization$|trace|span|session|(?:call|request)-id$|timeout|retr|spend|cache-|debug|log"
).search
"""In a family: what tells who asks is a scope's, and what watches, waits or retries chooses nothing."""

MAX_STRUCTURE: Final = 250_000
"""Values in one body, counted by what begins them."""
LONG: Final = 20
"""Digits of an integer that is spelled with an exponent."""
SMALL: Final = 4_096
QUICK_BYTES: Final = 262_144
QUICK_STRUCTURE: Final = 2_000
VERSION: Final = b"askonce-key-1"


class UnkeyableReason(enum.Enum):
    """Why a body has no canonical form."""

    NOT_JSON = "not-json"
    NOT_OBJECT = "not-object"
    DUPLICATE_NAME = "duplicate-name"
    TOO_DEEP = "too-deep"
    TOO_COMPLEX = "too-complex"
    NUMBER = "number-out-of-range"
    """An exponent of more digits than any machine reads."""


@final
class Unkeyable(ValueError):
    """A body that gets no key, because two readers may take it for different requests or nobody reads it cheaply."""

    def __init__(self, reason: UnkeyableReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def canonical(body: bytes, without: Collection[str] = DENIED) -> bytes:
    """The canonical bytes of a JSON object, its members named in `without` left out. Raises Unkeyable."""
    value = _read(body, without)
    if value[:1] != b"{":
        raise Unkeyable(UnkeyableReason.NOT_OBJECT)
    return value


def canonical_value(raw: bytes) -> bytes:
    """The canonical bytes of any one JSON value. Raises Unkeyable."""
    return _read(raw, ())


def digest(body: bytes, without: Collection[str] = DENIED) -> bytes:
    """SHA-256 of the canonical bytes of a JSON object. Raises Unkeyable."""
    return hashlib.sha256(canonical(body, without)).digest()


def digest_apart(body: bytes, path: Sequence[str | int], without: Collection[str] = DENIED) -> bytes:
    """SHA-256 of where a value stands in a JSON object and of all of the object but that value.

    Raises Unkeyable, and KeyError or IndexError where nothing stands there.
    """
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Unkeyable(UnkeyableReason.NOT_JSON) from None
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    if path[-1] not in holder if isinstance(holder, dict) else not 0 <= int(path[-1]) < len(holder):
        raise KeyError(path[-1])
    holder[path[-1]] = None
    apart = {name: member for name, member in value.items() if name not in without}
    return _digest_of(b"askonce-apart-1", _encode(path), _encode(apart))


def quick_to_read(body: bytes) -> bool:
    """Whether an event loop may wait for its digest: some 3 ms at worst. Others belong into a thread."""
    return len(body) <= SMALL or (len(body) <= QUICK_BYTES and _structure(body) <= QUICK_STRUCTURE)


def scope_of(kind: str, *parts: bytes) -> bytes:
    """Who shares answers: a digest of, for instance, ("key", credential) or ("team", name).

    Parts count in full and with their kind, so that neither a common prefix nor a team that is called
    like a key makes two scopes one; and a digest gives no secret away.
    """
    return _digest_of(b"askonce-scope-1", kind.encode(), *parts)


def qualifiers_of(query: bytes, headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, bytes]]:
    """What counts beside the body: the query and fields (in lower case) that choose what answers."""
    found = [(name.decode("latin-1"), value) for name, value in headers if name in QUALIFYING or _chooses(name)]
    if query:
        found.append(("?", query))
    return found


def _chooses(name: bytes) -> bool:
    return name.startswith(FAMILIES) and _ASIDE(name) is None


def key_of(scope: bytes, endpoint: str, qualifiers: Sequence[tuple[str, bytes]], content: bytes) -> str:
    """The key of an answer: 64 hex digits of SHA-256 over every part with its length.

    `content` is the digest of the body. The order of qualifiers with different names does not count.
    """
    parts = [scope, endpoint.encode(), content]
    for name, value in sorted(qualifiers, key=_name):
        parts += (name.encode(), value)
    return _digest_of(VERSION, *parts).hex()


def _name(qualifier: tuple[str, bytes]) -> str:
    return qualifier[0]


def _digest_of(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join([b"%d:%b" % (len(part), part) for part in parts])).digest()


def _structure(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _read(body: bytes, without: Collection[str]) -> bytes:
    if len(body) > MAX_STRUCTURE and _structure(body) > MAX_STRUCTURE:
        raise Unkeyable(UnkeyableReason.TOO_COMPLEX)
    try:
        return _quick(body, without) or _exact(body, without)
    except RecursionError:
        raise Unkeyable(UnkeyableReason.TOO_DEEP) from None
    except Unkeyable:
        raise
    except ValueError:
        raise Unkeyable(UnkeyableReason.NOT_JSON) from None


def _number(text: str) -> int | msgspec.Raw:
    """A JSON number in its one spelling, in time linear in the text."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    sign = "-" if whole[0] == "-" else ""
    digits = (whole + fraction).lstrip("-0")
    significant = digits.rstrip("0")
    if not significant:
        return 0
    if len(exponent) > 18:
        sized = exponent.lstrip("+-").lstrip("0")
        if len(sized) > 18:
            raise Unkeyable(UnkeyableReason.NUMBER)
        exponent = exponent[0] * (exponent[0] == "-") + (sized or "0")
    power = int(exponent or "0") - len(fraction) + len(digits) - len(significant)
    if power >= 0 and power + len(significant) < LONG:
        integer: int = int(sign + significant) * 10**power
        return integer
    return msgspec.Raw(f"{sign}{significant}e{power}".encode())


_decode = msgspec.json.Decoder(float_hook=_number).decode
_encode = msgspec.json.Encoder(order="sorted").encode

_colon_escaped = re.compile(rb"\\u003[aA]").search
_DIGITS = bytes.maketrans(b"0123456789", b"0" * 10)


def _quick(body: bytes, without: Collection[str]) -> bytes:
    """The canonical bytes as msgspec gives them, or b"" where it reads less exactly than it must.

    It keeps the last of the members with one name. Each value that is dropped takes a colon along, and
    where no colon is written as an escape, nothing adds one: equal counts prove that none was dropped.
    It spells integers of any length without an exponent, so that LONG ones are not for it.
    """
    if _colon_escaped(body) or _long_number(body):
        return b""
    try:
        value = _decode(body)
        left_out = {}
        if type(value) is dict:
            left_out = {name: value.pop(name) for name in without if name in value}
        text = _encode(value)
        colons = text.count(b":") + (_encode(left_out).count(b":") if left_out else 0)
    except (msgspec.DecodeError, UnicodeError):
        return b""
    return text if colons == body.count(b":") else b""


def _long_number(body: bytes) -> bool:
    """Whether LONG digits stand in a row. They would show as four in a row in every fifth byte."""
    return b"0000" in body[::5].translate(_DIGITS) and b"0" * LONG in body.translate(_DIGITS)


def _exact(body: bytes, without: Collection[str]) -> bytes:
    """The canonical bytes of anything that JSON can say. Raises ValueError and RecursionError."""
    value = _scan(body.decode("utf-8", "surrogatepass"))
    if type(value) is dict:
        value = {name: member for name, member in value.items() if name not in without}
    parts: list[bytes] = []
    _spell(value, parts)
    return b"".join(parts)


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unkeyable(UnkeyableReason.DUPLICATE_NAME)
    return members


def _refuse_constant(_name: str) -> None:
    raise Unkeyable(UnkeyableReason.NOT_JSON)


_scan = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_number, parse_float=_number, parse_constant=_refuse_constant
).decode
_quote = json.JSONEncoder(ensure_ascii=False).encode


def _spell(value: object, parts: list[bytes]) -> None:
    """As msgspec spells it, and beyond that half a surrogate pair as the three bytes that UTF-8 has no use for."""
    if isinstance(value, dict):
        mark = b"{"
        for name in sorted(value):
            parts += (mark, _quote(name).encode("utf-8", "surrogatepass"), b":")
            _spell(value[name], parts)
            mark = b","
        parts.append(b"}" if value else b"{}")
    elif isinstance(value, list):
        mark = b"["
        for item in value:
            parts.append(mark)
            _spell(item, parts)
            mark = b","
        parts.append(b"]" if value else b"[]")
    elif isinstance(value, msgspec.Raw):
        parts.append(bytes(value))
    else:
        parts.append(_quote(value).encode("utf-8", "surrogatepass"))
