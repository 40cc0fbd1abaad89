"""The long run: two upstreams, two workers, virtual keys, a ledger; and all that goes wrong with them, by turns."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from bench import cpu, servers
from bench.chaos.calls import Call
from bench.chaos.canary import EMBEDDER, MODELS
from bench.chaos.errands import Course, Soaked, soak_for
from bench.chaos.laws import Law, metric
from bench.chaos.money import accounts_of, billed_once, each_a_row, lines_of, not_repeated, within
from bench.chaos.questions import ENDURE, KEYS, STALLED, TIGHT
from bench.chaos.record import outcome_laws
from bench.chaos.rig import RIG_KEY, Rig, rig
from bench.chaos.soak import answer_laws, in_time, one_call_each, weathered
from bench.chaos.watch import Watched, crowd, watch
from bench.chaos.weather import ENDURED, OUTAGES, Spell, Weather
from bench.spec import percentile
from proxy.keys.key import Pepper
from proxy.ledger.row import Row

__all__ = ["TROUBLES", "at_rest", "endure", "few_taken", "unaffected"]

_CLIENTS: Final = 32
_WORKERS: Final = 2
_LINKS: Final = 4
_REDIS_MEMORY: Final = 256 << 20
_EVERY: Final = 10.0
"""Seconds from one trouble to the next."""
TROUBLES: Final = 8
"""At least so many in a short run: each kind once."""
_CALM: Final = 60.0
_CALM_SHARE: Final = 0.25
"""Of the time, where that is less."""
_CALM_FIRST: Final = 5_000_000
"""The number of the first errand while all is calm: no question is one of those that come after it."""
_CALM_AFTER: Final = 7_000_000
_AFTERWARDS: Final = 6.0
"""Seconds of calm at the end."""
_BUDGET: Final = "0.10"
_SLOWER: Final = 1.5
_TAKEN: Final = 3
"""Requests that each outage of an upstream may take with it: those on their way as it closed its connections."""
_REST_WITHIN: Final = 25.0
"""Seconds: holds of the dead are given back after ten, and breakers close after their cool-down."""
_GAUGES: Final = (
    *("askonce_in_flight", "askonce_connections", "askonce_ledger_backlog_rows", "askonce_limits_settlements_waiting"),
    *("askonce_upstream_busy", "askonce_upstream_waiting", "askonce_upstream_keys_resting", "askonce_breaker_state"),
)
_PEOPLE: Final = {"ann": KEYS[0], "ben": KEYS[1], "tim": TIGHT, "rig": RIG_KEY}
_SETTINGS: Final = """
[data]
directory = "{scratch}/data"
[auth]
mode = "keys"
[cache]
memory_bytes = 33554432
[cache.ttl]
chat_completions = 20.0
embeddings = 20.0
[redis]
max_connections = {links}
[pool]
idle_timeout = 1.0
[timeouts]
first_byte = {stalled}
idle = {stalled}
[breaker]
failures = 10
cool_down = 2.0
[routes.all]
models = ["*"]
groups = ["openai", "second"]
[routes.spread]
models = ["{embedder}"]
groups = ["openai=2 second=1"]
strategy = "weighted"
[routes.balanced]
models = ["{balanced}"]
groups = ["openai second"]
strategy = "least_busy"
"""
_OF_KEY: Final = """
[keys.declared.{name}]
digest = "{digest}"
team = "{name}"
requests_per_minute = 1_000_000
tokens_per_minute = 100_000_000_000
usd_per_day = 1_000_000
usd_in_all = {budget}
[keys.teams.{name}]
requests_per_minute = 1_000_000
"""
_OF_UPSTREAMS: Final = """
key = "file:{scratch}/key"
models = []
slots = 256
[upstreams.second]
base_url = "http://127.0.0.1:{second}/v1"
key = "file:{scratch}/key"
models = []
slots = 256
"""


def endure(seconds: float, seed: int, told: Callable[[str], None]) -> list[Law]:
    _, driver = cpu.cores()
    period = min(_EVERY, seconds * (1 - _CALM_SHARE) / TROUBLES)
    with servers.scratch_folder() as scratch:
        weather = Weather(
            *(scratch, driver),
            max_bytes=_REDIS_MEMORY,
            period=period,
            told=told,
            expected=ENDURED,
            durable=True,
            purge_every=len(ENDURED),
        )
        (scratch / "key").write_text("sk-of-the-gateway-0123456789", encoding="utf-8")
        try:
            with rig(
                _settings(scratch),
                workers=_WORKERS,
                soak=True,
                redis=weather.port,
                spare=_WORKERS * _LINKS,
                of_upstream=lambda upstream: _OF_UPSTREAMS.format(scratch=scratch, second=upstream.admin_port),
            ) as shaken:
                return _endure(shaken, weather, seconds, seed, told)
        finally:
            weather.close()


def _settings(scratch: Path) -> str:
    pepper = Pepper(servers.PEPPER.encode())
    keys = [
        _OF_KEY.format(
            name=name,
            digest=pepper.digest(secret.encode()).hex(),
            budget=_BUDGET if secret == TIGHT else "1_000_000",
        )
        for name, secret in _PEOPLE.items()
    ]
    return _SETTINGS.format(
        scratch=scratch, links=_LINKS, stalled=STALLED, embedder=EMBEDDER, balanced=MODELS[1]
    ) + "".join(keys)


def _endure(shaken: Rig, weather: Weather, seconds: float, seed: int, told: Callable[[str], None]) -> list[Law]:
    gateway, port = shaken.gateway, shaken.gateway.port
    before, skip = metric(shaken.exposition(), "askonce_requests_total"), gateway.log.stat().st_size
    eldest = min(stat.pid for stat in cpu.tree(gateway.pid) if stat.parent == gateway.pid)
    calm = min(_CALM, _CALM_SHARE * seconds)
    course = Course(seed, ENDURE, _CALM_FIRST, calm=True)
    with watch(shaken, eldest), crowd("in calm", told):
        soaked = uvloop.run(soak_for(calm, port, course, clients=_CLIENTS, weather=weather))
    usual, soaked.paceless, soaked.herds = soaked.paceless, [], []
    with watch(shaken, eldest) as watched, weather.over(gateway, shaken.upstream, eldest), crowd("then", told):
        course = Course(seed, ENDURE)
        uvloop.run(soak_for(seconds - calm, port, course, clients=_CLIENTS, weather=weather, soaked=soaked))
    during = [*soaked.paceless]
    # A breaker that nobody asks stays open.
    course = Course(seed, ENDURE, _CALM_AFTER, calm=True)
    uvloop.run(soak_for(_AFTERWARDS, port, course, clients=_CLIENTS, weather=weather, soaked=soaked))
    for complaint in soaked.record.complaints:
        told(complaint)
    settled = [*shaken.settled(), at_rest(_resting(shaken, weather))]
    counted = round(metric(shaken.exposition(), "askonce_requests_total") - before)
    usage = _summed_up(shaken, weather)
    ended = gateway.end()
    laws, _ = outcome_laws(soaked.record, counted, gateway.log, told, skip=skip, kills=weather.kills)
    if soaked.record.wrong:
        _tell_of_breakers(gateway.log, told)
    return [
        *laws,
        *answer_laws(soaked, weather),
        *_book_laws(shaken, weather, soaked, usage, told),
        unaffected(during, usual, weather.spells),
        *_weather_laws(soaked, weather, watched, told),
        *settled,
        Law("the gateway ends when it is told to", ended == 0, f"exit code {ended}"),
    ]


def _book_laws(
    shaken: Rig, weather: Weather, soaked: Soaked, usage: dict[str, Any], told: Callable[[str], None]
) -> list[Law]:
    calls = msgspec.json.decode(servers.ask(shaken.upstream.admin_port, "/told"), type=list[Call])
    rows = [msgspec.msgpack.decode(row, type=Row) for row in weather.rows()]
    with shaken.gateway.log.open(encoding="utf-8", errors="replace") as log:
        lines = lines_of(log)
    marked = int(usage["lost"])
    return [
        *billed_once(accounts_of(calls, rows, lines, weather.kills), weather.kills, told),
        *each_a_row(rows, lines, soaked.record.ended, weather.kills, marked),
        summed(rows, usage["total"]),
        *not_repeated(calls, told),
        within(rows, "config-tim", round(float(_BUDGET) * 1e9)),
    ]


def _weather_laws(
    soaked: Soaked,
    weather: Weather,
    watched: Watched,
    told: Callable[[str], None],
) -> list[Law]:
    return [
        one_call_each(soaked.herds, weather.spells, watched, told),
        in_time(soaked.prompt, weather.spells),
        few_taken(soaked, weather.spells),
        weathered(weather),
    ]


def few_taken(soaked: Soaked, spells: Sequence[Spell]) -> Law:
    """What an outage excuses is bounded: what is asked once it is noticed has another upstream to go to."""
    outages = sum(spell.what in OUTAGES for spell in spells)
    taken = soaked.outages + soaked.neither
    figures = f"{soaked.outages} of {soaked.record.requests:,} in the first second of {outages} outages; "
    figures += f"{soaked.neither} that neither took soon after one; "
    figures += f"{soaked.unheard} refused by new workers without Redis"
    return Law(f"an outage takes at most {_TAKEN} requests with it", taken <= _TAKEN * outages, figures)


def unaffected(
    shaken: Sequence[tuple[float, float]], usual: Sequence[tuple[float, float]], spells: Sequence[Spell]
) -> Law:
    """Of answers that no cache had and no upstream paced: when they were asked for, and the seconds that they took."""
    fair = sorted(took for asked, took in shaken if not any(spell.touches(asked, asked + took) for spell in spells))
    calm = sorted(took for _, took in usual)
    now, then = (percentile(each, 0.99) for each in (fair, calm))
    figures = f"p99 {now * 1e3:.1f} ms of {len(fair):,} at times when nothing was the matter, "
    figures += f"{then * 1e3:.1f} ms of {len(calm):,} in calm; p50 {percentile(fair, 0.5) * 1e3:.1f} "
    figures += f"and {percentile(calm, 0.5) * 1e3:.1f} ms"
    promise = f"p99 of unaffected requests ≤ {_SLOWER} × the calm run's"
    return Law(promise, bool(fair) and bool(calm) and now <= _SLOWER * then, figures)


def _tell_of_breakers(log: Path, told: Callable[[str], None]) -> None:
    """When an upstream was left alone, which explains much of what its clients got."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if '"event":"breaker"' in line:
                told(f"log: {line.strip()}")


def _resting(shaken: Rig, weather: Weather) -> Iterator[dict[str, float]]:
    """What is still held, again and again for a while."""
    deadline = time.monotonic() + _REST_WITHIN
    while time.monotonic() < deadline:
        text = shaken.exposition()
        yield {name: metric(text, name) for name in _GAUGES} | {"leases in Redis": weather.leases()}
        time.sleep(0.5)


def _summed_up(shaken: Rig, weather: Weather) -> dict[str, Any]:
    """What the ledger says once all rows are added up, which is done behind."""
    deadline = time.monotonic() + _REST_WITHIN
    while True:
        usage = shaken.usage()
        if usage["total"]["requests"] == weather.stored() or time.monotonic() > deadline:
            return usage
        time.sleep(0.5)


def at_rest(looks: Iterator[dict[str, float]]) -> Law:
    """Every gauge is 0 in one of these looks."""
    held: dict[str, float] = {}
    for look in looks:
        held = {name: value for name, value in look.items() if value}
        if not held:
            break
    figures = ", ".join(f"{value:g} {name}" for name, value in held.items()) or "all are 0"
    return Law("gauges and leases are back at their baseline", not held, figures)


def summed(rows: Sequence[Row], total: dict[str, Any]) -> Law:
    """The sums by day, which budgets are found in again, against the rows."""
    tokens = sum(row.used.get("input", 0) + row.used.get("output", 0) for row in rows)
    told = total["used"].get("input", 0) + total["used"].get("output", 0)
    figures = f"{total['requests']:,} requests and {told:,} tokens, {len(rows):,} and {tokens:,} in rows"
    return Law("the sums by day are those of the rows", (total["requests"], told) == (len(rows), tokens), figures)
