"""Path → what we know of it. What is not known is forwarded as it is."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from proxy.errors import Failure, Kind

__all__ = ["HEALTH", "Route", "find"]

PREFIX: Final = "/v1/"


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    """A label from a closed set."""
    methods: tuple[str, ...] = ()
    """Those that OpenAI's API takes here; empty where it is not known."""
    json_body: bool = False
    """A POST carries a JSON object that names a model."""
    form_body: bool = False
    """A POST carries a form that names a model."""
    cacheable: bool = False
    """An answer can be served again: it is asked for without content-encoding."""
    streams: bool = False
    """An answer may be a stream of events."""
    streams_end: bool = False
    """A whole stream has a last event, `data: [DONE]` or a closing one."""


HEALTH: Final = Route("healthz", ("GET",))

_KNOWN: Final = {
    route.name: route
    for route in (
        Route("chat/completions", ("GET", "POST"), json_body=True, streams=True, cacheable=True, streams_end=True),
        Route("completions", ("POST",), json_body=True, streams=True, cacheable=True, streams_end=True),
        Route("embeddings", ("POST",), json_body=True, cacheable=True),
        Route("responses", ("POST",), json_body=True, streams=True, cacheable=True, streams_end=True),
        Route("responses/compact", ("POST",), json_body=True),
        Route("moderations", ("POST",), json_body=True, cacheable=True),
        Route("images/generations", ("POST",), json_body=True, streams=True, cacheable=True),
        Route("images/edits", ("POST",), form_body=True),
        Route("images/variations", ("POST",), form_body=True),
        Route("audio/speech", ("POST",), json_body=True, cacheable=True),
        Route("audio/transcriptions", ("POST",), form_body=True, cacheable=True),
        Route("audio/translations", ("POST",), form_body=True, cacheable=True),
        Route("models", ("GET",), cacheable=True),
        Route("files", ("GET", "POST")),
        Route("batches", ("GET", "POST")),
        Route("realtime", ("GET", "POST")),
    )
}
_FAMILIES: Final = {
    name: Route(f"{name}/*", cacheable=name == "models")
    for name in (
        "assistants",
        "audio",
        "batches",
        "chat",
        "containers",
        "conversations",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "models",
        "organization",
        "realtime",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    )
}
_OTHER: Final = Route("other")
_DOTS: Final = (".", "..")
_STORED_CHAT: Final = re.compile(r"chat/completions/[^/;]+(/messages)?")
_SLASH: Final = re.compile(r"[/\\]")
_REST: Final = re.compile(r"[?#\0]")
_DECODED: Final = 3
"""As often as a path is decoded on its way through several servers."""


def find(method: str, path: str, *, upgrading: bool = False) -> Route:
    """Any route may be upgraded. Raises Failure: UNKNOWN_ROUTE, METHOD_NOT_ALLOWED, INVALID_REQUEST."""
    if path.startswith(PREFIX):
        rest = path[len(PREFIX) :]
        route = _KNOWN.get(rest)
        if route is None:
            _refuse_dots(path)
            return _unknown(method, rest)
    elif path == "/healthz":
        route = HEALTH
    else:
        raise Failure(Kind.UNKNOWN_ROUTE)
    if upgrading or method in route.methods or method == "OPTIONS" or (method == "HEAD" and "GET" in route.methods):
        return route
    raise Failure(Kind.METHOD_NOT_ALLOWED, allow=_allowed(route))


def _unknown(method: str, rest: str) -> Route:
    """Of what a known path is not, nor another way to write one, which upstreams may take for it."""
    plain = "/".join(filter(None, _segments(rest))).lower()
    if plain in _KNOWN:
        raise Failure(Kind.UNKNOWN_ROUTE, f"There is no such path here; {PREFIX}{plain} is written in another way.")
    family = rest.partition("/")[0]
    if family == "chat" and method == "POST" and not _STORED_CHAT.fullmatch(rest):
        return _OTHER
    return _FAMILIES.get(family, _OTHER)


def _allowed(route: Route) -> str:
    heads = ("HEAD",) if "GET" in route.methods else ()
    return ", ".join((*route.methods, *heads, "OPTIONS"))


def _refuse_dots(path: str) -> None:
    """A dot segment could climb out of the upstream's base path, also when it is percent-encoded."""
    if "." not in path and "%" not in path:
        return
    if any(segment in _DOTS for segment in _segments(path)):
        raise Failure(Kind.INVALID_REQUEST, "The path has a dot segment.")


def _segments(path: str) -> list[str]:
    """As some server might read them: decoded, without what stands behind a semicolon, a question mark or blanks."""
    for _ in range(_DECODED):
        path = unquote(path, "latin-1")
    return [segment.partition(";")[0].strip() for segment in _SLASH.split(_REST.split(path, maxsplit=1)[0])]
