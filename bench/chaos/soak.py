"""The soak: mixed load on the cache with two workers, while Redis comes and goes."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvloop

from bench import cpu, servers
from bench.chaos.errands import Soaked, soak_for
from bench.chaos.laws import Law, flat, metric
from bench.chaos.record import outcome_laws
from bench.chaos.rig import Rig, memory_of, rig
from bench.chaos.weather import Weather

__all__ = ["soak"]

_CLIENTS: Final = 32
_WORKERS: Final = 2
_MEMORY: Final = 8 << 20
_REDIS_MEMORY: Final = 32 << 20
_LINKS: Final = 4
_EVERY: Final = 20.0
_SCRAPE_EVERY: Final = 1.0
_SETTINGS: Final = f"""
[cache]
memory_bytes = {_MEMORY}
[cache.ttl]
chat_completions = 30.0
[redis]
max_connections = {_LINKS}
[pool]
idle_timeout = 1.0
"""


def soak(seconds: float, seed: int, told: Callable[[str], None]) -> list[Law]:
    _, driver = cpu.cores()
    with servers.scratch_folder() as scratch:
        weather = Weather(scratch, driver, max_bytes=_REDIS_MEMORY, period=min(_EVERY, seconds / 2))
        try:
            spare = _WORKERS * _LINKS
            with rig(_SETTINGS, workers=_WORKERS, soak=True, redis=weather.port, spare=spare) as shaken:
                return _soak(shaken, weather, seconds, seed, told)
        finally:
            weather.close()


def _soak(shaken: Rig, weather: Weather, seconds: float, seed: int, told: Callable[[str], None]) -> list[Law]:
    before = metric(shaken.exposition(), "askonce_requests_total")
    with memory_of(shaken.gateway.pid) as rss, _cache_bytes(shaken) as held, weather.over():
        soaked = uvloop.run(soak_for(seconds, shaken.gateway.port, seed=seed, clients=_CLIENTS, weather=weather))
    for complaint in soaked.record.complaints:
        told(complaint)
    settled = shaken.settled()
    text = shaken.exposition()
    counted = round(metric(text, "askonce_requests_total") - before)
    shaken.gateway.end()
    return [
        *outcome_laws(soaked.record, counted, shaken.gateway.log, told),
        *_cache_laws(soaked, weather),
        _bounded(held, metric(text, "askonce_cache_removals_total")),
        flat(rss),
        *settled,
    ]


def _cache_laws(soaked: Soaked, weather: Weather) -> list[Law]:
    statuses = ", ".join(f"{count:,} {name}" for name, count in sorted(soaked.statuses.items()) if name)
    fair = f"{soaked.split} of {soaked.herds_fair:,} herds were more"
    herds = f"{fair}; of {soaked.herds - soaked.herds_fair:,} others the worst was {soaked.worst}"
    troubles = ", ".join(f"{count} × {name}" for name, count in Counter(weather.troubles).items())
    return [
        Law("nobody gets another tenant's answer", soaked.foreign == 0, f"{soaked.foreign} did; {statuses}"),
        Law("what is stored or shared is whole, to the byte", soaked.torn == 0, f"{soaked.torn} were not"),
        Law("a herd is one call while Redis is well and nothing is purged", soaked.split == 0, herds),
        Law("what was purged is gone", soaked.purged == 0, f"{soaked.purged} hits of it; {weather.purges} purges"),
        Law("Redis came and went", not weather.failed and bool(weather.troubles), weather.failed or troubles),
    ]


def _bounded(held: list[float], removed: float) -> Law:
    bound = _WORKERS * _MEMORY
    figures = f"{max(held) / 2**20:.1f} of {bound / 2**20:.0f} MiB at most; {removed:,.0f} entries left"
    return Law("entries stay within their memory", max(held) <= bound, figures)


@contextmanager
def _cache_bytes(shaken: Rig) -> Iterator[list[float]]:
    """Bytes of entries in the memory of all workers, sampled while inside."""
    samples = [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_SCRAPE_EVERY):
            samples.append(metric(shaken.exposition(), "askonce_cache_bytes"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        over.set()
        watcher.join()
