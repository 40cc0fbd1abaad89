"""config.toml and the environment become one frozen `Config`; all validation happens here.

Precedence: environment (`ASKONCE_SECTION__NAME`) over file over defaults. A secret in the file
is a reference, `env:NAME` or `file:PATH`; it is read once, here. Whatever is wrong ends in one
`ConfigError` of one line, which never shows a secret.
"""

from proxy.config.advice import advice
from proxy.config.allowances import Amounts, DeclaredKey, DeclaredTeam, Keys, Limits, SubjectLimits
from proxy.config.reading import Loaded, as_variable, find, load, read, strays
from proxy.config.reload import carried_over
from proxy.config.routes import (
    ResolvedRoute,
    key_field_of,
    resolved_routes,
    secrets_of,
    slots_of,
    timeouts_of,
)
from proxy.config.section import ConfigError, Secret
from proxy.config.settings import (
    DEFAULT_BASE_URL,
    Admin,
    Auth,
    Cache,
    CacheTtl,
    Coalesce,
    Config,
    Data,
    Http,
    Ledger,
    Listen,
    Log,
    Metrics,
    Pool,
    Prices,
    Realtime,
    Redis,
    Server,
    Timeouts,
)
from proxy.config.upstreams import Admission, Breaker, OwnTimeouts, Probe, Retry, Route, Upstream

__all__ = [
    "DEFAULT_BASE_URL",
    "Admin",
    "Admission",
    "Amounts",
    "Auth",
    "Breaker",
    "Cache",
    "CacheTtl",
    "Coalesce",
    "Config",
    "ConfigError",
    "Data",
    "DeclaredKey",
    "DeclaredTeam",
    "Http",
    "Keys",
    "Ledger",
    "Limits",
    "Listen",
    "Loaded",
    "Log",
    "Metrics",
    "OwnTimeouts",
    "Pool",
    "Prices",
    "Probe",
    "Realtime",
    "Redis",
    "ResolvedRoute",
    "Retry",
    "Route",
    "Secret",
    "Server",
    "SubjectLimits",
    "Timeouts",
    "Upstream",
    "advice",
    "as_variable",
    "carried_over",
    "find",
    "key_field_of",
    "load",
    "read",
    "resolved_routes",
    "secrets_of",
    "slots_of",
    "strays",
    "timeouts_of",
]
