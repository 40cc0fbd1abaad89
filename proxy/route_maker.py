"""From a configuration to the routes that requests take: calls, members, legs."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, final
from urllib.parse import quote, urlsplit

from proxy.config import Config, OwnTimeouts, ResolvedRoute, Upstream, key_field_of, secrets_of, timeouts_of
from proxy.exchange import PhaseTimeouts
from proxy.openai.sticky import Sticky
from proxy.telemetry.upstream_metrics import UpstreamMetrics
from proxy.upstream.balance import Strategy
from proxy.upstream.call import Target, Transport, UpstreamCall
from proxy.upstream.deadlines import CallTimeouts
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.leg import Leg
from proxy.upstream.member import Charge, Member
from proxy.upstream.model_route import ModelRoute
from proxy.upstream.probe import Probe
from proxy.upstream.retry import Policy

__all__ = ["RouteMaker", "target_of"]

WALL: Final = time.time  # noqa: TID251  (an upstream may say by the calendar when to come again)
_PORTS: Final = {"http": 80, "https": 443}


@final
class RouteMaker:
    """`transports` lead to each upstream; what a call may come to is reserved at `charge`. `expect` is told
    that a request will have a row in the ledger.
    """

    def __init__(
        self,
        config: Config,
        endpoints: Mapping[str, Endpoint],
        transports: Mapping[str, Transport],
        charge: Charge | None,
        events: UpstreamMetrics,
        clock: Callable[[], float],
        expect: Callable[[], object] | None = None,
    ) -> None:
        self._config = config
        self._endpoints = endpoints
        self._transports = transports
        self._charge = charge
        self._events = events
        self._clock = clock
        self._expect = expect
        self._keyed = config.auth.mode == "keys"

    def __repr__(self) -> str:
        return f"<RouteMaker {len(self._endpoints)} upstreams>"

    def route(self, route: ResolvedRoute) -> ModelRoute:
        alike = list(self._alike(route))
        members = [member for each in alike for member in each]
        for member in members:
            member.alternatives = [other for other in members if other is not member]
        legs = [self._leg(route, each, followed=each is not alike[-1]) for each in alike]
        return ModelRoute(route.name, legs, required=route.required)

    def _alike(self, route: ResolvedRoute) -> Iterator[list[Member]]:
        """Upstreams of one group are as good as each other, unless their order was given."""
        strategy, first = Strategy(route.strategy), True
        for group in route.groups:
            alike: dict[str, list[Member]] = {}
            for name, weight in group:
                member = self._member(route, name, weight, first=first, timed=strategy is Strategy.FASTEST)
                alike.setdefault(name if strategy is Strategy.PRIORITY else "", []).append(member)
                first = first and strategy is not Strategy.PRIORITY
            first = False
            yield from alike.values()

    def _leg(self, route: ResolvedRoute, members: list[Member], *, followed: bool) -> Leg:
        retry = self._config.retry
        identities = sorted(member.identity for member in members)
        return Leg(
            members,
            Policy(retry.attempts, retry.base, retry.longest, route.on_ambiguous),
            self._events,
            self._clock,
            random.random,
            identity=b"\n".join(identities),
            strategy=Strategy(route.strategy),
            sticky=Sticky(route.sticky),
            hold=retry.hold_bytes,
            followed=followed,
        )

    def _member(self, route: ResolvedRoute, name: str, weight: int, *, first: bool, timed: bool) -> Member:
        """A client's own key is for whom the client asks: those that come after get none."""
        upstream = self._config.upstreams[name]
        target = target_of(name, upstream, private=self._keyed or not first)
        limit = self._config.http.max_upload_bytes
        call = UpstreamCall(target, self._transports[name], limit, self._clock, WALL, self._expect)
        timeouts = CallTimeouts(_phases(timeouts_of(self._config, route.timeouts, upstream.timeouts)))
        endpoint = self._endpoints[name]
        return Member(endpoint, call, timeouts, self._charge, self._events, self._clock, weight=weight, timed=timed)

    def probe(self, name: str) -> Probe:
        upstream = self._config.upstreams[name]
        target = target_of(name, upstream, private=True)
        settings, keys = upstream.probe, secrets_of(upstream)
        path = target.base_path.replace("/deployments/{model}", "") + settings.path
        query = b"?" + target.query if target.query else b""
        headers = list(target.fields)
        if keys:
            prefix = b"Bearer " if target.key_field == b"authorization" else b""
            headers.append((target.key_field, prefix + keys[0].encode()))
        seconds = settings.timeout
        return Probe(
            self._endpoints[name],
            self._transports[name],
            path.encode("ascii") + query,
            headers,
            PhaseTimeouts(seconds, seconds, seconds, seconds, seconds),
            settings.interval,
            random.random,
            lambda upstream, answered: self._events.probed(upstream, answered=answered),
        )


def target_of(name: str, upstream: Upstream, *, private: bool) -> Target:
    url = urlsplit(upstream.base_url)
    default = _PORTS.get(url.scheme)
    origin = url.netloc.lower().removesuffix(f":{default}")
    fields = [(field.lower().encode("ascii"), value.encode("latin-1")) for field, value in upstream.headers.items()]
    for field, value in (("openai-organization", upstream.organization), ("openai-project", upstream.project)):
        if value:
            fields.append((field.encode(), value.encode("latin-1")))
    return Target(
        name=name,
        origin=origin,
        base_path=url.path.rstrip("/"),
        query=b"api-version=" + quote(upstream.api_version).encode() if upstream.api_version else b"",
        fields=tuple(fields),
        key_field=key_field_of(upstream).encode(),
        names=upstream.rename,
        deployments=bool(upstream.api_version),
        private=private or bool(secrets_of(upstream)),
    )


def _phases(timeouts: OwnTimeouts) -> PhaseTimeouts:
    return PhaseTimeouts(timeouts.connect, timeouts.upstream_write, timeouts.first_byte, timeouts.idle, timeouts.total)
