"""What happens during a soak: Redis is killed, frozen, flushed, a worker is killed, by turns; and purges."""

import contextlib
import enum
import http.client
import itertools
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from bench import cpu, servers
from bench.chaos.canary import MODELS

__all__ = ["ENDURED", "FAIR", "OUTAGES", "SOAKED", "Spell", "Trouble", "Weather"]

FAIR: Final = "fair"
_AFTER: Final = 3.0
"""Seconds after a trouble in which workers may still take Redis for down."""
_AFTER_OUTAGE: Final = 8.0
"""The same of an upstream: the cool-down of its breaker, and a probe."""
_NOTICED: Final = 1.0
"""Seconds of an outage in which a request may have been on its way there."""
_YOUNG: Final = 40.0
"""Seconds after a kill in which the next worker may have met no Redis yet."""
_TROUBLE: Final = 3.0
_UP_WITHIN: Final = 15.0
_PURGE_TRIES: Final = 3
_PURGED_WITHIN: Final = 120.0
"""Seconds: Redis is searched a slice at a time, between the requests of a busy worker."""
_PURGES: Final[tuple[dict[str, object], ...]] = (
    {"model": MODELS[0]},
    {"model": MODELS[1]},
    {"endpoint": "chat/completions"},
    {"model": MODELS[0]},
    {"model": MODELS[1]},
    {"all": True},
)
_NAMESPACE: Final = "askonce"


class Trouble(enum.StrEnum):
    REDIS_KILLED = "Redis killed"
    REDIS_FROZEN = "Redis frozen"
    REDIS_FLUSHED = "Redis flushed"
    WORKER_KILLED = "a worker killed"
    RELOADED = "settings reloaded"
    UPSTREAM_REFUSES = "the first upstream refuses connections"
    UPSTREAM_FAILS = "the first upstream has no time"


_AWAY: Final = (Trouble.REDIS_KILLED, Trouble.REDIS_FROZEN)
OUTAGES: Final = {Trouble.UPSTREAM_REFUSES: "refuse", Trouble.UPSTREAM_FAILS: "fail"}
SOAKED: Final = (Trouble.REDIS_KILLED, Trouble.REDIS_FROZEN, Trouble.REDIS_FLUSHED, Trouble.WORKER_KILLED)
ENDURED: Final = (
    *(Trouble.REDIS_KILLED, Trouble.UPSTREAM_REFUSES, Trouble.REDIS_FROZEN, Trouble.WORKER_KILLED),
    *(Trouble.REDIS_KILLED, Trouble.UPSTREAM_FAILS, Trouble.REDIS_FROZEN, Trouble.RELOADED),
    *(Trouble.REDIS_KILLED, Trouble.WORKER_KILLED, Trouble.REDIS_FROZEN, Trouble.UPSTREAM_REFUSES),
)
"""One after another, every second one of Redis and every sixth of a worker, and each kind among the first eight, which
a short run has. What Redis holds is not lost, or nothing would add up.
"""
_IDLE: Final = ("idle_timeout = 1.0\n", "idle_timeout = 1.5\n")
"""A setting of either kind, so that each reload brings another."""


@dataclass(slots=True)
class Spell:
    """From when to when something was the matter, on the monotonic clock."""

    what: str
    began: float
    ended: float = math.inf
    """Without what follows from it."""
    over: float = math.inf

    def touches(self, began: float, ended: float) -> bool:
        return self.began <= ended and began <= self.over


class Weather:
    """Runs in a thread while inside `over`. Every `period` seconds there is a purge, and then a trouble.

    `durable`: Redis comes back with what it held, and evicts only what expires. `purge_every`: so many periods.
    """

    def __init__(
        self,
        scratch: Path,
        on: set[int],
        *,
        max_bytes: int,
        period: float,
        told: Callable[[str], None],
        expected: Sequence[Trouble] = SOAKED,
        durable: bool = False,
        purge_every: int = 1,
    ) -> None:
        self._scratch = scratch
        self._on = on
        self._max_bytes = max_bytes
        self._durable = durable
        self._purge_every = purge_every
        self.expected = expected
        self._server = self._start(servers.free_port())
        self._period = period
        self._told = told
        self._over = threading.Event()
        self._purged: dict[str, int] = {}
        self._began = time.monotonic()
        self._lasted = 0.0
        self.now = FAIR
        self.spells: list[Spell] = []
        self.kills: list[float] = []
        """When workers were killed, on the monotonic clock."""
        self.troubles: list[Trouble] = []
        self.purges: list[int] = []
        """How many entries each removed from Redis."""
        self.unfinished = 0
        """Purges that the gateway said were not complete; asked again."""
        self.failed = ""
        """What went wrong with the weather itself."""

    def _start(self, port: int) -> servers.Server:
        return servers.valkey(self._scratch, self._on, port=port, max_bytes=self._max_bytes, durable=self._durable)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def due(self) -> int:
        """How many troubles the time was for; of these the last may have had none left."""
        return int(self._lasted / self._period)

    def purged(self, model: str) -> int:
        """The upstream's last call when the last purge of this model began that is complete."""
        return self._purged.get(model, 0)

    @contextmanager
    def over(self, gateway: servers.Server, upstream: servers.Server, eldest: int) -> Iterator[None]:
        """`eldest` is the worker that is never killed."""
        self._began = time.monotonic()
        thread = threading.Thread(target=self._run, args=(gateway, upstream, eldest), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._lasted = time.monotonic() - self._began
            self._over.set()
            thread.join()

    def close(self) -> None:
        self._server.end()

    def leases(self) -> int:
        """How many are held: of answers that others wait for, and of what was reserved."""
        with self.connected() as client:
            reserved = int(client.zcard(f"{{{_NAMESPACE}:limits}}:ends"))
            return reserved + sum(1 for _ in client.scan_iter(match=f"{_NAMESPACE}:l:*", count=1_000))

    def connected(self) -> "redis.Redis":
        return redis.Redis(port=self.port, protocol=2, socket_timeout=10)

    def rows(self) -> list[bytes]:
        """Of the ledger, packed, the eldest first."""
        with self.connected() as client:
            entries = client.xrange(f"{_NAMESPACE}:{{ledger}}:rows")
            return [[*fields.values()][-1] for _, fields in entries]

    def stored(self) -> int:
        """How many rows there are."""
        with self.connected() as client:
            return int(client.xlen(f"{_NAMESPACE}:{{ledger}}:rows"))

    def unheard(self, began: float, ended: float) -> bool:
        """Redis was away meanwhile, and there was a worker that may never have heard of it what is left to spend."""
        away = any(spell.what in _AWAY and spell.touches(began, ended) for spell in self.spells)
        return away and any(0 <= ended - kill <= _YOUNG for kill in self.kills)

    def unsettled(self, began: float, ended: float) -> bool:
        """An upstream went away while this was under way."""
        return any(
            spell.what in OUTAGES and spell.began <= ended and began <= spell.began + _NOTICED for spell in self.spells
        )

    def recovering(self, began: float, ended: float) -> bool:
        """An upstream went away, or had done so shortly before: what it left undone may yet speak against the other."""
        return any(spell.what in OUTAGES and spell.touches(began, ended) for spell in self.spells)

    def _run(self, gateway: servers.Server, upstream: servers.Server, eldest: int) -> None:
        selectors = itertools.cycle(_PURGES)
        try:
            for number, trouble in enumerate(itertools.cycle(self.expected)):
                if self._waits(number + 0.4):
                    return
                if number % self._purge_every == 0:
                    self._purge(next(selectors), gateway, upstream)
                if self._waits(number + 0.8):
                    return
                self._told(f"after {time.monotonic() - self._began:.0f} s: {trouble}")
                with self._spell(trouble, _AFTER_OUTAGE if trouble in OUTAGES else _AFTER):
                    self._bring(trouble, min(_TROUBLE, 0.2 * self._period), gateway, upstream, eldest)
                self.troubles.append(trouble)
        except Exception as error:  # noqa: BLE001  (whatever ends the thread, the rest of the run was calm)
            self.failed = repr(error)

    def _waits(self, periods: float) -> bool:
        """Until so many have gone by since it began; true where time is over."""
        return self._over.wait(max(0.0, self._began + periods * self._period - time.monotonic()))

    @contextmanager
    def _spell(self, what: str, after: float = 0.0) -> Iterator[None]:
        spell = Spell(what, time.monotonic())
        self.spells.append(spell)
        self.now = what
        try:
            yield
        finally:
            spell.ended = time.monotonic()
            spell.over = spell.ended + after
            self.now = FAIR

    def _bring(
        self, trouble: Trouble, seconds: float, gateway: servers.Server, upstream: servers.Server, eldest: int
    ) -> None:
        match trouble:
            case Trouble.REDIS_KILLED:
                self._server.process.kill()
                self._server.process.wait()
                self._over.wait(seconds)
                self._server = self._start(self.port)
            case Trouble.REDIS_FROZEN:
                self._server.process.send_signal(signal.SIGSTOP)
                self._over.wait(seconds)
                self._server.process.send_signal(signal.SIGCONT)
            case Trouble.REDIS_FLUSHED:
                with self.connected() as client:
                    client.flushall()
            case Trouble.WORKER_KILLED:
                self._kill(gateway, eldest)
            case Trouble.RELOADED:
                self._reload(gateway)
            case Trouble.UPSTREAM_REFUSES | Trouble.UPSTREAM_FAILS:
                servers.ask(upstream.admin_port, f"/outage/{OUTAGES[trouble]}")
                self._over.wait(seconds)
                servers.ask(upstream.admin_port, "/outage/none")

    def _kill(self, gateway: servers.Server, eldest: int) -> None:
        """Ends when there is another in its place."""
        position = gateway.log.stat().st_size
        victim = next((pid for pid in _children(gateway) if pid != eldest), None)
        if victim is None:
            raise servers.StartError("there is no worker to kill but the eldest")
        self.kills.append(time.monotonic())
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + _UP_WITHIN
        while not servers.listening_since(gateway, position):
            if time.monotonic() > deadline:
                raise servers.StartError(f"worker {victim} was killed and no other came in {_UP_WITHIN:.0f} s")
            time.sleep(0.1)

    def _reload(self, gateway: servers.Server) -> None:
        """Ends when every worker has taken it over."""
        text = gateway.config.read_text(encoding="utf-8")
        before, after = _IDLE if _IDLE[0] in text else _IDLE[::-1]
        gateway.config.write_text(text.replace(before, after), encoding="utf-8")
        position = gateway.log.stat().st_size
        gateway.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _UP_WITHIN
        while servers.reloaded_since(gateway, position) < len(_children(gateway)):
            if time.monotonic() > deadline:
                raise servers.StartError(f"not every worker took new settings over in {_UP_WITHIN:.0f} s")
            time.sleep(0.1)

    def _purge(self, selector: dict[str, object], gateway: servers.Server, upstream: servers.Server) -> None:
        """Through the admin API; whichever worker takes it tells the others."""
        for _ in range(_PURGE_TRIES):
            with self._spell(f"purge of {selector}"):
                latest = servers.calls(upstream)
                status, answer = self._post(gateway.admin_port, "/admin/v1/cache/purge", selector)
            if status == http.HTTPStatus.OK:
                for model in [str(selector["model"])] if "model" in selector else MODELS:
                    self._purged[model] = latest
                self.purges.append(answer["redis"]["entries"])
                return
            if status != http.HTTPStatus.SERVICE_UNAVAILABLE:
                raise servers.StartError(f"a purge was answered with {status}: {answer}")
            self.unfinished += 1

    def _post(self, port: int, path: str, body: dict[str, object]) -> tuple[int, dict[str, dict[str, int]]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PURGED_WITHIN)
        with contextlib.closing(connection):
            headers = {"authorization": f"Bearer {servers.ADMIN_TOKEN}", "content-type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


def _children(gateway: servers.Server) -> list[int]:
    """Its workers."""
    return [stat.pid for stat in cpu.tree(gateway.pid) if stat.parent == gateway.pid]
