"""config.toml and the environment become one frozen `Config`; all validation happens here.

Precedence: environment (`ASKONCE_SECTION__NAME`) over file over defaults. A secret in the file
is a reference, `env:NAME` or `file:PATH`; it is read once, here. Whatever is wrong ends in one
`ConfigError` of one line, which never shows a secret.
"""

from proxy.config.advice import advice
from proxy.config.reading import Loaded, as_variable, find, load, read, strays
from proxy.config.reload import carried_over
from proxy.config.settings import (
    DEFAULT_BASE_URL,
    Admin,
    Auth,
    Cache,
    CacheTtl,
    Coalesce,
    Config,
    ConfigError,
    Http,
    Listen,
    Log,
    Metrics,
    Pool,
    Realtime,
    Redis,
    Secret,
    Server,
    Timeouts,
    Upstream,
)

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
    "Loaded",
    "Log",
    "Metrics",
    "Pool",
    "Realtime",
    "Redis",
    "Secret",
    "Server",
    "Timeouts",
    "Upstream",
    "advice",
    "as_variable",
    "carried_over",
    "find",
    "load",
    "read",
    "strays",
]
