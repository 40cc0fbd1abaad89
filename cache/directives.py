"""What a client asks of the cache, in all the ways in which it may. Sans-IO.

RFC 9111 §5.2.1 and RFC 5861 §4, our own fields, and those of the gateways that people come from. A
client can only tighten what the operator allows. So what is said twice counts in its stricter form,
and what cannot be read counts as the strictest: an unreadable `max-age` is 0 (RFC 9111 §4.2.1), an
unreadable `max-stale` allows nothing. Nothing here fails a request, and nothing names a scope, a
namespace or a threshold.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

__all__ = ["DIRECTIVE_FIELDS", "FOREVER", "NONE", "TAG", "Directives", "directives"]

FOREVER: Final = 1 << 31
"""Seconds; what is longer counts as this (RFC 9111 §1.2.2)."""
MAX_TAGS: Final = 16
MAX_TAG: Final = 64


@dataclass(frozen=True, slots=True)
class Directives:
    """Durations are in seconds; None asks for nothing."""

    no_cache: bool = False
    """Ask the upstream, and keep its answer."""
    no_store: bool = False
    """Keep nothing of this exchange, and give nothing of another one."""
    bypass: bool = False
    """The same, in the words of another gateway."""
    only_if_cached: bool = False
    """Never ask the upstream."""
    max_age: float | None = None
    min_fresh: float = 0
    max_stale: float | None = None
    stale_if_error: float | None = None
    ttl: float | None = None
    """How long the answer to this request may be kept."""
    tags: tuple[str, ...] = ()
    bad_tags: bool = False
    """Some tag could not be taken; an answer kept without it could not be purged by it."""
    semantic: bool = True
    """Whether the answer to a question that means the same will do."""


NONE: Final = Directives()


def directives(headers: Sequence[tuple[bytes, bytes]], body: Directives = NONE) -> Directives:
    """What the headers (names in lower case) ask for, together with what the body did."""
    asked = body
    pragma = controlled = False
    for name, value in headers:
        if name in _READERS:
            asked = _stricter(asked, _said(name, value))
            controlled = controlled or name == b"cache-control"
        elif name == b"pragma":
            pragma = pragma or any(directive == "no-cache" for directive, _ in _items(value))
    return _stricter(asked, _NO_CACHE) if pragma and not controlled else asked


def _stricter(one: Directives, other: Directives) -> Directives:
    if one is NONE:
        return other
    tags = tuple(dict.fromkeys(one.tags + other.tags))
    return Directives(
        no_cache=one.no_cache or other.no_cache,
        no_store=one.no_store or other.no_store,
        bypass=one.bypass or other.bypass,
        only_if_cached=one.only_if_cached or other.only_if_cached,
        max_age=_least(one.max_age, other.max_age),
        min_fresh=max(one.min_fresh, other.min_fresh),
        max_stale=_least(one.max_stale, other.max_stale),
        stale_if_error=_least(one.stale_if_error, other.stale_if_error),
        ttl=_least(one.ttl, other.ttl),
        tags=tags[:MAX_TAGS],
        bad_tags=one.bad_tags or other.bad_tags or len(tags) > MAX_TAGS,
        semantic=one.semantic and other.semantic,
    )


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


_NO_CACHE: Final = Directives(no_cache=True)
_NO_STORE: Final = Directives(no_store=True)
_BYPASS: Final = Directives(bypass=True)
_ITEM: Final = re.compile(
    rb"""([^\s,="]+)                                                   # a name
         (?: [ \t]* = [ \t]* (?: "((?:[^"\\]|\\.)*+)" | ([^,"]*+) ) )?  # a value, quoted or not
         ([^,]*+) (?:,|$)                                               # what does not belong there""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


def _items(value: bytes) -> Iterator[tuple[str, bytes | None]]:
    """The directives of a field: lower-case names, and arguments or None (RFC 9111 §5.2, RFC 9110 §5.6)."""
    for item in _ITEM.finditer(value):
        name, quoted, plain, rest = item.groups()
        argument = plain.strip() if plain is not None else None
        if quoted is not None:
            argument = _ESCAPED.sub(rb"\1", quoted)
        yield name.decode("latin-1").lower(), b"?" if rest.strip() else argument


def _seconds(argument: bytes | None, otherwise: int) -> int:
    """delta-seconds (RFC 9111 §1.2.2); `otherwise` is the strictest reading of what is none."""
    if argument is None or not argument.isdigit():
        return otherwise
    digits = argument.lstrip(b"0")
    return min(int(digits or b"0"), FOREVER) if len(digits) <= 10 else FOREVER


def _control(name: str, argument: bytes | None) -> Directives:
    match name:
        case "no-cache":
            return _NO_CACHE
        case "no-store":
            return _NO_STORE
        case "only-if-cached":
            return Directives(only_if_cached=True)
        case "max-age":
            return Directives(max_age=_seconds(argument, 0))
        case "min-fresh":
            return Directives(min_fresh=_seconds(argument, FOREVER))
        case "max-stale":
            return Directives(max_stale=FOREVER if argument is None else _seconds(argument, 0))
        case "stale-if-error":
            return Directives(stale_if_error=_seconds(argument, 0))
        case _:
            return NONE


def _cache_control(value: bytes) -> Directives:
    asked = NONE
    for name, argument in _items(value):
        asked = _stricter(asked, _control(name, argument))
    return asked


def _ttl(value: bytes) -> Directives:
    return Directives(ttl=_seconds(value.strip(), 0))


TAG: Final = re.compile(rf"[A-Za-z0-9._:/@=+-]{{1,{MAX_TAG}}}")


def _tags(value: bytes) -> Directives:
    given = [tag for tag in (part.strip() for part in value.decode("latin-1").split(",")) if tag]
    tags = tuple(dict.fromkeys(tag for tag in given if TAG.fullmatch(tag)))
    return Directives(tags=tags[:MAX_TAGS], bad_tags=len(tags) > MAX_TAGS or not set(given) <= set(tags))


def _semantic(value: bytes) -> Directives:
    return Directives(semantic=False) if value.strip().lower() in _OFF else NONE


def _force_refresh(value: bytes) -> Directives:
    # Portkey's gateway looks for the field, not for its value.
    return NONE if value.strip().lower() in _OFF else _NO_CACHE


def _skip(value: bytes) -> Directives:
    return NONE if value.strip().lower() in _OFF else _BYPASS


def _enabled(value: bytes) -> Directives:
    # Helicone caches for the word "true" alone.
    return NONE if value.strip().lower() == b"true" else _BYPASS


_OFF: Final = (b"", b"0", b"false", b"no", b"off")
_READERS: Final[Mapping[bytes, Callable[[bytes], Directives]]] = MappingProxyType({
    b"cache-control": _cache_control,
    b"x-askonce-cache-ttl": _ttl,
    b"x-askonce-cache-tags": _tags,
    b"x-askonce-semantic": _semantic,
    b"x-portkey-cache-force-refresh": _force_refresh,
    b"cf-aig-skip-cache": _skip,
    b"cf-aig-cache-ttl": _ttl,
    b"helicone-cache-enabled": _enabled,
})  # fmt: skip


@lru_cache(maxsize=512)
def _said(name: bytes, value: bytes) -> Directives:
    """Clients say the same few things over and over."""
    return _READERS[name](value)


DIRECTIVE_FIELDS: Final = frozenset(_READERS) - {b"cache-control"}
"""Header fields that speak to a cache like this one and to nobody behind it."""
