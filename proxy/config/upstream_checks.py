"""What is sent to an upstream, and when it is asked again: what their types cannot say."""

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

from proxy.config.route_checks import is_name
from proxy.config.section import ConfigError, dotted
from proxy.config.settings import Config
from proxy.config.upstreams import Upstream

__all__ = ["CREDENTIALS", "OURS", "check_upstreams"]

MAX_SLOTS: Final = 1_000_000
MAX_TEXT: Final = 4_096
CREDENTIALS: Final = frozenset(["authorization", "api-key", "x-api-key"])
OURS: Final = frozenset(
    [
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "http2-settings", "content-length", "host", "expect"),
        *("accept-encoding", "content-encoding", "content-type"),
    ]
)
"""Fields of a connection, and those that say how a body is written."""
_SETTINGS: Final = {"openai-organization": "organization", "openai-project": "project"}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_TEXT: Final = re.compile(rf"(?:[!-~](?:[ -~\t]{{0,{MAX_TEXT - 2}}}[!-~])?)?")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]{0,64}")
_VISIBLE: Final = re.compile(r"[!-~]{0,256}")
_PATH: Final = re.compile(r"/[!-~]{0,255}")

_Called = Callable[[str], str]


def check_upstreams(config: Config, called: _Called) -> None:
    """Raises ConfigError; `called` turns a dotted key into what the operator calls it."""
    for name, upstream in config.upstreams.items():
        key = f"upstreams.{name}"
        _check_keys(called, key, upstream)
        _check_rename(called, f"{key}.rename", upstream.rename)
        _check_headers(called, key, upstream.headers)
        _check_texts(called, key, upstream)
        if upstream.slots != inf and (not upstream.slots.is_integer() or upstream.slots > MAX_SLOTS):
            raise ConfigError(
                f"{called(f'{key}.slots')}: expected a whole number up to {MAX_SLOTS:,}, or inf for no bound"
            )
        _check_probe(called, key, upstream)
    if config.retry.base > config.retry.longest:
        raise ConfigError(f"{called('retry.base')}: cannot be more than retry.longest")
    if config.breaker.cool_down > config.breaker.longest:
        raise ConfigError(f"{called('breaker.cool_down')}: cannot be more than breaker.longest")


def _check_keys(called: _Called, key: str, upstream: Upstream) -> None:
    if upstream.key and upstream.key in upstream.keys:
        raise ConfigError(f"{called(f'{key}.keys')}: one of them is that of {key}.key")
    if len({*upstream.keys}) < len(upstream.keys):
        raise ConfigError(f"{called(f'{key}.keys')}: two of them are the same")


def _check_rename(called: _Called, key: str, names: Mapping[str, str]) -> None:
    for name, other in names.items():
        if not is_name(name) or not is_name(other):
            raise ConfigError(
                f"{called(dotted(key, name))}: a model's name is 1 to 256 printable characters, without wildcards"
            )


def _check_headers(called: _Called, key: str, fields: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for name, text in fields.items():
        where, field = called(dotted(f"{key}.headers", name)), name.lower()
        if not _TOKEN.fullmatch(name):
            raise ConfigError(f"{where}: not the name of a header field")
        if field in CREDENTIALS:
            raise ConfigError(f"{where}: a key does not belong here; use {key}.key, and {key}.key_field")
        if field in _SETTINGS:
            raise ConfigError(f"{where}: use {key}.{_SETTINGS[field]}")
        if field in OURS:
            raise ConfigError(f"{where}: only the gateway itself sets this field")
        if field in seen:
            raise ConfigError(f"{where}: stands there twice")
        if not _TEXT.fullmatch(text):
            raise ConfigError(f"{where}: expected at most {MAX_TEXT:,} ASCII characters, with no blank at either end")
        seen.add(field)


def _check_texts(called: _Called, key: str, upstream: Upstream) -> None:
    for name, text in (("organization", upstream.organization), ("project", upstream.project)):
        if not _VISIBLE.fullmatch(text):
            raise ConfigError(f"{called(f'{key}.{name}')}: expected at most 256 visible ASCII characters")
    for name, text in (("api_version", upstream.api_version), ("region", upstream.region)):
        if not _PLAIN.fullmatch(text):
            raise ConfigError(
                f"{called(f'{key}.{name}')}: expected at most 64 letters, digits, dots, hyphens, underscores"
            )


def _check_probe(called: _Called, key: str, upstream: Upstream) -> None:
    if not _PATH.fullmatch(upstream.probe.path) or {"?", "#"} & {*upstream.probe.path}:
        raise ConfigError(f"{called(f'{key}.probe.path')}: expected a path that begins with /, such as '/models'")
    if upstream.probe.interval and "{model}" in upstream.base_url:
        raise ConfigError(f"{called(f'{key}.probe.interval')}: a probe has no model to put into {key}.base_url")
