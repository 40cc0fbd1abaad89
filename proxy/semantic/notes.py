"""What is written down of an answer that was served to another question than its own."""

import asyncio
from collections.abc import Callable
from typing import final

import msgspec

from cache.semantic.lookup import Question, Sought
from cache.semantic.store.origin import Origin
from cache.semantic.store.served import Served, ServedLog
from proxy.exchange import Exchange

__all__ = ["Notes"]


@final
class Notes:
    """`wall` is in seconds since the epoch; `forbids` tells whose texts were purged while they were on their way."""

    def __init__(self, served: ServedLog, forbids: Callable[[Origin], bool], wall: Callable[[], float]) -> None:
        self._served = served
        self._forbids = forbids
        self._wall = wall
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Notes {len(self._tasks)} under way>"

    def note(self, exchange: Exchange, question: Question, sought: Sought) -> None:
        """Nobody waits for it."""
        match, decision, asked_of = sought.served, sought.decision, question.origin
        if match is None or decision is None or decision.tier is None:
            return
        record = match.record
        if asked_of is not None:
            asked_of = msgspec.structs.replace(asked_of, served_model=record.served_model)
        if any(each is not None and self._forbids(each) for each in (asked_of, match.origin, record.origin)):
            return
        served = Served(
            time=self._wall(),
            call_id=exchange.call_id,
            stored=match.asked.text,
            asked=question.text,
            similarity=match.similarity,
            tier=decision.tier.value,
            rule=decision.rule,
            score=0.0 if decision.reading is None else decision.reading.score,
            asked_of=asked_of,
            stored_of=match.origin,
        )
        note = self._served.note(record.key, served, record.expires - self._wall())
        task = asyncio.get_running_loop().create_task(note)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def written(self) -> None:
        """Returns once all that was to be noted is."""
        if self._tasks:
            await asyncio.wait([*self._tasks])
