"""Upstreams, the routes to them, and what happens where one fails, in words. No key among them."""

from collections.abc import Iterator
from math import inf

from proxy.cli.units import duration, size
from proxy.config import (
    Config,
    Loaded,
    OwnTimeouts,
    ResolvedRoute,
    Upstream,
    key_field_of,
    resolved_routes,
    secrets_of,
    slots_of,
)
from proxy.errors import Failure
from proxy.upstream.router import Router

__all__ = ["admission", "breaker", "retries", "routes", "upstreams"]

Lines = Iterator[tuple[str, str]]

_PHASES = {
    "connect": "connect",
    "upstream_write": "not reading",
    "first_byte": "first byte",
    "idle": "between pieces",
    "total": "whole answer",
}
_HOW = {
    "priority": "",
    "weighted": ", by weight",
    "least_busy": ", the least busy first",
    "fastest": ", whichever is likely to begin first",
}


def upstreams(loaded: Loaded) -> Lines:
    for name, upstream in loaded.config.upstreams.items():
        yield name, upstream.base_url
        yield "  key", _keys(name, upstream, loaded)
        yield "  models", _models(upstream)
        for what, text in _own(upstream, loaded.config):
            if text:
                yield f"  {what}", text


def _keys(name: str, upstream: Upstream, loaded: Loaded) -> str:
    table = f"upstreams.{name}"
    origins = ", ".join(filter(None, (loaded.secrets.get(f"{table}.{each}") for each in ("key", "keys"))))
    private = loaded.config.auth.mode == "keys"
    if not origins:
        return "none" if private else "the client's own"
    count = len(secrets_of(upstream))
    several = f"{count} keys: " if count > 1 else ""
    sent = key_field_of(upstream)
    field = f", as {sent}" if sent != "authorization" else ""
    return f"{several}{origins}{field}" if private else f"{several}{origins}{field}, in place of the client's"


def _models(upstream: Upstream) -> str:
    everything = ' ("*": all that match no other pattern)' if "*" in upstream.models else ""
    return ", ".join(upstream.models) + everything if upstream.models else "those of its routes"


def _own(upstream: Upstream, config: Config) -> Lines:
    """What it has of its own; empty where it is as everywhere."""
    yield "called otherwise", ", ".join(f"{name} is {other}" for name, other in upstream.rename.items())
    yield "organization", upstream.organization
    yield "project", upstream.project
    yield "API version", upstream.api_version
    yield "region", upstream.region
    yield "sends also", ", ".join(upstream.headers)
    yield "slots", _slots(upstream, config)
    yield "time-outs", _timeouts(upstream.timeouts)
    probe = upstream.probe
    asked = f"GET {probe.path} every {duration(probe.interval)}, {duration(probe.timeout)} at most"
    yield "probe", asked if probe.interval else ""
    yield "own prices", ", ".join(upstream.prices)
    yield "trusts also", upstream.ca_file


def _slots(upstream: Upstream, config: Config) -> str:
    workers = config.server.workers
    if upstream.slots == inf:
        return ""
    return f"{upstream.slots:,.0f}" + (f", {slots_of(upstream, workers):,.0f} per worker" if workers > 1 else "")


def _timeouts(own: OwnTimeouts) -> str:
    found = ((words, getattr(own, name)) for name, words in _PHASES.items())
    return ", ".join(f"{words} {duration(seconds)}" for words, seconds in found if seconds)


def routes(config: Config) -> Lines:
    """As a request finds them: those of [routes] first, then upstreams' own."""
    resolved = resolved_routes(config)
    router = Router([(route.models, route) for route in resolved])
    for route in resolved:
        yield route.name, ", ".join(route.models)
        for place, group in enumerate(route.groups):
            yield "  then" if place else "  asks", _group(route, group, config, router)
        if route.sticky != "off":
            how = f"by {route.sticky}: the same goes to the same upstream"
            yield "  sticky", how if route.balances else "without effect: no group balances several upstreams"
        if route.required:
            yield "  required", "not ready while the breakers of all these are open"
        if route.on_ambiguous:
            yield "  retries", "also what may have been processed, and may be billed twice"
        if own := _timeouts(route.timeouts):
            yield "  time-outs", own
    for name, model in config.aliases.items():
        found = _picked(router, model)
        yield f"alias {name}", f"{model}, of route {found.name}" if found else f"{model}, which no route serves"


def _group(
    route: ResolvedRoute, group: tuple[tuple[str, int], ...], config: Config, router: Router[ResolvedRoute]
) -> str:
    members = []
    for name, weight in group:
        rename = config.upstreams[name].rename.items()
        notes = [f"{model} as {other}" for model, other in rename if _picked(router, model) is route]
        if len(group) > 1 and route.strategy != "priority":
            notes.insert(0, f"weight {weight}")
        members.append(name + (f" ({', '.join(notes)})" if notes else ""))
    if route.strategy == "priority":
        return ", then ".join(members)
    return ", ".join(members) + (_HOW[route.strategy] if len(group) > 1 else "")


def _picked(router: Router[ResolvedRoute], model: str) -> ResolvedRoute | None:
    try:
        return router.pick(model)
    except Failure:
        return None


def retries(config: Config) -> Lines:
    retry = config.retry
    if retry.attempts == 1:
        yield "at one upstream", "once"
    else:
        yield "at one upstream", f"{retry.attempts} attempts, the first included"
        first, longest = duration(retry.base), duration(retry.longest)
        yield "waits", f"drawn from 0 to {first}, then to twice as much, {longest} at most"
    yield (
        "retries",
        f"{retry.budget * 100:g} % of an upstream's requests, beside those that help" if retry.budget else "none",
    )
    some = [route.name for route in resolved_routes(config) if route.on_ambiguous]
    but = f", but by {', '.join(some)}" if some else ""
    yield (
        "maybe processed",
        "asked again, and perhaps billed twice" if retry.on_ambiguous else f"never asked again{but}",
    )
    held = f"held until they have content, up to {size(retry.hold_bytes)}" if retry.hold_bytes else "passed on at once"
    yield "streams", held


def breaker(config: Config) -> Lines:
    settings = config.breaker
    if not settings.enabled:
        yield "breaker", "off: an upstream is asked however often it fails"
        return
    share = f"{settings.share * 100:g} % of {settings.least:,} requests or more within {duration(settings.window)}"
    yield "opens", f"after {settings.failures:,} failures in a row, or {share}"
    times = f"{duration(settings.cool_down)}, longer after each probe that fails, up to {duration(settings.longest)}"
    yield "stays open", times
    yield "probes", f"{settings.probes:,} at once"


def admission(config: Config) -> Lines:
    settings = config.admission
    slots = [f"{name} {text}" for name, each in config.upstreams.items() if (text := _slots(each, config))]
    yield "slots", "; ".join(slots) or "no bound"
    waiting = f"{settings.queue:,} requests per upstream and worker, {duration(settings.patience)} at most"
    yield "queue", waiting if settings.queue else "nobody waits"
    if settings.adaptive:
        yield "adaptive", "fewer slots while an upstream grows slower"
    bounds = []
    if settings.shed_lag:
        bounds.append(f"the event loop is {duration(settings.shed_lag)} behind")
    if settings.shed_memory:
        bounds.append(f"a worker takes {size(settings.shed_memory)}")
    yield "turned away", f"while {' or '.join(bounds)}" if bounds else "whoever finds the queue full"
