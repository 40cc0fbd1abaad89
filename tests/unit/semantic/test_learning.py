"""What becomes of what was known of a question that is answered anew."""

from typing import Any

import numpy as np
import pytest

from cache.semantic.lookup import Question, Result, Sought
from cache.semantic.store.file_records import FileRecords
from proxy.semantic.answers import digest_of
from proxy.semantic.inquiry import Answered
from proxy.semantic.learning import Kin, Learning, Pace
from tests.fakes.entries import NOW, json_entry, key
from tests.fakes.records import DIMENSION, Hearer, record

TEXT = "It takes 5 days."


class Known:
    """Says that the question leads to another's answer."""

    async def compare(self, *of: object) -> Kin:
        return Kin(key("family"), known=True)


@pytest.mark.parametrize(
    ("answer", "age", "stays"), [("It takes 7 days.", 1, False), (TEXT, 1, True), ("It takes 7 days.", -1, True)]
)
async def test_of_another_answer_nothing_holds(answer: str, age: float, stays: bool) -> None:  # noqa: FBT001
    """Even where the new one needs no record of its own; but what is newer was learnt by somebody else meanwhile."""
    records = FileRecords(Hearer(), max_bytes=1 << 20, wall=lambda: NOW)
    await records.put(record(2, answer=digest_of(answer), family=key("family"), created=NOW - age))
    embedder: Any = None
    learning = Learning(records, embedder, Pace(60, lambda: NOW), Known(), lambda *of: None)
    entry = json_entry(2, frames=(b'{"choices":[{"message":{"content":"%b"}}]}' % TEXT.encode(),))
    question = Question("What is 2?", key("partition"), "en", "m", key(2))
    sought = Sought(Result.NOTHING, np.full(DIMENSION, 0.25, np.float32))
    await learning.learn(Answered(question, sought, entry, "account", "scope", shadow=False))
    assert bool(await records.get([key(2)])) is stays
