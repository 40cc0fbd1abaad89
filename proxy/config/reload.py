"""What a running process keeps of its configuration, whatever a new one says."""

from typing import Any, Final

import msgspec

from proxy.config.settings import Config, Listen

__all__ = ["carried_over"]

_AT_START: Final = {
    "listen": ("host", "port"),
    "admin": ("host", "port"),
    "server": ("workers",),
    "log": ("format", "level"),
    "metrics": ("max_models",),
    "cache": ("enabled", "memory_bytes", "snapshot"),
    "semantic": ("engine", "memory_bytes", "deadline", "max_error_rate", "label_days", "embedder", "verifier", "judge"),
    "data": ("directory",),
    "auth": ("mode",),
    "limits": ("count",),
    "ledger": ("mode", "keep_requests_days", "keep_usage_days", "max_requests", "buffer_rows", "buffer_bytes"),
    "redis": ("url", "namespace", "deadline", "max_connections"),
}
_TLS: Final = ("tls_certificate", "tls_key")


def carried_over(running: Config, wanted: Config) -> tuple[Config, list[str]]:
    """`wanted`, except for what only a start can change; and the settings in which that makes a difference."""
    sections: dict[str, Any] = {}
    ignored: list[str] = []
    for section, names in _AT_START.items():
        old, new = getattr(running, section), getattr(wanted, section)
        if isinstance(new, Listen) and bool(new.tls_certificate) != bool(old.tls_certificate):
            names = (*names, *_TLS)  # noqa: PLW2901  (another pair is taken up, HTTPS or not is not)
        kept = {name: getattr(old, name) for name in names if getattr(old, name) != getattr(new, name)}
        sections[section] = msgspec.structs.replace(new, **kept)
        ignored += [f"{section}.{name}" for name in kept]
    return msgspec.structs.replace(wanted, **sections), ignored
