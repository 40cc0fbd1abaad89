"""After a miss: was the answer that was near right for this question as well?

What the comparison of the answers does not tell, a judge is asked, if there is one. What is found goes into the log of
labels, from which thresholds come, and into the record: a wrong answer takes a higher similarity from then on, and is
never served to that question again, nor that question's to its own; a right one is known by this question too. What was
plainly wrong for two questions is served to its own alone: the answers contradict each other, or a judge says NO. One
question does not count twice, and what nobody is sure of counts for thresholds only. Where nothing was right, what was
nearly as near is compared as well, if a judge has time and money left for it: it may say the same, and is of one family
then; where it does not, the two are not compared again, and nobody is blamed.
"""

from collections.abc import Callable
from typing import Final, Protocol, final

from cache.entry import Entry
from cache.semantic.embed import Vector
from cache.semantic.learning.label_log import Label, bare
from cache.semantic.learning.labels import Verdict, compare_answers
from cache.semantic.lookup import Match
from cache.semantic.store.origin import Origin
from cache.semantic.store.record import Asked, Change, Record, refusal
from cache.semantic.store.records import Changed, Records
from cache.semantic.store.vectors import pack_vector
from cache.tiers import Tiers
from proxy.semantic.answers import Answers
from proxy.semantic.inquiry import Answered
from proxy.semantic.learning import Kin
from proxy.semantic.targets import Standing, Target, targets

__all__ = ["Judges", "Labelling"]

ABOVE: Final = 1e-6
"""By which a similarity that was wrong is not enough any more."""


class Log(Protocol):
    def add(self, label: Label) -> None: ...


class Judges(Protocol):
    async def ask(self, question: str, stored: str, fresh: str, *, party: str = "", spare: bool = False) -> Verdict:
        """Whether the stored answer says what the fresh one says to this question; UNKNOWN where nobody was asked.

        `party` is for whom. `spare`: no threshold needs it, and what one needs goes first.
        """


@final
class Labelling:
    """`told` counts verdicts, who gave them, and of what. `verifier` is whose scores there are, "" for nobody's.

    `audit` is the part of what is served that is labelled.

    `wall` is in seconds since the epoch; `requests` gives how many there were since it was asked last.
    """

    def __init__(
        self,
        log: Log,
        records: Records,
        tiers: Tiers,
        answers: Answers,
        judge: Judges | None,
        told: Callable[[str, str, str], object],
        verifier: str = "",
        *,
        audit: float,
        requests: Callable[[], int],
        wall: Callable[[], float],
    ) -> None:
        self._log = log
        self._records = records
        self._tiers = tiers
        self._answers = answers
        self._judge = judge
        self._told = told
        self._verifier = verifier
        self._audit = audit
        self._requests = requests
        self._wall = wall

    def __repr__(self) -> str:
        return f"<Labelling {self._log!r} {self._judge!r}>"

    async def compare(self, answered: Answered, text: str, vector: Vector, *, lead: bool) -> Kin:
        """Implements `learning.Labels`."""
        kin, contested = Kin(), False
        for place, target in enumerate(targets(answered.sought, self._verifier, shadow=answered.shadow)):
            if target.last and not contested:
                break
            found = await self._compare(answered, target, text, vector if lead else None)
            if found is None:
                continue
            contested = (contested or not place) and not found.family
            better = kin if kin.family else found
            kin = better._replace(refuses=(*kin.refuses, *found.refuses))
        return kin

    async def _compare(self, answered: Answered, target: Target, text: str, vector: Vector | None) -> Kin | None:
        """None where nobody knows. Without a `vector` the question leads nowhere."""
        match = target.match
        stored = await self._stored(match.record)
        if stored is None:
            return None
        verdict, by = compare_answers(stored, text), "answer"
        free = target.last and target.refused  # what it could teach is worth nobody's money
        if verdict is Verdict.UNKNOWN and self._judge is not None and not free:
            asked, party = answered.question.text, answered.question.party.name
            verdict = await self._judge.ask(asked, stored, text, party=party, spare=target.last)
            by = "judge"
        self._told(verdict.value, by, target.told)
        if verdict is Verdict.UNKNOWN:
            return None
        right = verdict is Verdict.RIGHT
        for place, standing in enumerate(target.standings):
            label = self._label(answered, match, standing, right=right)
            self._log.add(bare(label) if place else label)
        if right:
            if vector is None or target.refused or target.last:
                return Kin(match.record.kin)
            return Kin(match.record.kin, await self._lead(answered, match, vector))
        if target.refused:
            return Kin()  # what the guard refuses was not going to be served
        await self._blame(target, answered.question.text, plainly=verdict is Verdict.WRONG)
        return Kin(refuses=(refusal(match.asked.text),))

    async def _blame(self, target: Target, asked: str, *, plainly: bool) -> None:
        """For this question it is never served again, and for none that is as far away for its similarity; but nobody
        chose a rival, and it has only the question to remember.
        """
        match, refused, record = target.match, refusal(asked), target.match.record
        change = Change(min(match.similarity + ABOVE, 2.0), int(plainly), refused=refused, answer=record.answer)
        if target.last:
            change = Change(refused=refused, answer=record.answer)
        await self._records.change(record.key, record.partition, change)

    async def _stored(self, record: Record) -> str | None:
        """None also where it is not the answer any more that the record and its family are about."""
        entry = self._tiers.memory.get(record.key, self._wall()) or await self._tiers.fetch(record.key)
        found = await self._answers.read(entry) if isinstance(entry, Entry) else None
        return None if found is None or (record.answer and found.digest != record.answer) else found.text

    def _label(self, answered: Answered, match: Match, standing: Standing, *, right: bool) -> Label:
        decision = answered.sought.decision
        return Label(
            at=self._wall(),
            group=answered.question.group[:256],
            similarity=standing.measure,
            right=right,
            standing=standing.name,
            rule=match.compared.rule if match.compared is not None else "",
            weight=1 / self._audit if standing.drawn and self._audit else 1.0,
            requests=self._requests(),
            key=match.record.key,
            asked=answered.question.text,
            stored=match.asked.text,
            witnessed=decision is not None and decision.witnessed,
            party=answered.question.party,
            asked_of=Origin.of(answered.entry),
            stored_of=match.origin,
        )

    async def _lead(self, answered: Answered, gray: Match, vector: Vector) -> bool:
        """From this question to the answer that it might have had. False: there is no place for it."""
        record = gray.record
        alias = Asked(answered.question.text, pack_vector(vector), Origin.of(answered.entry))
        change = Change(alias=alias, answer=record.answer)
        return await self._records.change(record.key, record.partition, change) is Changed.CHANGED
