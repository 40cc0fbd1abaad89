"""What becomes of what was known of a question that is answered anew."""

from typing import Any

import numpy as np
import pytest

from cache.semantic.lookup import Question, Result, Sought
from cache.semantic.store.file_records import FileRecords
from proxy.semantic.answers import Answers, digest_of
from proxy.semantic.inquiry import Answered
from proxy.semantic.learning import Kin, Learning, Pace
from tests.fakes.entries import NOW, json_entry, key
from tests.fakes.records import DIMENSION, Hearer, record

TEXT = "It takes 5 days."


class Known:
    """Says that the question leads to another's answer."""

    async def compare(self, *of: object, lead: bool) -> Kin:
        return Kin(key("family"), known=True)


@pytest.mark.parametrize(
    ("answer", "age", "stays"), [("It takes 7 days.", 1, False), (TEXT, 1, True), ("It takes 7 days.", -1, True)]
)
async def test_of_another_answer_nothing_holds(answer: str, age: float, stays: bool) -> None:  # noqa: FBT001
    """Even where the new one needs no record of its own; but what is newer was learnt by somebody else meanwhile."""
    records = FileRecords(Hearer(), max_bytes=1 << 20, wall=lambda: NOW)
    await records.put(record(2, answer=digest_of(answer), family=key("family"), created=NOW - age))
    embedder: Any = None
    learning = Learning(records, Answers(), embedder, Pace(60, lambda: NOW), Known(), lambda *of: None)
    entry = json_entry(2, frames=(b'{"choices":[{"message":{"content":"%b"}}]}' % TEXT.encode(),))
    question = Question("What is 2?", key("partition"), "en", "m", key(2))
    sought = Sought(Result.NOTHING, np.full(DIMENSION, 0.25, np.float32))
    await learning.learn(Answered(question, sought, entry, "account", "scope", shadow=False))
    assert bool(await records.get([key(2)])) is stays


class Leading:
    """Leads wherever it may."""

    def __init__(self) -> None:
        self.may: list[bool] = []

    async def compare(self, *of: object, lead: bool) -> Kin:
        self.may.append(lead)
        return Kin(key("family"), known=lead)


async def learned(records: Any, labels: Any, count: int = 1) -> list[str]:
    """Of so many questions of one account, of which two a minute may be remembered."""
    told: list[str] = []
    embedder: Any = None
    learning = Learning(records, Answers(), embedder, Pace(2, lambda: NOW), labels, told.append)
    for name in range(2, 2 + count):
        entry = json_entry(name, frames=(b'{"choices":[{"message":{"content":"%b"}}]}' % TEXT.encode(),))
        question = Question(f"What is {name}?", key("partition"), "en", "m", key(name))
        sought = Sought(Result.NOTHING, np.full(DIMENSION, 0.25, np.float32))
        await learning.learn(Answered(question, sought, entry, "account", "scope", shadow=False))
    return told


async def test_who_learns_too_fast_makes_no_aliases_either() -> None:
    """Answers are compared all the same."""
    labels = Leading()
    told = await learned(FileRecords(Hearer(), max_bytes=1 << 20, wall=lambda: NOW), labels, 3)
    assert (told, labels.may) == (["alias", "alias", "too-fast"], [True, True, False])


class Away:
    """Records that nobody can read, or be asked for anything else."""

    async def read(self, keys: object) -> object:
        raise ConnectionError


async def test_where_nobody_knows_what_was_there_nothing_is_learnt() -> None:
    """What was learnt of another answer might be kept with this one."""
    labels = Leading()
    assert await learned(Away(), labels) == ["down"]
    assert labels.may == []
