"""What a comparison of answers writes into the log of labels."""

import numpy as np
import pytest

from cache.memory import Memory
from cache.semantic.decide import AUDIT, CONTESTED, GRAY, READ_AUDIT, Decision, Reading
from cache.semantic.learning.evidence import Party
from cache.semantic.learning.label_log import Label
from cache.semantic.lookup import Match, Question, Result, Sought
from cache.semantic.store.file_records import FileRecords
from cache.tiers import Tiers
from proxy.semantic.inquiry import Answered
from proxy.semantic.labelling import Labelling
from tests.fakes.entries import NOW, json_entry, key
from tests.fakes.records import DIMENSION, Hearer, asked, record

TEXT = "It takes 5 days."
NEAR = Match(record(1), asked("near"), 0.9, 1, None, refused=False)
READ = Decision(None, -1, GRAY, 0, False, (), reading=Reading(0, 0.97, enough=True))
ALICE = Party("team:alice", vouched=True)


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
        log, records, tiers, None, lambda *of: None, "v", audit=audit, requests=lambda: 7, wall=lambda: NOW
    )
    question = Question("How long?", key("partition"), "en", "m", key(2), ALICE)
    scored = NEAR if decision.reading is not None else None
    sought = Sought(Result.GRAY, None, decision, None, NEAR, scored=scored)
    answered = Answered(question, sought, json_entry(2), "account", "scope", shadow=shadow)
    await labelling.compare(answered, TEXT, np.full(DIMENSION, 0.25, np.float32))
    return log


def missed(rule: str) -> Decision:
    return Decision(None, -1, rule, 0, rule == AUDIT, ())


async def families(near: str, rival: str) -> tuple[str, int, int, list[Label]]:
    """Of what is contested: the question's family, how often either is blamed, and labels. The fresh answer is TEXT."""
    tiers = Tiers(Memory(1 << 20), None, None, Counted(), lambda: NOW)
    records, log = FileRecords(Hearer(), max_bytes=1 << 20, wall=lambda: NOW), Log()
    beside = Match(record(3, family=key("family")), asked("beside"), 0.88, 1, None, refused=False)
    for name, match, text in ((1, NEAR, near), (3, beside, rival)):
        tiers.keep(json_entry(name, frames=(b'{"choices":[{"message":{"content":"%b"}}]}' % text.encode(),)), None)
        await records.put(match.record)
    labelling = Labelling(
        log, records, tiers, None, lambda *of: None, "v", audit=0.02, requests=lambda: 7, wall=lambda: NOW
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
    kin = await labelling.compare(answered, TEXT, np.full(DIMENSION, 0.25, np.float32))
    kept = await records.get([key(1), key(3)])
    assert not kept[key(3)].aliases
    return kin.family, kept[key(1)].wrong, kept[key(3)].wrong, log


async def test_a_rival_says_which_family_where_the_best_was_not_right() -> None:
    """And nothing else: it is not blamed where it is wrong too, and no threshold hears of it."""
    assert await families("It takes 7 days.", TEXT) == (key("family"), 1, 0, [])
    assert await families("It takes 7 days.", "It takes 9 days.") == ("", 1, 0, [])
    assert await families("Long, as far as one knows.", TEXT) == (key("family"), 0, 0, [])
    assert await families(TEXT, TEXT) == (key(1), 0, 0, [])


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
