"""What a lookup remembers of questions."""

import gc
import sys
from collections import OrderedDict
from itertools import product

import pytest

from cache.semantic import lookup as lookup_module
from cache.semantic.decide import Settings, Thresholds
from cache.semantic.embed import TimelyEmbedder
from cache.semantic.embedders.asked import AskedWork
from cache.semantic.guard import Guard, Prepared, prepare
from cache.semantic.index import Index
from cache.semantic.indexing import Indexing
from cache.semantic.lookup import QUICK, Lookup, quick_to_prepare
from cache.semantic.store.file_records import FileRecords
from tests.fakes.clock import Clock

TEXTS = [
    *("How do I reset my router?", "how can i rest my router", "How do I reset two routers on 3 May 2024?"),
    *("What does `git rebase -i HEAD~3` do?", 'Who wrote "The Tempest"?', "Isn't it 25 km to https://example.org/a?"),
    *("Can I fly from Rome to Oslo?", "Can I fly from Oslo to Rome?", "Wie melde ich mich ab? äöü 日本"),
]


async def ask(_text: str) -> list[float]:
    return [1.0, 0.0]


def made(guard: Guard) -> Lookup:
    clock = Clock()
    index = Index(2, max_bytes=1 << 20)
    embedder = TimelyEmbedder(AskedWork(ask, 2), "f" * 64, 2, clock)
    records = FileRecords(Indexing(index, 2), max_bytes=1 << 20, wall=clock)
    settings = Settings(), lambda _group, _party: Thresholds()
    return Lookup(embedder, index, records, guard, *settings, draw=lambda: 0.5, wall=clock)


def tracked() -> int:
    gc.collect()
    return sum(isinstance(each, Prepared) for each in gc.get_objects())


async def test_what_is_remembered_of_a_question_is_all_that_was_prepared() -> None:
    """Compared a second time, any two are to each other what they were."""
    guard = Guard()
    lookup = made(guard)
    for one, other in [*product(TEXTS, TEXTS)] * 2:
        assert lookup.compare(one, other, guarded=True) == guard.compare(prepare(one), prepare(other))


async def test_what_is_remembered_of_questions_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long they are; the least recently used go first."""
    monkeypatch.setattr(lookup_module, "PREPARED_BYTES", 50_000)
    lookup, most = made(Guard()), 0
    for number in range(60):
        lookup.compare(f"Why {number} " + "is a qzx a wvb of " * 40, "Why?", guarded=True)
        most = max(most, lookup.bytes)
    held = [each for each in gc.get_objects() if isinstance(each, OrderedDict) and "Why?" in each]
    assert len(held) == 1
    assert sum(sys.getsizeof(each) for pair in held[0].items() for each in pair) < most <= 50_000
    assert 2 < len(held[0]) < 30


async def test_what_is_remembered_of_questions_is_nothing_to_collect() -> None:
    """However many there are, a collection of garbage has nothing of them to look through."""
    lookup, before = made(Guard()), tracked()
    for number in range(200):
        lookup.compare(f"How do I reset router number {number}?", "How do I reset it?", guarded=True)
    assert "201 prepared" in repr(lookup)
    assert tracked() == before


def test_only_few_and_plain_letters_are_prepared_at_once() -> None:
    """The event loop is not held by a long text, nor by letters that stand for many."""
    assert quick_to_prepare("x" * QUICK)
    assert not quick_to_prepare("x" * (QUICK + 1))
    assert not quick_to_prepare("\ufdfa")
