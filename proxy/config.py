"""config.toml and the environment become one frozen `Config`; all validation happens here.

Precedence: environment (`ASKONCE_SECTION__NAME`) over file over defaults. A secret in the file
is a reference, `env:NAME` or `file:PATH`; it is read once, here.
"""

import ipaddress
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

__all__ = ["Config", "ConfigError", "Secret", "Upstream", "load"]

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1, le=1 << 40)]

DEFAULT_BASE_URL = "https://api.openai.com/v1"


class ConfigError(Exception):
    """One line that names the key and says what is wrong with it."""


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


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of config.toml."""


class Listen(_Section):
    """The public listener."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tls_certificate: str = ""
    tls_key: str = ""
    max_connections: Count = 10_000
    trusted_proxies: tuple[str, ...] = ()


class Admin(_Section):
    """The private listener: metrics and health."""

    host: str = "127.0.0.1"
    port: Port = 8081


class Server(_Section):
    """The process: workers and their end."""

    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    drain_delay: Annotated[float, Meta(ge=0, le=600)] = 0.0
    drain_timeout: Seconds = 30.0


class Http(_Section):
    """Caps on what a client may send."""

    max_header_bytes: Annotated[int, Meta(ge=256, le=1 << 20)] = 8_192
    max_head_bytes: Annotated[int, Meta(ge=1_024, le=1 << 20)] = 65_536
    max_headers: Annotated[int, Meta(ge=8, le=10_000)] = 128
    max_json_bytes: Bytes = 32 << 20
    max_upload_bytes: Bytes = 520 << 20
    max_pipelined: Annotated[int, Meta(ge=1, le=1_000)] = 16


class Timeouts(_Section):
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


class Pool(_Section):
    """Connections to upstreams."""

    max_idle: Annotated[int, Meta(ge=0, le=10_000)] = 128
    idle_timeout: Seconds = 30.0
    dns_ttl: Seconds = 30.0


class Auth(_Section):
    """Who may ask."""

    mode: Literal["passthrough"] = "passthrough"
    require_key: bool = False


class Realtime(_Section):
    """WebSocket sessions."""

    ping_interval: Seconds = 20.0
    ping_timeout: Seconds = 20.0
    max_frame_bytes: Bytes = 16 << 20


class Log(_Section):
    """What is written to standard output."""

    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Metrics(_Section):
    """Bounds on label values."""

    max_models: Annotated[int, Meta(ge=1, le=10_000)] = 100


class Upstream(_Section):
    """One OpenAI-compatible API."""

    base_url: str
    key: Secret = Secret("")
    models: tuple[str, ...] = ("*",)
    ca_file: str = ""


class Config(_Section):
    """Everything that can be set."""

    listen: Listen = Listen()
    admin: Admin = Admin()
    server: Server = Server()
    http: Http = Http()
    timeouts: Timeouts = Timeouts()
    pool: Pool = Pool()
    auth: Auth = Auth()
    realtime: Realtime = Realtime()
    log: Log = Log()
    metrics: Metrics = Metrics()
    upstreams: dict[str, Upstream] = {}  # noqa: RUF012  (a Struct copies its defaults)


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Reads the file (none: defaults) and overlays the environment. Raises ConfigError."""
    tree = _read(path) if path else {}
    for name, text in sorted(environ.items()):
        if name.startswith("ASKONCE_") and "__" in name:
            _overlay(tree, name, text)
    _default_upstream(tree, environ)
    return _checked(_convert(tree, environ))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _overlay(tree: dict[str, Any], name: str, text: str) -> None:
    """Puts one variable in its place, converted to the type that stands there."""
    keys = [part.lower() for part in name.removeprefix("ASKONCE_").split("__")]
    kind: Any = Config
    for key in keys:
        kind = _member(kind, key, name)
    node = tree
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{name}: {key} is not a table")
    if kind is Secret:
        node[keys[-1]] = text if text.startswith(("env:", "file:")) else Secret(text)
        return
    value: Any = [item.strip() for item in text.split(",") if item.strip()] if _is_tuple(kind) else text
    try:
        node[keys[-1]] = msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}") from None


def _member(kind: Any, key: str, name: str) -> Any:
    if typing.get_origin(kind) is dict:
        return typing.get_args(kind)[1]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind, include_extras=True)
        if key in hints:
            return hints[key]
    raise ConfigError(f"{name}: there is no such setting")


def _is_tuple(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple and not isinstance(kind, types.UnionType)


def _default_upstream(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Without any upstream there is OpenAI; OPENAI_BASE_URL moves the upstream named `openai`."""
    upstreams = tree.setdefault("upstreams", {})
    if not isinstance(upstreams, dict):
        raise ConfigError("upstreams: expected a table of tables")
    moved = environ.get("OPENAI_BASE_URL", "")
    if not upstreams:
        upstreams["openai"] = {"base_url": moved or DEFAULT_BASE_URL}
    elif moved and "openai" in upstreams and "ASKONCE_UPSTREAMS__OPENAI__BASE_URL" not in environ:
        upstreams["openai"] = {**upstreams["openai"], "base_url": moved}


def _convert(tree: dict[str, Any], environ: Mapping[str, str]) -> Config:
    def secret(kind: type, value: object) -> Secret:
        if kind is not Secret:
            raise TypeError(f"unexpected type {kind}")
        return _resolve(value, environ)

    try:
        return msgspec.convert(tree, Config, dec_hook=secret)
    except msgspec.ValidationError as error:
        message, _, where = str(error).rpartition(" - at ")
        key = where.strip("`").removeprefix("$").removeprefix(".")
        raise ConfigError(f"{key or 'config'}: {message or where}") from None


def _resolve(value: object, environ: Mapping[str, str]) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("a secret is `env:NAME` or `file:PATH`")  # noqa: TRY004  (msgspec shows ValueError with its place)
    scheme, _, rest = value.partition(":")
    if not value:
        return Secret("")
    if scheme == "env":
        if not environ.get(rest):
            raise ValueError(f"the environment variable {rest} is not set")
        return Secret(environ[rest])
    if scheme == "file":
        try:
            return Secret(Path(rest).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError):
            raise ValueError(f"the secret file {rest} cannot be read") from None
    raise ValueError("a secret is written as `env:NAME` or `file:PATH`, never in the file itself")


def _checked(config: Config) -> Config:
    """What types cannot say. Raises ConfigError."""
    if bool(config.listen.tls_certificate) != bool(config.listen.tls_key):
        raise ConfigError("listen.tls_key: tls_certificate and tls_key go together")
    for network in config.listen.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ConfigError(f"listen.trusted_proxies: {network!r} is not an address or network") from None
    if config.listen.port and (config.listen.host, config.listen.port) == (config.admin.host, config.admin.port):
        raise ConfigError("admin.port: the admin listener needs a port of its own")
    for name, upstream in config.upstreams.items():
        _check_upstream(f"upstreams.{name}", upstream, config)
    return config


def _check_upstream(key: str, upstream: Upstream, config: Config) -> None:
    try:
        url = urlsplit(upstream.base_url)
        port = url.port or (443 if url.scheme == "https" else 80)
    except ValueError as error:
        raise ConfigError(f"{key}.base_url: {error}") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(f"{key}.base_url: expected http://host/… or https://host/…")
    if url.username or url.password:
        raise ConfigError(f"{key}.base_url: a key does not belong in the URL; use {key}.key")
    if url.query or url.fragment or any(c <= " " or c == "\x7f" for c in upstream.base_url):
        raise ConfigError(f"{key}.base_url: a query, fragment or blank does not belong here")
    if not upstream.models:
        raise ConfigError(f"{key}.models: at least one pattern is needed")
    own = {config.listen.host, "127.0.0.1", "localhost", "::1"}
    if port == config.listen.port and url.hostname in own:
        raise ConfigError(f"{key}.base_url: points at this gateway itself")
