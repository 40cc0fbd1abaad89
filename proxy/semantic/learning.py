"""What is learnt of an answer that was asked for upstream: its question can be found from now on."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, final

from cache.entry import Entry, OutOfBounds
from cache.semantic.embed import Embedder, NotEmbedded, Vector
from cache.semantic.store.record import Change, Record
from cache.semantic.store.records import Kept, Records
from cache.semantic.store.vectors import pack_vector
from limits.bucket import Bucket
from proxy.semantic.answers import Answers
from proxy.semantic.inquiry import Answered

__all__ = ["Kin", "Learning", "Pace"]

MAX_ACCOUNTS: Final = 4_096


@final
class Pace:
    """How many questions each account may have remembered. `clock` in seconds."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Pace {self._per_minute} a minute, {len(self._buckets)} accounts>"

    def takes(self, account: str) -> bool:
        now = int(self._clock() * 1e3)
        bucket = self._buckets.pop(account, None) or Bucket(now)
        self._buckets[account] = bucket
        if len(self._buckets) > MAX_ACCOUNTS:
            self._buckets.popitem(last=False)
        return bucket.take(self._per_minute, self._per_minute, 1, now, []) == 0


class Kin(NamedTuple):
    """What a comparison of answers came to."""

    family: str = ""
    """Of the answer that says the same; "" where none does."""
    known: bool = False
    """The question leads to that answer now, and needs no record of its own."""
    refuses: tuple[bytes, ...] = ()
    """Of questions whose answers were found wrong for this one, as this one's is for them."""


class Labels(Protocol):
    async def compare(self, answered: Answered, text: str, vector: Vector, *, lead: bool) -> Kin:
        """`lead`: the question may be remembered with the answer that says the same."""


@final
class Learning:
    """`embedder` may take its time; `learnt` counts what became of each."""

    def __init__(
        self,
        records: Records,
        answers: Answers,
        embedder: Embedder,
        pace: Pace,
        labels: Labels | None,
        learnt: Callable[[str], None],
    ) -> None:
        self._records = records
        self._answers = answers
        self._embedder = embedder
        self._pace = pace
        self._labels = labels
        self._learnt = learnt

    def __repr__(self) -> str:
        return f"<Learning {self._pace!r}>"

    async def learn(self, answered: Answered) -> None:
        """Implements `inquiry.Learns`."""
        entry = answered.entry
        said = await self._answers.read(entry)
        try:
            await self._forget_other(entry, b"" if said is None else said.digest)
        except (ConnectionError, TimeoutError):
            # What stands there may be of another answer, and nobody could tell.
            self._learnt(Kept.DOWN.value)
            return
        if said is None:
            # Of what calls a tool, another question is no repetition.
            self._learnt("no-text")
            return
        try:
            vector = answered.sought.vector
            if vector is None:
                vector = await self._embedder.embed(answered.question.text)
        except NotEmbedded as error:
            self._learnt(error.reason.value)
            return
        takes = self._pace.takes(answered.account)
        kin = Kin() if self._labels is None else await self._labels.compare(answered, said.text, vector, lead=takes)
        if kin.known:
            self._learnt("alias")
            return
        if not takes:
            self._learnt("too-fast")
            return
        try:
            record = _record(answered, entry, vector, kin.family, said.digest)
        except OutOfBounds:
            self._learnt("out-of-bounds")
            return
        kept = await self._records.put(record)
        for refused in kin.refuses if kept is Kept.STORED else ():
            change = Change(refused=refused, answer=record.answer)
            await self._records.change(record.key, record.partition, change)
        self._learnt(kept.value)

    async def _forget_other(self, entry: Entry, answer: bytes) -> None:
        """What labels have said of this question's answer, they said of an older one, whatever becomes of this.

        Raises ConnectionError or TimeoutError.
        """
        before = (await self._records.read([entry.key])).get(entry.key)
        if before is not None and before.answer != answer and before.created <= entry.created:
            await self._records.drop([entry.key])


def _record(answered: Answered, entry: Entry, vector: Vector, family: str, answer: bytes) -> Record:
    """Raises OutOfBounds."""
    return Record(
        key=entry.key,
        partition=answered.question.partition,
        text=answered.question.text,
        vector=pack_vector(vector),
        created=entry.created,
        expires=entry.expires,
        scope=entry.scope,
        endpoint=entry.endpoint,
        model=entry.model,
        served_model=entry.served_model,
        team=entry.team,
        upstream=entry.upstream,
        tags=entry.tags,
        family=family,
        answer=answer,
    )
