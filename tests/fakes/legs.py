"""Ways upstream whose transport is the test's."""

from collections.abc import Callable
from typing import Any

from proxy.admission.gate import Gate
from proxy.exchange import PhaseTimeouts
from proxy.telemetry.metrics import Metrics
from proxy.upstream.balance import PeakEwma
from proxy.upstream.breaker import Breaker
from proxy.upstream.call import Target, Transport, UpstreamCall
from proxy.upstream.deadlines import CallTimeouts
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.key_pool import KeyPool
from proxy.upstream.leg import Leg
from proxy.upstream.member import Charge, Member, MemberEvents
from proxy.upstream.model_route import ModelRoute
from proxy.upstream.retry import Policy, RetryBudget

__all__ = ["TIMEOUTS", "leg", "member", "route"]

TIMEOUTS = PhaseTimeouts(connect=1.0, write=2.0, first_byte=3.0, idle=4.0, total=5.0)


def member(
    transport: Transport,
    clock: Callable[[], float],
    *,
    name: str = "test",
    keys: tuple[str, ...] = (),
    breaker: Breaker | None = None,
    gate: Gate | None = None,
    charge: Charge | None = None,
    events: MemberEvents | None = None,
    burst: int = 10,
    weight: int = 1,
    timed: bool = False,
    **target: Any,
) -> Member:
    endpoint = Endpoint(
        name,
        gate or Gate(None, queue=1, patience=1.0, clock=clock),
        RetryBudget(0.1, burst),
        PeakEwma(clock),
        breaker,
        KeyPool(keys, clock, longest=60.0) if keys else None,
    )
    place = Target(**{"name": name, "base_path": "/base", "private": bool(keys), **target})
    call = UpstreamCall(place, transport, 1 << 20, clock, lambda: 0.0)
    told = events or Metrics().upstreams
    return Member(endpoint, call, CallTimeouts(TIMEOUTS), charge, told, clock, weight=weight, timed=timed)


def leg(*members: Member, clock: Callable[[], float], policy: Policy | None = None, **options: Any) -> Leg:
    """`draw` is 0 where it is not given, so that nothing is waited for."""
    events = options.pop("events", None) or Metrics().upstreams
    draw = options.pop("draw", float)
    return Leg(members, policy or Policy(1, 0.0, 0.0), events, clock, draw, **options)


def route(transport: Transport, clock: Callable[[], float], **options: Any) -> ModelRoute:
    """To one upstream, which is asked once."""
    events = options.get("events") or Metrics().upstreams
    return ModelRoute("test", [leg(member(transport, clock, **options), clock=clock, events=events)])
