"""`askonce check`: the configuration in words."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from proxy import config as configuration
from proxy.cli import explain, explain_routes
from proxy.cli.check_models import load_models
from proxy.cli.explain_semantic import explain_semantic
from proxy.cli.units import duration, size
from proxy.config import Config, ConfigError, Loaded, resolved_routes
from proxy.keys.pepper import check_pepper
from proxy.redis_link.url import BadUrl, Url

__all__ = ["check"]

_Lines = Iterator[tuple[str, str]]


def check(option: Path | None, *, as_json: bool) -> None:
    """Raises ConfigError."""
    loaded = configuration.read(configuration.find(option))
    if loaded.config.auth.mode == "keys":
        check_pepper(os.environ)
    redis = _redis(loaded)
    models = load_models(loaded.config)
    warnings = [*configuration.advice(loaded, os.environ, len(os.sched_getaffinity(0))), *models.warnings]
    if as_json:
        typer.echo(_document(loaded, warnings))
        return
    console = Console(highlight=False, soft_wrap=True)
    for title, lines in (
        ("Configuration", _sources(loaded)),
        ("Listeners", _listeners(loaded)),
        ("Upstreams", explain_routes.upstreams(loaded)),
        ("Routes", explain_routes.routes(loaded.config)),
        ("Retries", explain_routes.retries(loaded.config)),
        ("Breaker", explain_routes.breaker(loaded.config)),
        ("Admission", explain_routes.admission(loaded.config)),
        ("Cache", _cache(loaded.config, redis)),
        ("Questions that mean the same", explain_semantic(loaded.config, models)),
        ("Keys", explain.keys(loaded.config, redis)),
        ("Limits", explain.limits(loaded.config, redis)),
        ("Prices, in USD", explain.prices(loaded.config)),
        ("Ledger", explain.ledger(loaded.config, redis)),
        ("Caps", _caps(loaded.config)),
        ("Time-outs", _timeouts(loaded.config)),
        ("The rest", _rest(loaded.config)),
    ):
        console.print(Text(title, "bold"))
        for name, text in lines:
            console.print(Text(f"  {name:<23} {text}"))
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
        "routes": resolved_routes(loaded.config),
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
    yield "answers shared by", _sharers(config)
    lifetimes: dict[float, list[str]] = {}
    for name, seconds in msgspec.structs.asdict(cache.ttl).items():
        lifetimes.setdefault(seconds, []).append(name)
    for seconds, names in sorted(lifetimes.items(), reverse=True):
        yield f"kept for {duration(seconds)}" if seconds else "not kept", ", ".join(names)
    if cache.models:
        yield "by model", ", ".join(cache.models)
    stale = cache.stale_if_error
    yield "if an upstream fails", f"stale answers for {duration(stale)}" if stale else "no stale answers"
    yield "memory", f"{size(cache.memory_bytes)} per worker, entries up to {size(cache.max_entry_bytes)}"
    yield "Redis", redis or "none: each worker has its own memory"
    if cache.snapshot:
        yield "snapshot", cache.snapshot if not redis else f"{cache.snapshot}: not used, there is Redis"
    alone = f", but for {', '.join(coalesce.off)}" if coalesce.off else ""
    yield "requests in flight", f"shared{alone}" if coalesce.enabled else "each goes upstream"


def _sharers(config: Config) -> str:
    if config.cache.scope == "global":
        return "everybody who gets in"
    if config.cache.scope == "team" and config.auth.mode == "keys":
        return "keys of the same team"
    return "requests with the same key"


def _caps(config: Config) -> _Lines:
    http = config.http
    yield "header line", size(http.max_header_bytes)
    yield "head", f"{size(http.max_head_bytes)}, {http.max_headers} lines"
    yield "JSON body", size(http.max_json_bytes)
    yield "upload", size(http.max_upload_bytes)
    yield "pipelined requests", str(http.max_pipelined)
    yield "WebSocket frame", size(config.realtime.max_frame_bytes)


def _timeouts(config: Config) -> _Lines:
    timeouts = config.timeouts
    yield (
        "client",
        (
            f"headers {duration(timeouts.head)}, body {duration(timeouts.body)} between pieces, "
            f"not reading {duration(timeouts.client_write)}, between requests {duration(timeouts.keepalive)}"
        ),
    )
    yield (
        "upstream",
        (
            f"connect {duration(timeouts.connect)}, not reading {duration(timeouts.upstream_write)}, "
            f"first byte {duration(timeouts.first_byte)}, between pieces {duration(timeouts.idle)}"
        ),
    )
    yield "whole answer", f"{duration(timeouts.total)}; streams have no such limit"
    yield "comment to the client", f"every {duration(timeouts.comment)} of silence in a stream"
    realtime = config.realtime
    yield "WebSocket", f"ping after {duration(realtime.ping_interval)}, pong within {duration(realtime.ping_timeout)}"


def _rest(config: Config) -> _Lines:
    server, pool = config.server, config.pool
    yield "workers", str(server.workers)
    yield "end", f"not ready for {duration(server.drain_delay)}, then {duration(server.drain_timeout)} to finish"
    yield "idle connections", f"{pool.max_idle} per upstream and worker, for {duration(pool.idle_timeout)}"
    yield "addresses", f"used for {duration(pool.dns_ttl)}"
    yield "log", f"{config.log.format}, {config.log.level}"
    yield "metrics", f'{config.metrics.max_models} models by name, the rest as "other"'


def _authority(host: str, port: int) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{port or '<any free port>'}"
