"""`askonce check`: the configuration in words."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from proxy import config as configuration
from proxy.config import Config, ConfigError, Loaded, Upstream
from proxy.redis_link.url import BadUrl, Url

__all__ = ["check"]

_Lines = Iterator[tuple[str, str]]


def check(option: Path | None, *, as_json: bool) -> None:
    """Raises ConfigError."""
    loaded = configuration.read(configuration.find(option))
    redis = _redis(loaded)
    warnings = configuration.advice(loaded, os.environ, len(os.sched_getaffinity(0)))
    if as_json:
        typer.echo(_document(loaded, warnings))
        return
    console = Console(highlight=False, soft_wrap=True)
    for title, lines in (
        ("Configuration", _sources(loaded)),
        ("Listeners", _listeners(loaded)),
        ("Upstreams", _upstreams(loaded)),
        ("Cache", _cache(loaded.config, redis)),
        ("Caps", _caps(loaded.config)),
        ("Time-outs", _timeouts(loaded.config)),
        ("The rest", _rest(loaded.config)),
    ):
        console.print(Text(title, "bold"))
        for name, text in lines:
            console.print(Text(f"  {name:<24}{text}"))
    for warning in warnings:
        console.print(Text("warning: ", "yellow") + Text(warning))
    if not warnings:
        console.print(Text("No warnings.", "green"))


def _document(loaded: Loaded, warnings: list[str]) -> bytes:
    document = {
        "file": str(loaded.path.absolute()) if loaded.path else None,
        "environment": {variable: key for key, variable in sorted(loaded.variables.items())},
        "secrets": loaded.secrets,
        "settings": loaded.config,
        "warnings": warnings,
    }
    # A Secret is the one type that needs the hook, and shows itself as ***.
    return msgspec.json.format(msgspec.json.encode(document, enc_hook=lambda secret: str(secret).strip("'")))


def _sources(loaded: Loaded) -> _Lines:
    yield "file", str(loaded.path.absolute()) if loaded.path else "none: every setting has its default"
    for key, variable in sorted(loaded.variables.items()):
        yield key, f"set by ${variable}"


def _listeners(loaded: Loaded) -> _Lines:
    config, listen = loaded.config, loaded.config.listen
    scheme = "https" if listen.tls_certificate else "http"
    yield "public", f"{scheme}://{_authority(listen.host, listen.port)}/v1"
    yield "admin", f"http://{_authority(config.admin.host, config.admin.port)} (/metrics, /healthz, /readyz, /admin/v1)"
    yield "admin token", loaded.secrets.get("admin.token", "made at the start, shown once in the log")
    yield "connections", f"at most {listen.max_connections:,} per worker"
    yield "forwarded-for from", ", ".join(listen.trusted_proxies) or "nobody"


def _upstreams(loaded: Loaded) -> _Lines:
    for name, upstream in loaded.config.upstreams.items():
        yield name, upstream.base_url
        yield "  key", _key(loaded.secrets.get(f"upstreams.{name}.key", ""))
        yield "  models", _models(upstream)
        if upstream.ca_file:
            yield "  trusts also", upstream.ca_file


def _redis(loaded: Loaded) -> str:
    """Where it is, without credentials; "" for nowhere. Raises ConfigError, as `serve` does."""
    url = loaded.config.redis.url
    try:
        return str(Url.parse(url.reveal())) if url else ""
    except BadUrl as error:
        raise ConfigError(f"redis.url: {error}") from None


def _cache(config: Config, redis: str) -> _Lines:
    cache, coalesce = config.cache, config.coalesce
    if not cache.enabled:
        yield "cache", "off: every request goes upstream"
        return
    yield "answers shared by", "everybody who gets in" if cache.scope == "global" else "requests with the same key"
    lifetimes: dict[float, list[str]] = {}
    for name, seconds in msgspec.structs.asdict(cache.ttl).items():
        lifetimes.setdefault(seconds, []).append(name)
    for seconds, names in sorted(lifetimes.items(), reverse=True):
        yield f"kept for {_duration(seconds)}" if seconds else "not kept", ", ".join(names)
    if cache.models:
        yield "by model", ", ".join(cache.models)
    stale = cache.stale_if_error
    yield "if an upstream fails", f"stale answers for {_duration(stale)}" if stale else "no stale answers"
    yield "memory", f"{_size(cache.memory_bytes)} per worker, entries up to {_size(cache.max_entry_bytes)}"
    yield "Redis", redis or "none: each worker has its own memory"
    if cache.snapshot:
        yield "snapshot", cache.snapshot if not redis else f"{cache.snapshot}: not used, there is Redis"
    alone = f", but for {', '.join(coalesce.off)}" if coalesce.off else ""
    yield "requests in flight", f"shared{alone}" if coalesce.enabled else "each goes upstream"


def _key(origin: str) -> str:
    return f"{origin}, in place of the client's" if origin else "the client's own"


def _models(upstream: Upstream) -> str:
    everything = ' ("*": all that match no other pattern)' if "*" in upstream.models else ""
    return ", ".join(upstream.models) + everything


def _caps(config: Config) -> _Lines:
    http = config.http
    yield "header line", _size(http.max_header_bytes)
    yield "head", f"{_size(http.max_head_bytes)}, {http.max_headers} lines"
    yield "JSON body", _size(http.max_json_bytes)
    yield "upload", _size(http.max_upload_bytes)
    yield "pipelined requests", str(http.max_pipelined)
    yield "WebSocket frame", _size(config.realtime.max_frame_bytes)


def _timeouts(config: Config) -> _Lines:
    timeouts = config.timeouts
    yield (
        "client",
        (
            f"headers {_duration(timeouts.head)}, body {_duration(timeouts.body)} between pieces, "
            f"not reading {_duration(timeouts.client_write)}, between requests {_duration(timeouts.keepalive)}"
        ),
    )
    yield (
        "upstream",
        (
            f"connect {_duration(timeouts.connect)}, not reading {_duration(timeouts.upstream_write)}, "
            f"first byte {_duration(timeouts.first_byte)}, between pieces {_duration(timeouts.idle)}"
        ),
    )
    yield "whole answer", f"{_duration(timeouts.total)}; streams have no such limit"
    yield "comment to the client", f"every {_duration(timeouts.comment)} of silence in a stream"
    realtime = config.realtime
    yield "WebSocket", f"ping after {_duration(realtime.ping_interval)}, pong within {_duration(realtime.ping_timeout)}"


def _rest(config: Config) -> _Lines:
    server, pool = config.server, config.pool
    yield "workers", str(server.workers)
    yield "end", f"not ready for {_duration(server.drain_delay)}, then {_duration(server.drain_timeout)} to finish"
    yield "idle connections", f"{pool.max_idle} per upstream and worker, for {_duration(pool.idle_timeout)}"
    yield "addresses", f"used for {_duration(pool.dns_ttl)}"
    yield "auth", f"{config.auth.mode}, key {'required' if config.auth.require_key else 'optional'}"
    yield "log", f"{config.log.format}, {config.log.level}"
    yield "metrics", f'{config.metrics.max_models} models by name, the rest as "other"'


def _authority(host: str, port: int) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{port or '<any free port>'}"


def _size(count: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{round(count / unit, 2):g} {name}"
    return f"{count} B"


def _duration(seconds: float) -> str:
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds * 1000:g} ms" if 0 < seconds < 1 else f"{seconds:g} s"
