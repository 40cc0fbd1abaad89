"""What starts and serves, but is probably not what the operator wants."""

from collections.abc import Iterator, Mapping
from math import inf
from urllib.parse import urlsplit

from proxy.config.allowance_checks import allowances
from proxy.config.checks import is_loopback
from proxy.config.reading import BASE_URL_VARIABLE, Loaded, strays
from proxy.config.routes import ResolvedRoute, resolved_routes, secrets_of, timeouts_of
from proxy.config.section import dotted
from proxy.config.settings import Config
from proxy.config.upstreams import Upstream

__all__ = ["advice"]

SHORT_TOKEN = 16
PATIENT_POOL = 60.0
"""Seconds of idleness beyond which many servers have closed the connection themselves."""

_ENDPOINTS = (
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "moderations",
    "images/generations",
    "audio/speech",
    "audio/transcriptions",
)
"""Not `models`, under which some APIs live."""


def advice(loaded: Loaded, environ: Mapping[str, str], cores: int) -> list[str]:
    """One line for each."""
    return [
        *_exposure(loaded),
        *_upstreams(loaded),
        *_routes(loaded.config),
        *_failing(loaded.config),
        *_keys(loaded.config),
        *_semantic(loaded.config),
        *_money(loaded.config),
        *_sizes(loaded, cores),
        *_environment(loaded, environ),
    ]


def _exposure(loaded: Loaded) -> Iterator[str]:
    config = loaded.config
    if config.auth.mode == "passthrough" and not is_loopback(config.listen.host):
        for key in (key for key in loaded.secrets if key.startswith("upstreams.")):
            # auth.require_key would not help: in pass-through mode any key at all will do.
            yield f"listen.host: whoever reaches {config.listen.host} can spend {key}; keep strangers out"
    if not is_loopback(config.admin.host):
        yield f"admin.host: whoever reaches {config.admin.host} can read the metrics"
    if 0 < len(config.admin.token.reveal()) < SHORT_TOKEN:
        yield f"admin.token: has fewer than {SHORT_TOKEN} characters, and may be guessed"


def _semantic(config: Config) -> Iterator[str]:
    semantic = config.semantic
    off = semantic.mode == "off" and not (semantic.models or semantic.endpoints)
    for name, key in config.keys.declared.items():
        if key.semantic in ("shadow", "on") and (off or not config.cache.enabled):
            yield f"{dotted('keys.declared', name)}.semantic: has no effect, because semantic.mode is off for everybody"
    if semantic.threshold and not off:
        yield "semantic.threshold: serves reworded questions that no label has proven; 0 lets labels decide"
    if semantic.verifier.min_score and not off:
        yield "semantic.verifier.min_score: serves for a score that no label has proven; 0 lets labels decide"
    if semantic.padding and config.cache.scope != "global":
        yield 'semantic.padding: has no effect, because cache.scope is not "global"'


def _upstreams(loaded: Loaded) -> Iterator[str]:
    upstreams = loaded.config.upstreams
    for name, upstream in upstreams.items():
        url = urlsplit(upstream.base_url)
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            yield f"upstreams.{name}.base_url: http:// carries keys and prompts unencrypted to {url.hostname}"
        path = url.path.rstrip("/")
        if not path:
            yield f"upstreams.{name}.base_url: has no path; most APIs live under /v1"
        for endpoint in _ENDPOINTS:
            if path.endswith(f"/{endpoint}"):
                yield f"upstreams.{name}.base_url: ends in /{endpoint}, which requests bring themselves"
                break
        if url.scheme == "http" and upstream.ca_file:
            yield f"upstreams.{name}.ca_file: has no effect on an http:// URL"
        if url.path.endswith("/deployments/{model}") and not upstream.api_version:
            yield f"upstreams.{name}.api_version: is not set, and Azure's deployments want one"
    if not any("*" in route.models for route in resolved_routes(loaded.config)):
        yield 'upstreams: no one serves "*", so models that match no pattern are refused'


def _routes(config: Config) -> Iterator[str]:
    resolved = resolved_routes(config)
    asked = {name for route in resolved for group in route.groups for name, _ in group}
    for name in config.upstreams:
        if name not in asked:
            yield f"upstreams.{name}: is never asked, because routes that do not name it have all its patterns"
    for route in resolved:
        key = f"routes.{route.name}"
        if route.sticky != "off" and not route.balances:
            yield f"{key}.sticky: has no effect, because no group balances several: upstreams are asked in order"
        if route.required and not config.breaker.enabled:
            yield f"{key}.required: has no effect, because breaker.enabled is false"
        if config.auth.mode == "passthrough":
            yield from _client_keys(config, route)
    for alias, model in config.aliases.items():
        if any(alias in route.models for route in resolved):
            yield f"{dotted('aliases', alias)}: hides the model of that name, {model} is asked in its place"


def _client_keys(config: Config, route: ResolvedRoute) -> Iterator[str]:
    """A client's own goes to whom its request is for: the first, or all of a group that balances."""
    keyless = [[name for name, _ in group if _is_keyless(config.upstreams[name])] for group in route.groups]
    asked = [name for group in route.groups for name, _ in group]
    own = asked[:1] if route.strategy == "priority" else [name for name, _ in route.groups[0]]
    alike = [name for name in keyless[0] if name in own]
    if len(alike) > 1:
        yield f"routes.{route.name}.groups: a client's own key goes to {' and '.join(alike)} alike"
    for name in [name for group in keyless for name in group if name not in own]:
        yield f"routes.{route.name}.groups: {name} is asked without any key, because a client's own goes to the first"


def _is_keyless(upstream: Upstream) -> bool:
    """And not on this machine, where it hardly matters."""
    return not secrets_of(upstream) and not is_loopback(urlsplit(upstream.base_url).hostname or "")


def _failing(config: Config) -> Iterator[str]:
    some = [f"routes.{name}.on_ambiguous" for name, route in config.routes.items() if route.on_ambiguous]
    for key in ["retry.on_ambiguous"] if config.retry.on_ambiguous else some:
        yield f"{key}: a request that an upstream may have acted on is sent again, and may be billed twice"
    yield from dict.fromkeys(_commented(config))
    workers = config.server.workers
    for name, upstream in config.upstreams.items():
        if upstream.slots < workers:
            yield f"upstreams.{name}.slots: each of {workers} workers has one, which makes {workers}"


def _commented(config: Config) -> Iterator[str]:
    """A comment commits a stream to the upstream that is silent. One line for each `first_byte` that is too long."""
    comment = config.timeouts.comment
    ambiguous = (route for route in resolved_routes(config) if route.on_ambiguous)
    for route, name in ((each, name) for each in ambiguous for group in each.groups for name, _ in group):
        own = config.upstreams[name].timeouts
        if timeouts_of(config, route.timeouts, own).first_byte >= comment:
            key = f"upstreams.{name}.timeouts.first_byte" if own.first_byte else "timeouts.first_byte"
            key = f"routes.{route.name}.timeouts.first_byte" if route.timeouts.first_byte else key
            yield f"{key}: no stream is sent again after it, because timeouts.comment ({comment:g} s) commits it before"


def _keys(config: Config) -> Iterator[str]:
    if config.auth.mode == "passthrough":
        if config.keys.declared or config.keys.teams:
            yield 'keys: what is declared has no effect, because auth.mode is "passthrough"'
        return
    for name, upstream in config.upstreams.items():
        if _is_keyless(upstream):
            yield f"upstreams.{name}.key: is not set, and no client's virtual key goes there: it is asked without any"


def _money(config: Config) -> Iterator[str]:
    budgets = (
        table
        for table, amounts in allowances(config)
        if min(amounts.usd_per_day, amounts.usd_per_month, amounts.usd_in_all) < inf
    )
    budgeted = next(budgets, "")
    if not budgeted or config.prices.enabled:
        return
    if config.limits.unknown_price == "allow":
        yield f"prices.enabled: what has no price in prices.models is free, for {budgeted} too"
    else:
        yield f"prices.enabled: what has no price in prices.models is refused, because of {budgeted}"


def _sizes(loaded: Loaded, cores: int) -> Iterator[str]:
    config = loaded.config
    if config.server.workers > cores:
        yield f"server.workers: {config.server.workers} workers share {cores} core{'s' if cores > 1 else ''}"
    if config.pool.idle_timeout > PATIENT_POOL:
        yield "pool.idle_timeout: an upstream that closes idle connections sooner makes requests on them fail"
    if config.timeouts.comment >= max(config.timeouts.first_byte, config.timeouts.idle):
        yield "timeouts.comment: no comment is ever sent, because timeouts.first_byte and .idle end the wait before"


def _environment(loaded: Loaded, environ: Mapping[str, str]) -> Iterator[str]:
    for key, variable in loaded.variables.items():
        if variable == BASE_URL_VARIABLE:
            yield f"{BASE_URL_VARIABLE}: is in effect, as {key}"
    for name, meant in strays(environ).items():
        yield f"{name}: sets nothing" + (f"; did you mean {meant}?" if meant else "")
