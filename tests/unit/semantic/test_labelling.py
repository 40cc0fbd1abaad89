"""What a comparison of answers writes into the log of labels."""

from typing import Any

import numpy as np
import pytest

from cache.memory import Memory
from cache.semantic.decide import AUDIT, CONTESTED, GRAY, READ_AUDIT, Decision, Reading
from cache.semantic.finding import Compared, Finding
from cache.semantic.learning.evidence import Party
from cache.semantic.learning.label_log import RIVAL, Label
from cache.semantic.learning.labels import Verdict
from cache.semantic.lookup import Match, Question, Result, Sought
from cache.semantic.store.file_records import FileRecords
from cache.semantic.store.origin import Origin
from cache.semantic.store.record import Record, refusal
from cache.tiers import Tiers
from proxy.semantic.answers import Answers, digest_of
from proxy.semantic.inquiry import Answered
from proxy.semantic.labelling import Labelling
from proxy.semantic.learning import Kin
from tests.fakes.entries import NOW, json_entry, key
from tests.fakes.records import DIMENSION, Hearer, asked, record

TEXT = "It takes 5 days."
UNCLEAR = "Long, as far as one knows."
NEAR = Match(record(1), asked("near"), 0.9, 1, None, refused=False)
READ = Decision(None, -1, GRAY, 0, False, (), reading=Reading(0, 0.97, enough=True))
ALICE = Party("team:alice", vouched=True)
VECTOR = np.full(DIMENSION, 0.25, np.float32)


class Log(list[Label]):
    add = list[Label].append


class Counted:
    def looked_up(self, tier: str, result: str) -> None: ...

    def written(self, tier: str, result: str) -> None: ...


async def labels(decision: Decision, *, audit: float = 0.02, shadow: bool = False) -> list[Label]:
    """Of a question that `decision` made a miss of, and whose answer is that of what was near."""
    tiers = Tiers(Memory(1 << 20), None, None, Counted(), lambda: NOW)
    tiers.keep(json_entry(1, frames=(b'{"choices":[{"message":{"content":"%b"}}]}' % TEXT.encode(),)), None)
    records, log = FileRecords(Hearer(), max_bytes=1 << 20, wall=lambda: NOW), Log()
    await records.put(NEAR.record)
    labelling = Labelling(
        log, records, tiers, Answers(), None, lambda *of: None, "v", audit=audit, requests=lambda: 7, wall=lambda: NOW
    )
    question = Question("How long?", key("partition"), "en", "m", key(2), ALICE)
    scored = NEAR if decision.reading is not None else None
    sought = Sought(Result.GRAY, None, decision, None, NEAR, scored=scored)
    answered = Answered(question, sought, json_entry(2), "account", "scope", shadow=shadow)
    await labelling.compare(answered, TEXT, VECTOR, lead=True)
    return log


def missed(rule: str) -> Decision:
    return Decision(None, -1, rule, 0, rule == AUDIT, ())


class Judge:
    """Says the same to all, and remembers whether it was asked in its spare time."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.spare: list[bool] = []

    async def ask(self, question: str, stored: str, fresh: str, *, party: str = "", spare: bool = False) -> Verdict:
        self.spare.append(spare)
        return self.verdict


async def contested(
    near: str, rival: str, judge: Judge | None = None, *, veto: str = ""
) -> tuple[Kin, Record, Record, list[Label]]:
    """What came of it for the question, what was near, and its rival; and labels. The fresh answer is TEXT."""
    tiers = Tiers(Memory(1 << 20), None, None, Counted(), lambda: NOW)
    records, log = FileRecords(Hearer(), max_bytes=1 << 20, wall=lambda: NOW), Log()
    found = Compared(Finding.VETO, veto) if veto else None
    beside = Match(record(3, family=key("family")), asked("beside"), 0.88, 1, found, refused=False)
    for name, match, text in ((1, NEAR, near), (3, beside, rival)):
        tiers.keep(json_entry(name, frames=(b'{"choices":[{"message":{"content":"%b"}}]}' % text.encode(),)), None)
        await records.put(match.record)
    labelling = Labelling(
        log, records, tiers, Answers(), judge, lambda *of: None, "v", audit=0.02, requests=lambda: 7, wall=lambda: NOW
    )
    sought = Sought(Result.GRAY, None, missed(CONTESTED)._replace(rival=1), None, NEAR, beside)
    answered = Answered(
        Question("How long?", key("partition"), "en", "m", key(2), ALICE),
        sought,
        json_entry(2),
        "account",
        "scope",
        shadow=False,
    )
    kin = await labelling.compare(answered, TEXT, VECTOR, lead=True)
    kept = await records.get([key(1), key(3)])
    return kin, kept[key(1)], kept[key(3)], log


async def test_a_rival_says_which_family_where_the_best_was_not_right() -> None:
    """And the question stays one of its own."""
    kin, near, rival, (label,) = await contested("It takes 7 days.", TEXT)
    assert (kin.family, kin.known, near.wrong, rival.aliases) == (key("family"), False, 1, ())
    assert (label.standing, label.right, label.similarity, label.key) == (RIVAL, True, 0.88, rival.key)
    kin, near, _, log = await contested(TEXT, TEXT)
    assert (kin.family, kin.known, log) == (near.kin, True, [])


async def test_a_rival_that_is_wrong_is_not_compared_again() -> None:
    """Neither of the two by the other; but nobody is blamed, for nobody has chosen it."""
    kin, _, rival, (label,) = await contested("It takes 7 days.", "It takes 9 days.")
    assert (rival.refuses(refusal("How long?")), rival.wrong, rival.min_similarity) == (True, 0, 0.0)
    assert kin == Kin(refuses=(refusal("May I ask near?"), refusal("May I ask beside?")))
    assert (label.standing, label.right) == (RIVAL, False)


async def test_where_nobody_knows_of_the_best_no_rival_is_compared() -> None:
    """Its comparison would teach nothing of why that was not right. Else a judge reads it in its spare time."""
    away = Judge(Verdict.UNKNOWN)
    assert (await contested(UNCLEAR, UNCLEAR, away))[0] == Kin()
    assert away.spare == [False]
    assert (await contested(UNCLEAR, TEXT))[0] == Kin()
    there = Judge(Verdict.WRONG)
    await contested(UNCLEAR, UNCLEAR, there)
    assert there.spare == [False, True]


async def test_no_judge_is_asked_about_a_rival_that_is_vetoed() -> None:
    """Where the answers are equal that is seen without one; and what the guard has refused has nothing to remember."""
    there = Judge(Verdict.WRONG)
    kin, _, rival, log = await contested(UNCLEAR, "Some say so, others not.", there, veto="number")
    assert (there.spare, rival.refused, log) == ([False], b"", [])
    assert kin.refuses == (refusal("May I ask near?"),)
    assert (await contested(UNCLEAR, TEXT, there, veto="number"))[0].family == key("family")


async def test_what_was_learnt_of_another_answer_is_not_compared() -> None:
    """The record is not written yet, and the answer is there already."""
    tiers = Tiers(Memory(1 << 20), None, None, Counted(), lambda: NOW)
    tiers.keep(json_entry(1, frames=(b'{"choices":[{"message":{"content":"%b"}}]}' % TEXT.encode(),)), None)
    records = FileRecords(Hearer(), max_bytes=1 << 20, wall=lambda: NOW)
    labelling = Labelling(
        Log(), records, tiers, Answers(), None, lambda *of: None, audit=0, requests=lambda: 7, wall=lambda: NOW
    )
    question = Question("How long?", key("partition"), "en", "m", key(2), ALICE)
    found = []
    for answer in (TEXT, UNCLEAR):
        match = NEAR._replace(record=record(1, answer=digest_of(answer)))
        sought = Sought(Result.GRAY, None, missed(GRAY), None, match)
        answered = Answered(question, sought, json_entry(2), "account", "scope", shadow=False)
        kin = await labelling.compare(answered, TEXT, VECTOR, lead=True)
        found.append(kin.family == match.record.kin)
    assert found == [True, False]


@pytest.mark.parametrize(("rule", "audit", "weight"), [(AUDIT, 0.02, 50.0), (GRAY, 0.02, 1.0), (AUDIT, 0.0, 1.0)])
async def test_what_was_drawn_stands_for_all_that_were_served(rule: str, audit: float, weight: float) -> None:
    """As many as one of which was drawn; what is never served stands for itself."""
    (label,) = await labels(missed(rule), audit=audit)
    assert (label.standing, label.weight, label.similarity, label.right) == (rule, weight, 0.9, True)
    assert (label.key, label.party, label.requests) == (key(1), ALICE, 7)


@pytest.mark.parametrize(("shadow", "weight"), [(False, 50.0), (True, 1.0)])
async def test_in_the_shadow_a_score_counts_once(shadow: bool, weight: float) -> None:  # noqa: FBT001
    """There all that a verifier would serve is compared, and not only what was drawn."""
    near, read = await labels(READ, shadow=shadow)
    assert (near.standing, near.weight) == (GRAY, 50.0)
    assert (read.standing, read.weight, read.similarity) == (f"{READ_AUDIT}:v", weight, 0.97)


async def test_what_was_proven_of_an_answer_leads_to_no_other() -> None:
    """A judge takes its time, and the question that was near is answered anew meanwhile, and otherwise."""
    tiers = Tiers(Memory(1 << 20), None, None, Counted(), lambda: NOW)
    tiers.keep(json_entry(1, frames=(b'{"choices":[{"message":{"content":"%b"}}]}' % UNCLEAR.encode(),)), None)
    records = FileRecords(Hearer(), max_bytes=1 << 20, wall=lambda: NOW)
    match = NEAR._replace(record=record(1, answer=digest_of(UNCLEAR)))
    await records.put(match.record)

    class Slow(Judge):
        async def ask(self, *of: Any, **more: Any) -> Verdict:
            await records.put(record(1, answer=digest_of("Not at all."), created=NOW + 1))
            return self.verdict

    for verdict in (Verdict.RIGHT, Verdict.WRONG):
        judge = Slow(verdict)
        labelling = Labelling(
            Log(), records, tiers, Answers(), judge, lambda *of: None, audit=0, requests=lambda: 7, wall=lambda: NOW
        )
        answered = Answered(
            Question("How long?", key("partition"), "en", "m", key(2), ALICE),
            Sought(Result.GRAY, None, missed(GRAY), None, match),
            json_entry(2),
            "account",
            "scope",
            shadow=False,
        )
        kin = await labelling.compare(answered, TEXT, VECTOR, lead=True)
        assert not kin.known
        fresh = (await records.get([key(1)]))[key(1)]
        assert (fresh.aliases, fresh.wrong, fresh.refused) == ((), 0, b"")


async def test_a_label_and_an_alias_say_whose_the_questions_are() -> None:
    """Who asked, and who had asked; an alias is of who brought it."""
    (label,) = await labels(missed(GRAY))
    assert label.whose == (Origin.of(json_entry(2)), None)
    assert NEAR._replace(asked=NEAR.record.asked[0]).origin == NEAR.record.origin
    kin, near, _, _ = await contested(TEXT, TEXT)
    assert kin.known
    assert [alias.origin for alias in near.aliases] == [Origin.of(json_entry(2))]
