"""Every setting with its type, bounds and default; config.toml says what each is for."""

import typing
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, field

from proxy.config.allowances import Keys, Limits
from proxy.config.section import Bytes, Count, Port, Seconds, Secret, Section, Ttl, is_section, types_of
from proxy.config.semantic import Semantic
from proxy.config.upstreams import Admission, Breaker, PriceTable, Retry, Route, Upstream

__all__ = [
    "DEFAULT_BASE_URL",
    "Admin",
    "Auth",
    "Cache",
    "CacheTtl",
    "Coalesce",
    "Config",
    "Data",
    "Http",
    "Ledger",
    "Listen",
    "Log",
    "Metrics",
    "Pool",
    "Prices",
    "Realtime",
    "Redis",
    "Server",
    "Timeouts",
    "known_keys",
]

DEFAULT_BASE_URL = "https://api.openai.com/v1"


class Listen(Section, frozen=True):
    """The public listener."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tls_certificate: str = ""
    tls_key: str = ""
    max_connections: Count = 10_000
    trusted_proxies: tuple[str, ...] = ()


class Admin(Section, frozen=True):
    """The private listener: metrics, health and the admin API."""

    host: str = "127.0.0.1"
    port: Port = 8081
    token: Secret = Secret("")


class Server(Section, frozen=True):
    """The process: workers and their end."""

    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    drain_delay: Annotated[float, Meta(ge=0, le=600)] = 0.0
    drain_timeout: Seconds = 30.0


class Http(Section, frozen=True):
    """Caps on what a client may send."""

    max_header_bytes: Annotated[int, Meta(ge=256, le=1 << 20)] = 8_192
    max_head_bytes: Annotated[int, Meta(ge=1_024, le=1 << 20)] = 65_536
    max_headers: Annotated[int, Meta(ge=8, le=10_000)] = 128
    max_json_bytes: Bytes = 32 << 20
    max_upload_bytes: Bytes = 520 << 20
    max_pipelined: Annotated[int, Meta(ge=1, le=1_000)] = 16


class Timeouts(Section, frozen=True):
    """Seconds, named by phase."""

    head: Seconds = 10.0
    body: Seconds = 30.0
    keepalive: Seconds = 75.0
    client_write: Seconds = 60.0
    connect: Seconds = 5.0
    upstream_write: Seconds = 60.0
    first_byte: Seconds = 600.0
    idle: Seconds = 120.0
    total: Seconds = 900.0
    comment: Seconds = 15.0


class Pool(Section, frozen=True):
    """Connections to upstreams."""

    max_idle: Annotated[int, Meta(ge=0, le=10_000)] = 128
    idle_timeout: Seconds = 30.0
    dns_ttl: Seconds = 30.0


class Data(Section, frozen=True):
    """What is kept on disk."""

    directory: str = "data"


class Auth(Section, frozen=True):
    """Who may ask."""

    mode: Literal["passthrough", "keys"] = "passthrough"
    require_key: bool = False


class CacheTtl(Section, frozen=True):
    """Seconds that an answer is served again, by endpoint; 0 is off."""

    chat_completions: Ttl = 86_400.0
    completions: Ttl = 86_400.0
    responses: Ttl = 86_400.0
    embeddings: Ttl = 604_800.0
    moderations: Ttl = 86_400.0
    models: Ttl = 300.0
    images_generations: Ttl = 0.0
    audio_speech: Ttl = 0.0
    audio_transcriptions: Ttl = 0.0
    audio_translations: Ttl = 0.0


class Cache(Section, frozen=True):
    """Answers that are served again."""

    enabled: bool = True
    scope: Literal["team", "key", "global"] = "team"
    memory_bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 256 << 20
    max_entry_bytes: Annotated[int, Meta(ge=1_024, le=64 << 20)] = 16 << 20
    max_upload_bytes: Annotated[int, Meta(ge=1_024, le=1 << 30)] = 25 << 20
    jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    stale_if_error: Ttl = 3_600.0
    pacing: Literal["none", "original"] = "none"
    hosted_tools: bool = False
    models: tuple[str, ...] = ()
    snapshot: str = ""
    ttl: CacheTtl = CacheTtl()


class Coalesce(Section, frozen=True):
    """Identical requests in flight share one upstream call."""

    enabled: bool = True
    off: tuple[str, ...] = ()
    max_wait: Seconds = 60.0


class Redis(Section, frozen=True):
    """What workers and machines share."""

    url: Secret = Secret("")
    namespace: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,64}$")] = "askonce"
    deadline: Annotated[float, Meta(gt=0, le=10)] = 0.05
    max_connections: Annotated[int, Meta(ge=1, le=1_000)] = 16


class Realtime(Section, frozen=True):
    """WebSocket sessions."""

    ping_interval: Seconds = 20.0
    ping_timeout: Seconds = 20.0
    max_frame_bytes: Bytes = 16 << 20


class Log(Section, frozen=True):
    """What is written to standard output."""

    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Metrics(Section, frozen=True):
    """Bounds on label values."""

    max_models: Annotated[int, Meta(ge=1, le=10_000)] = 100


class Prices(Section, frozen=True):
    """What is used, in USD."""

    enabled: bool = True
    models: dict[str, PriceTable] = field(default_factory=dict)
    """By patterns of models' names; the first that fits counts."""


class Ledger(Section, frozen=True):
    """A row for each request."""

    mode: Literal["auto", "on", "off"] = "auto"
    keep_requests_days: Annotated[int, Meta(ge=1, le=3_660)] = 30
    keep_usage_days: Annotated[int, Meta(ge=32, le=36_600)] = 400
    """Over a month, because what was spent in one is found again in these."""
    max_requests: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000
    buffer_rows: Annotated[int, Meta(ge=1, le=10_000_000)] = 50_000
    buffer_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 40)] = 64 << 20


class Config(Section, frozen=True):
    """Everything that can be set."""

    listen: Listen = Listen()
    admin: Admin = Admin()
    server: Server = Server()
    http: Http = Http()
    timeouts: Timeouts = Timeouts()
    pool: Pool = Pool()
    data: Data = Data()
    auth: Auth = Auth()
    cache: Cache = Cache()
    coalesce: Coalesce = Coalesce()
    semantic: Semantic = Semantic()
    keys: Keys = Keys()
    limits: Limits = Limits()
    prices: Prices = Prices()
    ledger: Ledger = Ledger()
    redis: Redis = Redis()
    realtime: Realtime = Realtime()
    log: Log = Log()
    metrics: Metrics = Metrics()
    retry: Retry = Retry()
    breaker: Breaker = Breaker()
    admission: Admission = Admission()
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    """What a client may call a model → the model."""


def known_keys(like: str = "", *, tables: bool = True) -> Iterator[str]:
    """Every setting, and every table if asked for, as a dotted key.

    What operators name themselves is called as it is in the key `like`, and "name" where that has no name for it.
    """
    yield from _known(Config, "", like, tables=tables)


def _known(section: type[Section], prefix: str, like: str, *, tables: bool) -> Iterator[str]:
    for name, kind in types_of(section).items():
        key, inner = prefix + name, kind
        named = typing.get_origin(kind) is dict
        if tables and (named or is_section(kind)):
            yield key
        if named:
            inner = typing.get_args(kind)[1]
            found = like.removeprefix(f"{key}.").partition(".")[0] if like.startswith(f"{key}.") else ""
            key = f"{key}.{found or 'name'}"
            if tables and is_section(inner):
                yield key
        if is_section(inner):
            yield from _known(inner, f"{key}.", like, tables=tables)
        elif not named:
            yield key
