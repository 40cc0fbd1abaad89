"""Overload: five times what the upstream can serve, and what becomes of those it could."""

import time
from collections.abc import Callable, Sequence
from typing import Final

import uvloop

from bench import cpu
from bench.chaos.flood import Answered, Flood, flood, saturate
from bench.chaos.laws import Law, metric, quantile
from bench.chaos.rig import Rig, rig
from bench.chaos.watch import crowd
from bench.payload import Plan, chat_body, head
from bench.spec import CHAT, percentile

__all__ = ["good_share", "overload", "prompt_refusals", "recovered", "unblocked"]

_PLACES: Final = 40
_TAKES: Final = 0.1
"""Seconds that the upstream takes for an answer: 400 a second with all places taken."""
_SETTINGS: Final = """
[cache]
enabled = false
[admission]
queue = 200
patience = 1.0
[pool]
idle_timeout = 1.0
[timeouts]
head = 300.0
keepalive = 300.0
"""
"""Connections that wait their turn are not closed: a request could cross the close on its way."""
_OF_UPSTREAM: Final = f"slots = {_PLACES}"
_TIMES: Final = 5
_CONNECTIONS: Final = 1_000
_CALM_SHARE: Final = 0.5
"""Of the peak: what is asked before and after."""
_CALM: Final = 4.0
_PEAK: Final = 8.0
_RAMP: Final = 1.0
"""Seconds at both ends of a saturation that say nothing of its peak."""
_AFTER: Final = 10.0

_GOODPUT: Final = 0.9
_REFUSED_WITHIN: Final = 0.01
_RECOVERED_WITHIN: Final = 5.0
_SLOWER: Final = 1.5
"""Times the calm median that an answer may take once the overload is forgotten."""
_LAG: Final = 0.1
_LAGS: Final = "askonce_event_loop_lag_seconds"


def overload(seconds: float, told: Callable[[str], None]) -> list[Law]:
    with rig(_SETTINGS, places=_PLACES, of_upstream=lambda _: _OF_UPSTREAM) as shaken:
        return _overload(shaken, seconds, told)


def _overload(shaken: Rig, seconds: float, told: Callable[[str], None]) -> list[Law]:
    port, before = shaken.gateway.port, metric(shaken.exposition(), "askonce_requests_total")
    body = chat_body(Plan(gap=_TAKES))
    request = head("POST", CHAT, len(body)) + body
    filled = uvloop.run(saturate(port, request, seconds=_PEAK, connections=2 * _PLACES))
    peak = filled.served(filled.began + _RAMP, filled.ended - _RAMP)
    calm = uvloop.run(flood(port, request, rate=peak * _CALM_SHARE, seconds=_CALM, connections=_CONNECTIONS))
    usual = _median(calm.good)
    told(f"peak {peak:.0f} good answers a second; calm p50 {usual * 1e3:.1f} ms at {peak * _CALM_SHARE:.0f} a second")
    start, used = shaken.exposition(), cpu.sample(shaken.gateway.pid).cpu_seconds
    with crowd("meanwhile", told):
        flooded = uvloop.run(flood(port, request, rate=peak * _TIMES, seconds=seconds, connections=_CONNECTIONS))
    over, used = time.monotonic(), cpu.sample(shaken.gateway.pid).cpu_seconds - used
    end = shaken.exposition()
    after = uvloop.run(flood(port, request, rate=peak * _CALM_SHARE, seconds=_AFTER, connections=_CONNECTIONS))
    for phase in (filled, calm, flooded, after):
        for what, count in phase.wrong.most_common(5):
            told(f"{count} × {what}")
    settled = shaken.settled()
    asked = sum(phase.sent for phase in (filled, calm, flooded, after))
    counted = round(metric(shaken.exposition(), "askonce_requests_total") - before)
    wrong = sum(phase.wrong.total() for phase in (filled, calm, flooded, after))
    calmly = len(filled.refused) + len(calm.refused)
    return [
        Law("who is not served is told so, and when to come again", wrong == 0, f"{wrong} got something else"),
        Law("nobody is refused before the overload", calmly == 0, f"{calmly} of {filled.sent + calm.sent:,} were"),
        offered(flooded, peak, used),
        good_share(flooded, peak),
        prompt_refusals(flooded),
        recovered(after, over, usual),
        unblocked(start, end),
        Law("every request has exactly one outcome", counted == asked, f"{asked:,} requests, {counted:,} counted"),
        *settled,
    ]


def offered(flooded: Flood, peak: float, used: float) -> Law:
    """Without it the others say nothing. `used`: seconds of CPU that the gateway took for it."""
    times = flooded.sent / flooded.seconds / peak
    unsent = f"; {flooded.unsent:,} found all {_CONNECTIONS:,} connections busy" if flooded.unsent else ""
    figures = f"{flooded.sent:,} requests in {flooded.seconds:.0f} s, {times:.2f} × the peak{unsent}; "
    figures += f"{used / max(1, flooded.sent) * 1e6:.0f} µs CPU each, {used / flooded.seconds:.0%} of a core"
    return Law(f"{_TIMES} × the peak is offered", times >= 0.97 * _TIMES, figures)


def good_share(flooded: Flood, peak: float) -> Law:
    """Of the whole time but for the first second."""
    rate = flooded.served(flooded.began + _RAMP, flooded.ended)
    p99 = percentile(sorted(each.seconds for each in flooded.good), 0.99)
    figures = f"{rate:.0f} of {peak:.0f} a second, {rate / peak:.1%}; in p99 {p99 * 1e3:.0f} ms"
    return Law(f"goodput ≥ {_GOODPUT:.0%} of the peak", rate >= _GOODPUT * peak, figures)


def prompt_refusals(flooded: Flood) -> Law:
    """As their clients see it, whose own delay is part of it."""
    times = sorted(each.seconds for each in flooded.refused)
    late = sorted(flooded.late)
    p50, p99, worst = percentile(times, 0.5), percentile(times, 0.99), times[-1] if times else 0.0
    waited = sum(each >= _REFUSED_WITHIN for each in times)
    figures = f"{len(times):,} took p50 {p50 * 1e3:.1f}, p99 {p99 * 1e3:.1f}, at most {worst * 1e3:.0f} ms; "
    figures += f"{waited:,} took longer; the driver's own timers were late by p99 {percentile(late, 0.99) * 1e3:.1f} ms"
    return Law(f"refused in < {_REFUSED_WITHIN * 1e3:.0f} ms (p99)", bool(times) and p99 < _REFUSED_WITHIN, figures)


def recovered(after: Flood, over: float, usual: float) -> Law:
    """From when nobody asks for too much until nobody is refused, and answers take what they took before."""
    slow = sorted(each.sent for each in after.good if each.seconds > _SLOWER * usual)
    # A hundredth may be slow at any time; nobody may be refused.
    late = slow[: max(0, len(slow) - len(after.good) // 100)]
    last = max([*late, *(each.sent for each in after.refused)], default=over)
    took = last - over
    figures = f"{took:.1f} s after it; {len(after.refused)} refused, {len(slow)} of {len(after.good):,} were slow"
    holds = took <= _RECOVERED_WITHIN and not after.wrong and len(after.good) > 0
    return Law(f"recovered within {_RECOVERED_WITHIN:.0f} s", holds, figures)


def unblocked(before: str, after: str) -> Law:
    """`before` and `after` are Prometheus texts."""
    p50, p99 = (quantile(_LAGS, share, before, after) for share in (0.5, 0.99))
    figures = f"p50 ≤ {p50 * 1e3:.1f} ms, p99 ≤ {p99 * 1e3:.1f} ms"
    return Law(f"the event loop is late by < {_LAG * 1e3:.0f} ms (p99)", p99 < _LAG, figures)


def _median(answered: Sequence[Answered]) -> float:
    return percentile(sorted(each.seconds for each in answered), 0.5)
