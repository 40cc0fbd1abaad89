"""The gateway that a scenario shakes, and what can be seen of it from outside."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import cpu, servers
from bench.chaos.laws import Law, metric
from bench.payload import Plan, chat_body
from bench.spec import CHAT

__all__ = ["RIG_KEY", "Rig", "memory_of", "rig"]

RIG_KEY = "sk-rig"

_SETTLE_WITHIN = 15.0
_RSS_EVERY = 0.25
_TO_REACH_ALL = 32
"""Connections after which each of two workers has had one: the kernel spreads them by hash."""


@dataclass(slots=True)
class Rig:
    """A gateway under test in front of an upstream."""

    scratch: Path
    gateway: servers.Server
    upstream: servers.Server
    idle_descriptors: int
    spare: int = 0
    """Descriptors that it may keep open beyond those: connections that it holds on to."""

    def exposition(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.admin_port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()

    def usage(self) -> dict[str, Any]:
        """What the ledger's sums by day say."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.admin_port, timeout=30)
        with contextlib.closing(connection):
            headers = {"authorization": f"Bearer {servers.ADMIN_TOKEN}"}
            connection.request("GET", "/admin/v1/usage", headers=headers)
            told: dict[str, Any] = json.loads(connection.getresponse().read())
            return told

    def settled(self) -> tuple[Law, Law]:
        """Waits until nothing is in flight and descriptors are back at their baseline."""
        deadline = time.monotonic() + _SETTLE_WITHIN
        while True:
            text = self.exposition()
            in_flight, connections = metric(text, "askonce_in_flight"), metric(text, "askonce_connections")
            now = cpu.descriptors(self.gateway.pid)
            quiet = in_flight == 0 and connections == 0
            if (quiet and now <= self.idle_descriptors + self.spare) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        kept = f" and {self.spare} for Redis" if self.spare else ""
        figures = f"{now} open, {self.idle_descriptors} before{kept}"
        return (
            Law("nothing is in flight afterwards", quiet, f"{in_flight:.0f} requests, {connections:.0f} connections"),
            Law("descriptors are back at their baseline", now <= self.idle_descriptors + self.spare, figures),
        )


@contextlib.contextmanager
def rig(
    settings: str,
    *,
    workers: int = 1,
    soak: bool = False,
    redis: int = 0,
    spare: int = 0,
    places: int = 0,
    of_upstream: Callable[[servers.Server], str] = lambda _: "",
) -> Iterator[Rig]:
    """`soak`: the upstream whose answers carry canaries; else one with so many `places`. `redis` is the port of one."""
    under_test, driver = cpu.cores()
    with servers.scratch_folder() as scratch, contextlib.ExitStack() as stack:
        if soak:
            upstream = servers.soak_upstream(scratch, driver)
        else:
            upstream = servers.raw_upstream(scratch, driver, places=places)
        stack.callback(upstream.end)
        more = of_upstream(upstream)
        gateway = servers.askonce(
            upstream.port, scratch, under_test, settings, workers=workers, redis=redis, of_upstream=more
        )
        stack.callback(gateway.end)
        stack.enter_context(cpu.pinned(driver))
        # One scrape and one request first: what is opened once and kept belongs to the baseline.
        made = Rig(scratch, gateway, upstream, 0, spare)
        for _ in range(1 if workers == 1 else _TO_REACH_ALL):
            _ask_once(gateway.port)
            made.exposition()
        time.sleep(2.0)
        made.idle_descriptors = cpu.descriptors(gateway.pid)
        yield made


def _ask_once(port: int) -> None:
    body = chat_body(Plan(stream=True, frames=1))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        headers = {"authorization": f"Bearer {RIG_KEY}", "content-type": "application/json"}
        connection.request("POST", CHAT, body, headers)
        if connection.getresponse().status != 200:
            raise servers.StartError("the gateway does not answer")


@contextlib.contextmanager
def memory_of(pid: int) -> Iterator[list[int]]:
    """Resident bytes of the tree, sampled while inside."""
    samples = [cpu.resident(pid)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_RSS_EVERY):
            samples.append(cpu.resident(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        over.set()
        watcher.join()
