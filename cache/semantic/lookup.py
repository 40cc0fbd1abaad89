"""From a question to the answered one that means the same, if there is one.

embed ─▶ the nearest of its partition ─▶ their records, as they are now ─▶ the guard and the decision

Nothing here fails a request: what can't be done is a miss with a name. Whoever asks sets the deadline.
"""

import asyncio
import enum
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from cache.semantic import foreign
from cache.semantic.decide import Candidate, Deciding, Decision, Settings, Thresholds
from cache.semantic.embed import Embedder, NotEmbedded, Reason
from cache.semantic.guard import Compared, Guard, Prepared
from cache.semantic.learning.evidence import NOBODY, Party
from cache.semantic.store.origin import Origin
from cache.semantic.store.record import EXACT_ONLY, Asked, Record, place_of, refusal
from cache.semantic.store.records import Records
from cache.semantic.store.vectors import unpack_vector
from cache.semantic.verify import Verifier

__all__ = ["Lookup", "Match", "Question", "Read", "Result", "Search", "Sought", "Unread", "quick_to_prepare"]

NEAREST: Final = 8
QUICK: Final = 160
"""Of ASCII's characters are prepared in some 2 ms, whatever they are, and in a tenth of that where they are words."""
PREPARED_BYTES: Final = 16 << 20
"""For questions that are kept prepared, packed: some 700 bytes each, of which a question of 2,000 characters has twenty
times as many.
"""
PLACE: Final = 200
"""Bytes that one of them takes beside its text and what is packed."""

Vector = NDArray[np.float32]


class Search(Protocol):
    """Finds the nearest of a partition: `cache.semantic.index`, or Redis."""

    def holds(self, partition: str) -> bool:
        """False: there is nothing in it for sure."""

    async def search(
        self, partition: str, vector: Vector, *, k: int = 8, least: float = 0.60
    ) -> Sequence[tuple[str, float]]:
        """Keys of records (or what `cache.semantic.store.record.name_of` made of them) and cosines, the best first.

        Raises ConnectionError or TimeoutError where that is elsewhere.
        """


@final
class Result(enum.Enum):
    """What came of a look. The values are those of a metric's label."""

    HIT = "hit"
    GRAY = "gray"
    """Something is near, and not near enough or in another way."""
    NOTHING = "nothing"
    """Nothing is near."""
    EMPTY = "empty"
    """Nothing was ever answered in its partition."""
    TOO_LONG = "too-long"
    LATE = "late"
    BUSY = "busy"
    FAILED = "failed"


@final
class Read(enum.Enum):
    """What came of what a verifier was asked. The values are those of a metric's label."""

    SERVED = "served"
    AUDIT = "audit"
    LOW = "low"
    """No score is enough."""
    UNCLEAR = "unclear"
    """Another answer has as good a score, or there is none."""
    LATE = "late"
    BUSY = "busy"
    FAILED = "failed"


class Question(NamedTuple):
    text: str
    partition: str
    language: str
    group: str
    """Of the thresholds of who asks, which counts."""
    key: str = ""
    """Of its own answer, which is none to another question."""
    party: Party = NOBODY
    """Who asks."""
    origin: Origin | None = None
    """Whose it is; None where nobody will write it down."""

    def __repr__(self) -> str:
        return f"<Question of {len(self.text)} characters in {self.partition[:12]}>"


class Match(NamedTuple):
    record: Record
    asked: Asked
    """The question of the record, or its alias, that was near."""
    similarity: float
    voices: int
    """How many questions of the record are near."""
    compared: Compared | None
    """None where nobody had to look."""
    refused: bool
    """The record was found wrong for what is asked."""

    @property
    def origin(self) -> Origin | None:
        """Whose the question is that was near."""
        return self.record.origin if self.asked.text == self.record.text else self.asked.origin

    @property
    def candidate(self) -> Candidate:
        record = self.record
        return Candidate(
            self.similarity,
            record.min_similarity,
            record.wrong >= EXACT_ONLY,
            record.kin,
            self.voices,
            self.refused,
        )


class Unread(NamedTuple):
    """What a verifier may still read."""

    deciding: Deciding
    matches: Sequence[Match]

    @property
    def may_serve(self) -> bool:
        """Else it is read for its label alone, and nobody has to wait for that."""
        return self.deciding.verifies


class Sought(NamedTuple):
    result: Result
    vector: Vector | None = None
    decision: Decision | None = None
    served: Match | None = None
    gray: Match | None = None
    """What a fresh answer is to be compared with."""
    rival: Match | None = None
    """What it is to be compared with where that is not found right."""
    nearest: float = 0.0
    """The cosine of the best candidate."""
    unread: Unread | None = None
    """It is a miss unless `Lookup.read` says otherwise."""
    read: Read | None = None
    scored: Match | None = None
    """What `decision.reading` is of."""


@final
class Lookup:
    """`threshold` gives those of who asks. `draw` is uniform in [0, 1)."""

    def __init__(
        self,
        embedder: Embedder,
        search: Search,
        records: Records,
        guard: Guard,
        settings: Settings,
        threshold: Callable[[str, Party], Thresholds],
        verifier: Verifier | None = None,
        *,
        draw: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.embedder = embedder
        self._search = search
        self._records = records
        self._guard = guard
        self._settings = settings
        self._threshold = threshold
        self._verifier = verifier
        self._draw = draw
        self._wall = wall
        self._prepared: OrderedDict[str, bytes] = OrderedDict()
        self.bytes = 0
        """Of what is kept prepared."""

    def __repr__(self) -> str:
        return f"<Lookup {self._search!r} {len(self._prepared)} prepared>"

    async def find(self, question: Question) -> Sought:
        """By all that is quick."""
        if not self._search.holds(question.partition):
            return Sought(Result.EMPTY)
        try:
            vector = await self.embedder.embed(question.text)
        except NotEmbedded as error:
            return Sought(_RESULTS.get(error.reason.value, Result.FAILED))
        try:
            found = await self._search.search(question.partition, vector, k=NEAREST, least=self._settings.least)
        except (ConnectionError, TimeoutError):
            return Sought(Result.FAILED, vector)
        if not found:
            return Sought(Result.NOTHING, vector)
        matches = await self._matches(question, vector, found)
        return await self._decide(question, vector, matches)

    async def read(self, question: Question, sought: Sought, *, patient: bool = False) -> Sought:
        """What a verifier says to a miss that it may read. Where it fails, that is what it was.

        `patient`: nobody waits for it.
        """
        miss, unread = sought.decision, sought.unread
        if self._verifier is None or miss is None or unread is None:
            return sought
        matches = unread.matches
        texts = [matches[at].asked.text for at in miss.unread]
        scores = await self._verifier.scores(question.text, texts, patient=patient)
        if isinstance(scores, Reason):
            return sought._replace(unread=None, read=_FAILURES.get(scores, Read.FAILED))
        decision = unread.deciding.read(miss, scores)
        reading = decision.reading
        found = sought._replace(unread=None, read=Read.UNCLEAR, decision=decision)
        if reading is None:
            return found
        match = matches[reading.at]
        if decision.served >= 0:
            served = found._replace(result=Result.HIT, read=Read.SERVED, served=match, scored=match)
            return served._replace(gray=None, rival=None)
        return found._replace(read=Read.AUDIT if reading.enough else Read.LOW, scored=match)

    async def _matches(self, question: Question, vector: Vector, found: Sequence[tuple[str, float]]) -> list[Match]:
        """Of records that are there now, in this partition; each once, by its nearest question."""
        keys = [*dict.fromkeys(place_of(name)[0] for name, _ in found)]
        records = await self._records.get(keys)
        refused = refusal(question.text)
        now, floor, matches = self._wall(), min(similarity for _, similarity in found), []
        for key in keys:
            record = records.get(key)
            if key == question.key or record is None or record.partition != question.partition or record.expires <= now:
                continue
            near = [
                (min(float(np.dot(kept, vector)), 1.0), asked)
                for asked in record.asked
                if (kept := unpack_vector(asked.vector, len(vector))) is not None
            ]
            if near:
                similarity, asked = max(near, key=_first)
                voices = sum(each >= floor for each, _ in near)
                matches.append(Match(record, asked, similarity, max(1, voices), None, record.refuses(refused)))
        return sorted(matches, key=_similarity, reverse=True)

    async def _decide(self, question: Question, vector: Vector, matches: list[Match]) -> Sought:
        guarded = question.language == "en"
        deciding = Deciding(
            self._settings, self._threshold(question.group, question.party), self._draw, guarded=guarded
        )
        decision = None
        if guarded:
            await self._prepare_long([question.text, *(match.asked.text for match in matches)])
        for place, match in enumerate(matches):
            compare = _Comparison(self, question.text, match.asked.text, guarded=guarded)
            decision = deciding.next(match.candidate, compare)
            matches[place] = match._replace(compared=compare.made)
            if decision is not None:
                break
            # A comparison takes some 0.3 ms of this thread.
            await asyncio.sleep(0)
        decision = decision or deciding.end()
        nearest = matches[0].similarity if matches else 0.0
        served = matches[decision.served] if decision.served >= 0 else None
        gray = matches[decision.gray] if decision.gray >= 0 else None
        rival = matches[decision.rival] if decision.rival >= 0 else None
        result = Result.HIT if served is not None else Result.GRAY if gray is not None else Result.NOTHING
        unread = Unread(deciding, matches) if decision.unread else None
        return Sought(result, vector, decision, served, gray, rival, nearest, unread)

    async def forget(self, key: str) -> None:
        """Its answer is gone."""
        await self._records.drop([key])

    def forget_texts(self) -> None:
        """Of questions that are kept prepared."""
        self._prepared.clear()
        self.bytes = 0

    def compare(self, asked: str, stored: str, *, guarded: bool) -> Compared:
        if not guarded:
            return foreign.compare(asked, stored)
        return self._guard.compare(self._prepare(asked), self._prepare(stored))

    async def _prepare_long(self, texts: Sequence[str]) -> None:
        """What takes the event loop for more than a moment is done beside it."""
        for text in texts:
            if not quick_to_prepare(text) and text not in self._prepared:
                self._remember(text, await asyncio.to_thread(self._guard.prepare, text))

    def _prepare(self, text: str) -> Prepared:
        packed = self._prepared.get(text)
        if packed is not None:
            self._prepared.move_to_end(text)
            return _unpack(packed)
        prepared = self._guard.prepare(text)
        self._remember(text, prepared)
        return prepared

    def _remember(self, text: str, prepared: Prepared) -> None:
        # Thousands of them as objects would stop the event loop for 30 ms whenever garbage is collected.
        if text in self._prepared:
            return
        packed = self._prepared[text] = _pack(prepared)
        self.bytes += _cost(text, packed)
        while self.bytes > PREPARED_BYTES:
            self.bytes -= _cost(*self._prepared.popitem(last=False))


def quick_to_prepare(text: str) -> bool:
    """Other letters than ASCII's may stand for many: one for eighteen."""
    return len(text) <= QUICK and text.isascii()


@final
class _Comparison:
    """Is made when it is asked for, and remembered."""

    __slots__ = ("_asked", "_guarded", "_lookup", "_stored", "made")

    def __init__(self, lookup: Lookup, asked: str, stored: str, *, guarded: bool) -> None:
        self._lookup = lookup
        self._asked = asked
        self._stored = stored
        self._guarded = guarded
        self.made: Compared | None = None

    def __call__(self) -> Compared:
        self.made = self._lookup.compare(self._asked, self._stored, guarded=self._guarded)
        return self.made


def _cost(text: str, packed: bytes) -> int:
    return sys.getsizeof(text) + sys.getsizeof(packed) + PLACE


def _first(near: tuple[float, Asked]) -> float:
    return near[0]


def _similarity(match: Match) -> float:
    return match.similarity


_RESULTS: Final[dict[Any, Result]] = {
    "too_long": Result.TOO_LONG,
    "late": Result.LATE,
    "busy": Result.BUSY,
}
_FAILURES: Final = {Reason.LATE: Read.LATE, Reason.BUSY: Read.BUSY}
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(Prepared).decode
