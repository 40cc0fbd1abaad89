"""Every setting with its type, bounds and default; config.toml says what each is for."""

import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, final

import msgspec
from msgspec import Meta

__all__ = [
    "DEFAULT_BASE_URL",
    "Admin",
    "Auth",
    "Cache",
    "CacheTtl",
    "Coalesce",
    "Config",
    "ConfigError",
    "Http",
    "Listen",
    "Log",
    "Metrics",
    "Pool",
    "Realtime",
    "Redis",
    "Secret",
    "Server",
    "Timeouts",
    "Upstream",
    "known_keys",
    "types_of",
]

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Ttl = Annotated[float, Meta(ge=0, le=31_536_000)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1, le=1 << 40)]

DEFAULT_BASE_URL = "https://api.openai.com/v1"


class ConfigError(Exception):
    """One line that names the key, or the environment variable, and says what is wrong with it."""

    def __init__(self, line: str) -> None:
        # Keys and paths are quoted as they were written, and may hold anything.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))


@final
class Secret:
    """A string that shows itself only when asked by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "'***'" if self._value else "''"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of config.toml."""


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


class Auth(Section, frozen=True):
    """Who may ask."""

    mode: Literal["passthrough"] = "passthrough"
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
    scope: Literal["key", "global"] = "key"
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


class Upstream(Section, frozen=True):
    """One OpenAI-compatible API."""

    base_url: str
    key: Secret = Secret("")
    models: tuple[str, ...] = ("*",)
    ca_file: str = ""


class Config(Section, frozen=True):
    """Everything that can be set."""

    listen: Listen = Listen()
    admin: Admin = Admin()
    server: Server = Server()
    http: Http = Http()
    timeouts: Timeouts = Timeouts()
    pool: Pool = Pool()
    auth: Auth = Auth()
    cache: Cache = Cache()
    coalesce: Coalesce = Coalesce()
    redis: Redis = Redis()
    realtime: Realtime = Realtime()
    log: Log = Log()
    metrics: Metrics = Metrics()
    upstreams: dict[str, Upstream] = {}


def types_of(section: type[Section]) -> dict[str, Any]:
    """The settings of a table with their types, bounds included."""
    return typing.get_type_hints(section, include_extras=True)


def known_keys(
    upstream: str, *, tables: bool = True, section: type[Section] = Config, prefix: str = ""
) -> Iterator[str]:
    """Every setting, and every table if asked for, as a dotted key; `upstream` is the name of any upstream."""
    for name, kind in types_of(section).items():
        key = prefix + name
        inner = kind
        if typing.get_origin(kind) is dict:
            key, inner = f"{key}.{upstream}", typing.get_args(kind)[1]
        if isinstance(inner, type) and issubclass(inner, Section):
            if tables:
                yield from dict.fromkeys((prefix + name, key))
            yield from known_keys(upstream, tables=tables, section=inner, prefix=f"{key}.")
        else:
            yield key
