"""The soak: mixed load on the cache with two workers, while Redis and a worker come and go."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import uvloop

from bench import cpu, servers
from bench.chaos.errands import Course, Herd, Soaked, soak_for
from bench.chaos.laws import Audit, Law, cache_memory_bound, metric, steady
from bench.chaos.record import outcome_laws
from bench.chaos.rig import Rig, rig
from bench.chaos.watch import Watched, watch
from bench.chaos.weather import Spell, Trouble, Weather
from cache.memory import Removal

__all__ = ["answer_laws", "bounded", "called", "in_time", "one_call_each", "soak", "weathered"]

_CLIENTS: Final = 32
_WORKERS: Final = 2
_MEMORY: Final = 32 << 20
_SLACK: Final = 48 << 20
"""Per worker: requests that are remembered with what they mean (two lists of 8 MiB), flights, what waits to be
written to Redis, and what the allocator keeps for the next of these."""
_REDIS_MEMORY: Final = 64 << 20
_LINKS: Final = 4
_EVERY: Final = 30.0
_TROUBLES: Final = 5
"""At least so many in a short soak: each kind once."""
_WARM: Final = 120.0
"""Seconds until the cache is as full as it gets: a shorter soak can't tell growth from warming up."""
_REMOVALS: Final = "askonce_cache_removals_total"
_WITHOUT_REDIS: Final = 1.0
"""Seconds within which an answer has to be there, though nothing comes from Redis."""
_SETTINGS: Final = f"""
[cache]
memory_bytes = {_MEMORY}
[cache.ttl]
chat_completions = 20.0
embeddings = 20.0
[redis]
max_connections = {_LINKS}
[breaker]
enabled = false
[pool]
idle_timeout = 1.0
[timeouts]
first_byte = 2.0
idle = 2.0
"""


def soak(seconds: float, seed: int, told: Callable[[str], None]) -> list[Law]:
    _, driver = cpu.cores()
    period = min(_EVERY, seconds / _TROUBLES)
    with servers.scratch_folder() as scratch:
        weather = Weather(scratch, driver, max_bytes=_REDIS_MEMORY, period=period, told=told)
        try:
            spare = _WORKERS * _LINKS
            with rig(_SETTINGS, workers=_WORKERS, soak=True, redis=weather.port, spare=spare) as shaken:
                return _soak(shaken, weather, seconds, seed, told)
        finally:
            weather.close()


def _soak(shaken: Rig, weather: Weather, seconds: float, seed: int, told: Callable[[str], None]) -> list[Law]:
    gateway = shaken.gateway
    before, asked = metric(shaken.exposition(), "askonce_requests_total"), servers.calls(shaken.upstream)
    idle, skip = cpu.resident(gateway.pid), gateway.log.stat().st_size
    eldest = min(stat.pid for stat in cpu.tree(gateway.pid) if stat.parent == gateway.pid)
    with watch(shaken, eldest) as watched, weather.over(gateway, shaken.upstream, eldest):
        soaked = uvloop.run(soak_for(seconds, gateway.port, Course(seed), clients=_CLIENTS, weather=weather))
    for complaint in soaked.record.complaints:
        told(complaint)
    settled = shaken.settled()
    text, calls, leases = shaken.exposition(), servers.calls(shaken.upstream) - asked, weather.leases()
    counted = round(metric(text, "askonce_requests_total") - before)
    gateway.end()
    laws, found = outcome_laws(soaked.record, counted, gateway.log, told, skip=skip, kills=weather.kills)
    return [
        *laws,
        *answer_laws(soaked, weather),
        called(soaked.record.requests, found, calls),
        one_call_each(soaked.herds, weather.spells, watched, told),
        in_time(soaked.prompt, weather.spells),
        weathered(weather),
        bounded(watched.entries, text, full=seconds >= 2 * _WARM),
        cache_memory_bound(max(watched.total), idle, _MEMORY, _SLACK, _WORKERS),
        *([steady(watched.eldest, "of the worker that lived through all of it")] if seconds >= 2 * _WARM else []),
        *settled,
        Law("no lease is left", leases == 0, f"{leases} in Redis"),
    ]


def answer_laws(soaked: Soaked, weather: Weather) -> list[Law]:
    statuses = ", ".join(f"{count:,} {name}" for name, count in sorted(soaked.statuses.items()) if name)
    return [
        Law("nobody gets another's answer, or one to another question", soaked.foreign == 0, f"{soaked.foreign} did"),
        Law("what is stored or shared is whole, to the byte", soaked.torn == 0, f"{soaked.torn} were not; {statuses}"),
        gone(soaked.purged, weather.purges, weather.unfinished),
    ]


def gone(hits: int, purges: Sequence[int], unfinished: int) -> Law:
    """`hits` that were older than a purge; how many entries each `purge` removed from Redis."""
    removed = f"{len(purges)} purges of {sum(purges):,} entries in Redis"
    again = f", {unfinished} asked again" if unfinished else ""
    return Law("what was purged is gone", hits == 0 and bool(purges), f"{hits} hits of it; {removed}{again}")


def called(requests: int, found: Audit, calls: int) -> Law:
    """A request whose line went with its worker may have been a miss."""
    unknown = requests - found.requests
    figures = f"{calls:,} calls, {found.misses:,} misses, {unknown} unknown; {found.requests:,} requests"
    return Law("the upstream is called at most once for each miss", calls <= found.misses + unknown, figures)


def one_call_each(herds: Sequence[Herd], spells: Sequence[Spell], watched: Watched, told: Callable[[str], None]) -> Law:
    """Of herds that nothing disturbed: neither the weather, nor a Redis that was too slow for a command."""
    fair, slow, split, worst = 0, 0, 0, 0
    for herd in herds:
        disturbed = any(spell.touches(herd.began, herd.ended) for spell in spells)
        late = not disturbed and watched.slow(herd.began, herd.ended)
        slow += late
        if disturbed or late:
            worst = max(worst, herd.calls)
            continue
        fair += 1
        if herd.calls > 1:
            split += 1
            told(f"herd {herd.index}: {herd.calls} calls")
    others = f"of {len(herds) - fair:,} others ({slow} while Redis missed a deadline) the worst was {worst}"
    promise = "a herd is one call while Redis answers and nothing is purged"
    return Law(promise, split == 0 and fair > 0, f"{split} of {fair:,} herds were more; {others}")


def in_time(prompt: Sequence[tuple[float, float]], spells: Sequence[Spell]) -> Law:
    """What is asked while Redis is gone or frozen is answered as fast as its deadline allows."""
    absent = [each for each in spells if each.what in (Trouble.REDIS_KILLED, Trouble.REDIS_FROZEN)]
    without: list[float] = []
    others: list[float] = []
    for asked, seconds in prompt:
        inside = any(spell.began <= asked <= spell.ended for spell in absent)
        (without if inside else others).append(seconds)
    figures = f"{_spread(without)}; otherwise {_spread(others)}"
    late = sum(seconds > _WITHOUT_REDIS for seconds in without)
    promise = f"without Redis every answer is there within {_WITHOUT_REDIS:.0f} s"
    return Law(promise, late == 0 and bool(without), f"{late} late; {figures}")


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(each * 1e3 for each in seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"{len(ordered):,} took p50 {p50:.1f}, p99 {p99:.0f}, at most {ordered[-1]:.0f} ms"


def weathered(weather: Weather) -> Law:
    troubles = ", ".join(f"{count} × {name}" for name, count in Counter(weather.troubles).items())
    came = len(weather.troubles)
    enough = set(weather.troubles) == set(weather.expected) and came >= weather.due - 1
    figures = f"{came} of {weather.due} that were due: {troubles or 'none'}"
    figures += f"; ended by {weather.failed}" if weather.failed else ""
    return Law("all kinds of trouble came, and to the end", enough and not weather.failed, figures)


def bounded(held: Sequence[float], exposition: str, *, full: bool) -> Law:
    """`full`: it took so long that some must have been evicted."""
    bound, most = _WORKERS * _MEMORY, max(held, default=0.0)
    removed = {each.value: metric(exposition, _REMOVALS, f'reason="{each.value}"') for each in Removal}
    left = ", ".join(f"{count:,.0f} {reason}" for reason, count in removed.items())
    figures = f"{most / 2**20:.1f} of {bound / 2**20:.0f} MiB at most; left: {left}"
    holds = 0 < most <= bound and (removed[Removal.EVICTED.value] > 0 or not full)
    return Law(f"entries stay within {_MEMORY >> 20} MiB a worker", holds, figures)
