"""The lanes (servers under test), the measures (what is driven through them), and in which order."""

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.spec import Spec

__all__ = ["MEMORY_HITS", "REPLAYED", "TAKES", "Lane", "Measure", "Plan", "slices_of", "spec_of", "units_of"]

_LIMITED_ROUNDS = 3


class Lane(enum.StrEnum):
    NGINX = "nginx"
    NGINX_CACHE = "nginx-cache"
    """With its own cache, keyed by the body too."""
    AIOHTTP_ASYNCIO = "aiohttp-asyncio"
    """A relay on aiohttp as it comes."""
    AIOHTTP_UVLOOP = "aiohttp-uvloop"
    AIOHTTP_HANDLER = "aiohttp-handler"
    """No relay: the same bytes from memory."""
    BARE = "bare"
    ASKONCE = "askonce"
    """Cache and prices are off."""
    DIRECT = "askonce-direct"
    """The same with nothing between a request and its upstream (`bench.direct`)."""
    ENDURE = "askonce-endure"
    """The same as `askonce`, of two upstreams with slots and breakers the faster one."""
    PRICED = "askonce-priced"
    """The cache is off, prices are on, as they are where nobody says otherwise."""
    CACHE = "askonce-cache"
    """With nothing but exact questions, as all that follow but two."""
    SEMANTIC = "askonce-semantic"
    """The same, and questions that mean the same are one."""
    SHADOW = "askonce-shadow"
    """The same, looked for and not served, as it is where nobody says otherwise."""
    REDIS = "askonce-redis"
    """The cache is in Redis alone."""
    TEAM = "askonce-team"
    """The cache is off; a key with requests and tokens a minute and a budget, and the ledger, in one process."""
    TEAM_CACHE = "askonce-team-cache"
    """The same with the cache."""
    TEAM_REDIS = "askonce-team-redis"
    """The same, all of it in Redis alone."""


class Measure(enum.StrEnum):
    """What is driven; the unit of work is what `Slice.cpu_us` is the cost of."""

    REQUESTS = "requests"
    """Pass-through: a chat request."""
    STEADY = "steady"
    """The same, as many a second of each lane: then whoever is sent something sleeps before, whichever lane it is."""
    STREAMS = "streams"
    """Pass-through: a streamed frame."""
    LARGE = "large"
    """A request with a body of 1 MiB."""
    UPLOAD = "upload"
    """512 MiB."""
    BYPASS = "bypass"
    """A chat request that may not use the cache; each another."""
    MISSES = "misses"
    """A chat request that nobody has asked; its answer is kept."""
    HITS = "hits"
    """The same chat request again and again."""
    REDIS = "redis"
    """A thousand chat requests by turns."""
    LATENCY = "latency"
    """Hits at half of what the server can serve, and a few misses among them."""
    COALESCED = "coalesced"
    """A hundred identical requests at once, while the upstream takes 50 ms; each herd another question."""
    REPLAY = "replay"
    """A frame of a stream that is stored."""
    ALIKE = "alike"
    """One of twenty questions that were answered, in other words each time."""
    NEW = "new"
    """Fifty questions a second that nobody has asked, near to others."""


_RELAYS: Final = (Lane.NGINX, Lane.AIOHTTP_ASYNCIO, Lane.AIOHTTP_UVLOOP, Lane.BARE, Lane.ASKONCE)
TAKES: Final[Mapping[Measure, tuple[Lane, ...]]] = {
    Measure.REQUESTS: (*_RELAYS, Lane.DIRECT, Lane.ENDURE, Lane.PRICED, Lane.TEAM),
    Measure.STEADY: _RELAYS,
    Measure.STREAMS: _RELAYS,
    Measure.LARGE: _RELAYS,
    Measure.UPLOAD: _RELAYS,
    Measure.BYPASS: (Lane.PRICED, Lane.CACHE),
    Measure.MISSES: (Lane.PRICED, Lane.CACHE),
    Measure.HITS: (Lane.NGINX_CACHE, Lane.AIOHTTP_HANDLER, Lane.CACHE, Lane.SEMANTIC, Lane.TEAM_CACHE),
    Measure.REDIS: (Lane.REDIS, Lane.TEAM_REDIS),
    Measure.LATENCY: (Lane.CACHE,),
    Measure.COALESCED: (Lane.PRICED, Lane.CACHE),
    Measure.REPLAY: (Lane.NGINX_CACHE, Lane.CACHE),
    Measure.ALIKE: (Lane.SEMANTIC,),
    Measure.NEW: (Lane.CACHE, Lane.SHADOW),
}
"""Which lanes a measure compares."""
MEMORY_HITS: Final = (Measure.HITS, Measure.REDIS, Measure.REPLAY, Measure.ALIKE)
"""Measures in which a lane with a cache asks the upstream nothing."""
REPLAYED: Final = 150
"""Frames of the stream that is replayed, but for the two that end it."""
_RING: Final = 1_000
_STREAMED: Final = 5_000
"""The question that is asked as a stream: another one than is asked for JSON."""
_HERD: Final = 100
_HERDS_A_SECOND: Final = 10
_NEW_A_SECOND: Final = 50.0
_STEADY_A_SECOND: Final = 2_000.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and for how long."""

    lanes: tuple[Lane, ...] = tuple(Lane)
    measures: tuple[Measure, ...] = tuple(Measure)
    rounds: int = 5
    seconds: float = 2.0
    frames: int = 150
    streams: int = 100
    gap: float = 0.02
    upload_bytes: int = 512 << 20
    seed: int = 1

    def takes(self, measure: Measure) -> list[Lane]:
        return [lane for lane in TAKES[measure] if lane in self.lanes]

    @property
    def needed(self) -> list[Lane]:
        """The lanes that any measure takes."""
        taken = {lane for measure in self.measures for lane in self.takes(measure)}
        return [lane for lane in self.lanes if lane in taken]


def spec_of(plan: Plan, measure: Measure, port: int, first: int = 1) -> Spec:
    """`first` is the number from which on no question was asked."""
    match measure:
        case Measure.REQUESTS | Measure.HITS:
            return Spec("requests", port, seconds=plan.seconds)
        case Measure.STEADY:
            return Spec("paced", port, seconds=plan.seconds, rate=_STEADY_A_SECOND, new_every=1 << 30)
        case Measure.STREAMS:
            return Spec("streams", port, connections=plan.streams, frames=plan.frames, gap=plan.gap, seed=plan.seed)
        case Measure.LARGE:
            return Spec("requests", port, connections=8, seconds=1.0, body_bytes=1 << 20)
        case Measure.UPLOAD:
            return Spec("upload", port, body_bytes=plan.upload_bytes)
        case Measure.BYPASS:
            return Spec("requests", port, seconds=plan.seconds, questions=0, first=first, no_store=True)
        case Measure.MISSES:
            return Spec("requests", port, seconds=plan.seconds, questions=0, first=first)
        case Measure.REDIS:
            return Spec("requests", port, seconds=plan.seconds, questions=_RING)
        case Measure.LATENCY:
            return Spec("paced", port, seconds=plan.seconds, first=first)
        case Measure.COALESCED:
            herds = max(1, round(plan.seconds * _HERDS_A_SECOND))
            return Spec("herds", port, connections=_HERD, herds=herds, gap=0.05, questions=0, first=first)
        case Measure.REPLAY:
            return Spec("requests", port, 8, plan.seconds, frames=REPLAYED, stream=True, first=_STREAMED)
        case Measure.ALIKE:
            return Spec("alike", port, 4, plan.seconds, questions=0, first=first, words="reworded")
        case Measure.NEW:
            return Spec("paced", port, 8, plan.seconds, first=first, words="fresh", rate=_NEW_A_SECOND, new_every=1)


def units_of(measure: Measure, done: int) -> int:
    """Units of work in what the generator counts."""
    return done * (REPLAYED + 2) if measure is Measure.REPLAY else done


def slices_of(plan: Plan) -> list[tuple[int, Measure, Lane]]:
    """The order of all slices: every round shuffles its lanes, the heavy measures take fewer rounds."""
    order = random.Random(plan.seed)
    slices: list[tuple[int, Measure, Lane]] = []
    most = {Measure.LARGE: _LIMITED_ROUNDS, Measure.UPLOAD: 1}
    for index in range(plan.rounds):
        for measure in plan.measures:
            if index < most.get(measure, plan.rounds):
                taken = plan.takes(measure)
                slices.extend((index, measure, lane) for lane in order.sample(taken, len(taken)))
    return slices
