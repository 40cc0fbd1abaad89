"""The composition root's part that leads upstream: endpoints, routes, breakers, slots, probes."""

import asyncio
import hashlib
import random
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final, final

from proxy.admission.gate import Gate
from proxy.admission.gradient import Gradient
from proxy.admission.shedding import Shedding
from proxy.config import Config, Upstream, resolved_routes, secrets_of, slots_of
from proxy.route_maker import RouteMaker
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.upstream_metrics import UpstreamStats
from proxy.upstream.balance import PeakEwma
from proxy.upstream.breaker import Breaker, State
from proxy.upstream.breaker import Settings as BreakerSettings
from proxy.upstream.breakers import SharedBreakers
from proxy.upstream.call import Transport
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.key_pool import KeyPool
from proxy.upstream.member import Charge
from proxy.upstream.model_route import ModelRoute
from proxy.upstream.probe import Probe
from proxy.upstream.retry import RetryBudget
from proxy.upstream.router import Router

if TYPE_CHECKING:
    from proxy.redis_link import RedisLink

__all__ = ["Plan", "Upstreams"]

BURST: Final = 10
"""Retries that may be made before there were requests to make them for."""
LONGEST_REST: Final = 3_600.0
"""Seconds for which a key rests at most that an upstream refuses."""
DIGITS: Final = 16
"""Of the digest of an upstream's address."""
UNBOUNDED: Final = 1_000
"""Slots at most where their number is learned and none is set."""


@final
class Plan:
    """What one configuration leads to. Nothing of it is in force before it is adopted."""

    def __init__(
        self, config: Config, endpoints: Mapping[str, Endpoint], routes: Sequence[ModelRoute], probes: Sequence[Probe]
    ) -> None:
        self.config = config
        self.endpoints = endpoints
        self.routes = routes
        self.probes = probes
        patterns = [route.models for route in resolved_routes(config)]
        self.router = Router(zip(patterns, routes, strict=True), config.aliases)

    def __repr__(self) -> str:
        return f"<Plan {self.routes!r}>"

    @property
    def models_matter(self) -> bool:
        """The model decides on the upstream, or on what is sent to it."""
        return (
            len(self.routes) > 1
            or bool(self.config.aliases)
            or any(upstream.rename or "{model}" in upstream.base_url for upstream in self.config.upstreams.values())
        )


@final
class Upstreams:
    """Breakers, slots and latencies outlive a reload while their upstream stays where it is."""

    def __init__(
        self,
        metrics: Metrics,
        log: Log,
        clock: Callable[[], float],
        link: "RedisLink | None",
        namespace: str,
    ) -> None:
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self._link = link
        self._namespace = namespace
        self._plan: Plan | None = None
        self._shared: SharedBreakers | None = None
        self._said: dict[str, Breaker] = {}
        """What is shared, or about to be."""
        self._sharing: asyncio.Task[None] | None = None
        self.shedding = Shedding(0.0, 0, clock=clock, on_change=self._shed)
        metrics.upstreams.stats = self._stats

    def __repr__(self) -> str:
        return f"<Upstreams {self._plan!r}>"

    # what a configuration leads to

    def plan(
        self,
        config: Config,
        transports: Mapping[str, Transport],
        charge: Charge | None,
        expect: Callable[[], object] | None,
    ) -> Plan:
        endpoints = {name: self._endpoint(name, upstream, config) for name, upstream in config.upstreams.items()}
        makes = RouteMaker(config, endpoints, transports, charge, self._metrics.upstreams, self._clock, expect)
        routes = [makes.route(each) for each in resolved_routes(config)]
        probes = [makes.probe(name) for name, each in config.upstreams.items() if each.probe.interval]
        return Plan(config, endpoints, routes, probes)

    def _endpoint(self, name: str, upstream: Upstream, config: Config) -> Endpoint:
        before = self._before(name, upstream)
        keys = secrets_of(upstream)
        endpoint = Endpoint(
            name,
            self._gate(name, upstream, config) if before is None else before.gate,
            self._budget(config, before),
            PeakEwma(self._clock) if before is None else before.latency,
            self._breaker(name, config, before),
            self._keys(keys, before) if keys else None,
        )
        if before is not None:
            endpoint.failed_at, endpoint.proven = before.failed_at, before.proven
        return endpoint

    def _before(self, name: str, upstream: Upstream) -> Endpoint | None:
        """As it was configured until now, if it is still the same place."""
        if self._plan is None or name not in self._plan.endpoints:
            return None
        same = self._plan.config.upstreams[name].base_url == upstream.base_url
        return self._plan.endpoints[name] if same else None

    def _keys(self, keys: Sequence[str], before: Endpoint | None) -> KeyPool:
        pool = before.keys if before is not None else None
        if pool is not None and pool.holds(keys):
            return pool
        return KeyPool(keys, self._clock, longest=LONGEST_REST, before=pool)

    def _budget(self, config: Config, before: Endpoint | None) -> RetryBudget:
        share = config.retry.budget
        if before is not None and self._plan is not None and self._plan.config.retry.budget == share:
            return before.budget
        return RetryBudget(share, BURST)

    def _gate(self, name: str, upstream: Upstream, config: Config) -> Gate:
        settings = config.admission
        metrics, slots = self._metrics.upstreams, _slots(upstream, config)
        return Gate(
            slots,
            queue=settings.queue,
            patience=settings.patience,
            gradient=Gradient(slots) if settings.adaptive and slots is not None else None,
            clock=self._clock,
            on_waited=partial(metrics.waited, name),
            on_refused=lambda reason: metrics.no_slot(name, reason.value),
        )

    def _breaker(self, name: str, config: Config, before: Endpoint | None) -> Breaker | None:
        if not config.breaker.enabled:
            return None
        if before is not None and before.breaker is not None:
            return before.breaker
        return Breaker(name, _settings(config), self._clock, random.random, on_transition=self._turned)

    # in force

    def adopt(self, plan: Plan) -> None:
        """In place of the one before."""
        before, self._plan = self._plan, plan
        admission = plan.config.admission
        self.shedding.resize(admission.shed_lag, admission.shed_memory)
        for name, upstream in plan.config.upstreams.items():
            plan.endpoints[name].gate.reconfigure(
                _slots(upstream, plan.config),
                queue=admission.queue,
                patience=admission.patience,
                adaptive=admission.adaptive,
            )
            breaker = plan.endpoints[name].breaker
            if breaker is not None:
                breaker.reconfigure(_settings(plan.config))
        for probe in before.probes if before is not None else ():
            probe.stop()
        for probe in plan.probes:
            probe.start()
        if before is not None:
            self._begin_sharing()

    async def start(self) -> None:
        """What other workers know of upstreams is heard before it returns, if there is a Redis that answers."""
        self._begin_sharing()
        if self._sharing is not None:
            await self._sharing

    def _begin_sharing(self) -> None:
        if self._link is not None and (self._sharing is None or self._sharing.done()):
            self._sharing = asyncio.get_running_loop().create_task(self._share())

    async def _share(self) -> None:
        """Until the breakers that are shared are those in force: what is adopted meanwhile comes next."""
        while self._link is not None and self._plan is not None and self._said != (breakers := _breakers(self._plan)):
            self._said = breakers
            if self._shared is not None:
                await self._shared.close()
            self._shared = SharedBreakers(self._link, self._namespace, breakers, secrets.token_hex(8))
            await self._shared.start()

    async def stop(self) -> None:
        for probe in self._plan.probes if self._plan is not None else ():
            probe.stop()
        if self._sharing is not None:
            self._sharing.cancel()
            await asyncio.wait([self._sharing])
        if self._shared is not None:
            await self._shared.close()

    def unserved(self) -> bool:
        """A route that is required has no upstream that may be asked."""
        return self._plan is not None and any(route.required and route.open for route in self._plan.routes)

    # what is told

    def _turned(self, name: str, old: State, new: State, reason: str) -> None:
        self._metrics.upstreams.turned(name, new.value, reason)
        tell = self._log.info if new is State.CLOSED else self._log.warning
        tell("breaker", upstream=name, state=new.value, was=old.value, reason=reason)

    def _shed(self, on: bool) -> None:  # noqa: FBT001  (as it is told)
        self._metrics.upstreams.shedding(on=on)
        self._log.warning("shedding" if on else "shedding_over")

    def _stats(self) -> Iterator[UpstreamStats]:
        plan = self._plan
        for name, endpoint in plan.endpoints.items() if plan is not None else ():
            gate, breaker, keys = endpoint.gate, endpoint.breaker, endpoint.keys
            yield UpstreamStats(
                name,
                plan.config.upstreams[name].region if plan is not None else "",
                gate.busy,
                gate.waiting,
                gate.limit,
                breaker.state.value if breaker is not None else "",
                keys.resting if keys is not None else 0,
            )


def _breakers(plan: Plan) -> dict[str, Breaker]:
    """By what other workers know them under: what one says of an upstream is not true of another place."""
    places = {name: _digest(each.base_url) for name, each in plan.config.upstreams.items()}
    return {f"{name}:{places[name]}": each.breaker for name, each in plan.endpoints.items() if each.breaker is not None}


def _digest(base_url: str) -> str:
    return hashlib.sha256(base_url.encode()).hexdigest()[:DIGITS]


def _settings(config: Config) -> BreakerSettings:
    return BreakerSettings(**{each: getattr(config.breaker, each) for each in BreakerSettings.__slots__})


def _slots(upstream: Upstream, config: Config) -> int | None:
    slots = slots_of(upstream, config.server.workers)
    if slots < inf:
        return int(slots)
    return UNBOUNDED if config.admission.adaptive else None
