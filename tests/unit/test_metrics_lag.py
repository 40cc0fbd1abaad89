"""The event-loop lag probe, and the header that times one request."""

import asyncio
import time
from typing import cast

from proxy.exchange import Body, Client, Exchange
from proxy.telemetry.lag import LagProbe
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.timing import server_timing
from tests.fakes.polling import until


def sample(metrics: Metrics, name: str) -> float:
    metrics.publish()
    for line in metrics.render()[0].decode().splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(name)


async def test_a_blocked_loop_is_seen() -> None:
    """A callback that holds the loop for 40 ms shows as one late timer of that order."""
    metrics = Metrics()
    probe = LagProbe(metrics, interval=0.005)
    probe.start()
    asyncio.get_running_loop().call_soon(_hold, 0.04)
    await until(lambda: sample(metrics, "askonce_event_loop_lag_seconds_sum") > 0.03)
    probe.stop()
    assert repr(probe) == "<LagProbe stopped>"


def _hold(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def test_others_are_told_of_each_beat() -> None:
    """How late it was, in seconds, beat after beat."""
    lates: list[float] = []
    probe = LagProbe(Metrics(), observe=lates.append, interval=0.005)
    probe.start()
    asyncio.get_running_loop().call_soon(_hold, 0.02)
    await until(lambda: len(lates) >= 3)
    probe.stop()
    assert 0.01 < max(lates) < 2
    assert min(lates) >= 0


async def test_the_probe_publishes_plain_numbers() -> None:
    """What other workers read from files is brought up to date on the probe's beat, and when it stops."""
    metrics = Metrics()
    probe = LagProbe(metrics, interval=0.005)
    probe.start()
    metrics.in_flight = 7
    await until(lambda: metrics._in_flight_gauge._value.get() == 7)
    metrics.in_flight = 0
    probe.stop()
    assert metrics._in_flight_gauge._value.get() == 0


def exchange() -> Exchange:
    return Exchange(
        method="GET",
        path="/v1/models",
        query=b"",
        headers=[],
        body=cast("Body", None),
        client=cast("Client", None),
        peer="",
        call_id="c",
        started_at=10.0,
    )


def test_server_timing_splits_the_time_until_the_head() -> None:
    """Who, the request's body, the upstream's first byte, and all of it; in milliseconds."""
    timed = exchange()
    timed.identified_at, timed.received_at = 10.0005, 10.0015
    timed.asked_at, timed.first_byte_at = 10.0015, 10.25
    assert server_timing(timed, 10.251) == b"auth;dur=0.50, body;dur=1.00, upstream;dur=248.50, total;dur=251.00"


def test_server_timing_without_an_upstream_has_none() -> None:
    """A refusal spent no time upstream."""
    assert server_timing(exchange(), 10.002) == b"total;dur=2.00"
