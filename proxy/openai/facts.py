"""What a cache must know of a request's JSON beyond its model and stream. Sans-IO.

Total: whatever stands where, it is read or doubted, and what is doubted counts against the cache.
"""

import re
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from proxy.openai.members import NotPlain, cut

__all__ = ["Alias", "Facts", "facts", "strip_alias"]

_NULL: Final = msgspec.Raw(b"null")
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
MAX_ALIAS: Final = 1_024
MAX_SECONDS: Final = 1 << 31
_NO: Final = (b"null", b"false")
_TEXTS: Final = (b'"', b"[")

CLIENT_RUN: Final = frozenset({"function", "custom", "apply_patch", "local_shell"})
"""Types of tools that the client runs itself. Every other tool may be the upstream's, which sees the world change."""

_SEARCHES: Final = re.compile(
    r"-research(?:-|$)|-search(?:-preview|-api|$)|deep-?search|(?:^|[^a-z0-9])sonar(?:$|[^a-z0-9])"
    r"|(?:^|/)compound(?:-|$)|[:-]online(?:[:-]|$)",
    re.IGNORECASE,
)
"""Names of models that look things up unasked: OpenAI's, Perplexity's, Groq's, Jina's, and OpenRouter's suffix."""

LOOK_UPS: Final = (
    *("web_search_options", "search_parameters", "plugins", "search_options", "data_sources", "mcp_servers"),
    "venice_parameters",
)
"""Members that make the upstream look up, whatever is in them: of OpenAI, xAI, OpenRouter, DashScope, Azure, Venice."""
SWITCHES: Final = (
    *("enable_search", "web_search", "enable_web_search", "google_search", "forced_search", "enable_enhancement"),
    "force_search_enhancement",
)
"""The same, unless they are false: of DashScope, Baidu, Venice, compatible forms of Gemini, and Hunyuan."""
MAX_CHOICES: Final = 1 << 31


class Alias(NamedTuple):
    """LiteLLM's `cache` member: what a client asks of the cache in the body. What cannot be read tightens."""

    ttl: float | None = None
    """Seconds."""
    max_age: float | None = None
    """Seconds."""
    no_cache: bool = False
    no_store: bool = False


class Facts(NamedTuple):
    stateful: bool
    """The answer depends on what the upstream keeps and changes, or asking changes what it keeps."""
    hosted_tools: bool
    """The upstream may run a tool or a search for the answer."""
    wants_usage: bool
    """A stream's client asked for the frame of usage."""
    alias: Alias | None
    choices: int = 1
    """How many answers are asked for, at least."""


class _Body(msgspec.Struct, gc=False):
    model: msgspec.Raw = _NULL
    conversation: msgspec.Raw = _NULL
    background: msgspec.Raw = _NULL
    prompt: msgspec.Raw = _NULL
    prompt_cache_options: msgspec.Raw = _NULL
    tools: msgspec.Raw = _NULL
    web_search_options: msgspec.Raw = _NULL
    search_parameters: msgspec.Raw = _NULL
    plugins: msgspec.Raw = _NULL
    search_options: msgspec.Raw = _NULL
    data_sources: msgspec.Raw = _NULL
    mcp_servers: msgspec.Raw = _NULL
    venice_parameters: msgspec.Raw = _NULL
    enable_search: msgspec.Raw = _NULL
    web_search: msgspec.Raw = _NULL
    enable_web_search: msgspec.Raw = _NULL
    google_search: msgspec.Raw = _NULL
    forced_search: msgspec.Raw = _NULL
    enable_enhancement: msgspec.Raw = _NULL
    force_search_enhancement: msgspec.Raw = _NULL
    extra_body: msgspec.Raw = _NULL
    n: msgspec.Raw = _NULL
    stream_options: msgspec.Raw = _NULL
    cache: msgspec.Raw = _NULL


class _Typed(msgspec.Struct, gc=False):
    type: str


class _Inner(msgspec.Struct, gc=False):
    """The members that matter of the objects in a body."""

    type: msgspec.Raw = _NULL
    version: msgspec.Raw = _NULL
    prewarm: msgspec.Raw = _NULL
    include_usage: msgspec.Raw = _NULL
    environment: msgspec.Raw = _NULL
    execution: msgspec.Raw = _NULL
    tools: msgspec.Raw = _NULL


_looks = attrgetter(*LOOK_UPS)
_switched = attrgetter(*SWITCHES)
_UNASKED: Final = tuple([_NULL for _ in LOOK_UPS])

_decode = msgspec.json.Decoder(_Body).decode
_decode_inner = msgspec.json.Decoder(_Inner).decode
_decode_types = msgspec.json.Decoder(list[_Typed]).decode
_decode_tools = msgspec.json.Decoder(list[_Inner]).decode
_decode_alias = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_string = msgspec.json.Decoder(str).decode
_decode_number = msgspec.json.Decoder(float).decode

_DOUBTFUL: Final = Facts(stateful=True, hosted_tools=True, wants_usage=False, alias=None)


def facts(endpoint: str, body: bytes) -> Facts:
    """`endpoint` is a route's name. `previous_response_id` is no state: what it names does not change."""
    try:
        found = _decode(body)
    except _NOT_JSON:
        return _DOUBTFUL
    return Facts(
        stateful=_keeps(endpoint, found),
        hosted_tools=_looks_up(endpoint, found),
        wants_usage=found.stream_options != _NULL and _wants_usage(found.stream_options),
        alias=None if found.cache == _NULL else _alias(bytes(found.cache)),
        choices=_choices(endpoint, found),
    )


def strip_alias(body: bytes) -> bytes:
    """A body that has an alias without it, all else as it was."""
    try:
        return cut(body, "cache")
    except NotPlain:
        return msgspec.json.encode({name: value for name, value in _decode_alias(body).items() if name != "cache"})


def _keeps(endpoint: str, found: _Body) -> bool:
    if found.conversation != _NULL or (found.background != _NULL and bytes(found.background) not in _NO):
        return True
    if found.prompt_cache_options != _NULL and _prewarms(found.prompt_cache_options):
        return True
    return endpoint == "responses" and found.prompt != _NULL and not _pinned(found.prompt)


def _prewarms(options: msgspec.Raw) -> bool:
    """Asked for what it does to the upstream's cache, not for an answer."""
    inner = _inner(options)
    return inner is None or bytes(inner.prewarm) not in _NO


def _pinned(prompt: msgspec.Raw) -> bool:
    """A template whose version is named; without one, it is whichever is published now."""
    inner = _inner(prompt)
    return inner is not None and bytes(inner.version)[:1] == b'"'


def _looks_up(endpoint: str, found: _Body) -> bool:
    if _looks(found) != _UNASKED or any(bytes(each) not in _NO for each in _switched(found)):
        return True
    if b"search" in bytes(found.extra_body).lower():
        return True  # an SDK's name for members that it puts into the body, which some upstreams read as well
    if endpoint == "responses" and found.prompt != _NULL:
        return True  # a template brings tools of its own
    if found.tools != _NULL and _any_hosted(found.tools):
        return True
    try:
        return bytes(found.model)[:1] == b'"' and _SEARCHES.search(_decode_string(found.model)) is not None
    except _NOT_JSON:
        return True


def _choices(endpoint: str, found: _Body) -> int:
    """Of completions, so many for each prompt. What is no number is for the upstream to refuse."""
    if found.n == _NULL and endpoint != "completions":
        return 1
    prompts = _prompts(bytes(found.prompt)) if endpoint == "completions" else 1
    try:
        return prompts * max(1, min(int(_decode_number(found.n)), MAX_CHOICES)) if found.n != _NULL else prompts
    except (*_NOT_JSON, OverflowError):
        return prompts


def _prompts(prompt: bytes) -> int:
    """A text or a list of tokens is one; of other lists, each item."""
    if prompt[:1] != b"[":
        return 1
    try:
        items = _decode_items(prompt)
    except _NOT_JSON:
        return 1
    return max(1, sum([bytes(item)[:1] in _TEXTS for item in items]))


def _any_hosted(tools: msgspec.Raw) -> bool:
    try:
        return _any_other(tools) and any(_hosted(tool) for tool in _decode_tools(tools))
    except _NOT_JSON:
        return True


def _any_other(tools: msgspec.Raw) -> bool:
    """Any type beside those that the client runs."""
    try:
        return not CLIENT_RUN.issuperset([tool.type for tool in _decode_types(tools)])
    except _NOT_JSON:
        return True


def _hosted(tool: _Inner) -> bool:
    match bytes(tool.type)[1:-1].decode("utf-8", "replace"):
        case "shell":
            where = _inner(tool.environment)
            return where is None or bytes(where.type) != b'"local"'
        case "tool_search":
            return bytes(tool.execution) != b'"client"'
        case "namespace":
            return _any_other(tool.tools)
        case kind:
            return kind not in CLIENT_RUN


def _wants_usage(options: msgspec.Raw) -> bool:
    inner = _inner(options)
    return inner is not None and bytes(inner.include_usage) == b"true"


def _inner(value: msgspec.Raw) -> _Inner | None:
    try:
        return _decode_inner(value)
    except _NOT_JSON:
        return None


def _alias(raw: bytes) -> Alias | None:
    """None for what is not LiteLLM's: other gateways have a member of this name too."""
    try:
        found = _decode_alias(raw)
    except _NOT_JSON:
        return None
    if not found.keys() <= _ALIASES:
        return None
    if len(raw) > MAX_ALIAS:
        return Alias(no_cache=True, no_store=True)
    values = {name: bytes(value) for name, value in found.items()}
    ttl, bad_ttl = _seconds(values.get("ttl", b"null"))
    max_age, bad_age = _seconds(values.get("s-maxage", values.get("s-max-age", b"null")))
    return Alias(
        ttl=ttl,
        max_age=max_age,
        no_cache=bad_age or values.get("no-cache", b"null") not in _NO,
        no_store=bad_ttl or values.get("no-store", b"null") not in _NO,
    )


_ALIASES: Final = frozenset({"ttl", "s-maxage", "s-max-age", "no-cache", "no-store", "namespace", "use-cache"})


def _seconds(raw: bytes) -> tuple[float | None, bool]:
    """The number, and whether what stands there is none."""
    if raw == b"null":
        return None, False
    try:
        number = _decode_number(raw)
    except _NOT_JSON:
        return None, True
    return (min(number, MAX_SECONDS), False) if number >= 0 else (None, True)
