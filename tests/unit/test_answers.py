"""What a stored answer says: read beside the event loop where it is long, and once."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cache.entry import Entry, EntryKind
from cache.semantic.lookup import Match
from proxy.semantic import answers
from proxy.semantic.answers import MAX_BYTES, Answers, digest_of
from tests.fakes.entries import json_entry
from tests.fakes.records import asked, record

WORD = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"so "},"finish_reason":null}]}\n\n'
)
END = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"


def said(words: int, name: object = 1) -> Entry:
    return json_entry(name, kind=EntryKind.STREAM, frames=(WORD,) * words + END)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """In which streams were put together."""
    found: list[threading.Thread] = []
    real: Callable[..., str | None] = vars(answers)["said"]

    def noted(*of: Any, **more: Any) -> str | None:
        found.append(threading.current_thread())
        return real(*of, **more)

    monkeypatch.setattr(answers, "said", noted)
    return found


@pytest.mark.parametrize(("words", "beside"), [(10, False), (1_000, True)])
async def test_what_is_long_is_read_beside(threads: list[threading.Thread], words: int, beside: bool) -> None:  # noqa: FBT001
    """No request waits for another's answer to be put together."""
    read = await Answers().read(said(words))
    assert read == ("so " * words, digest_of("so " * words))
    assert [thread is not threading.main_thread() for thread in threads] == [beside]


async def test_a_hit_reads_its_answer_once(threads: list[threading.Thread]) -> None:
    """However often it is served, and though who asked first had no time for it."""
    known, entry = Answers(), said(1_000)
    match = Match(record(1), record(1).asked[0], 1.0, 1, None, refused=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await known.is_answer(entry, match)
    assert [await known.is_answer(entry, match) for _ in range(3)] == [True] * 3
    assert len(threads) == 1


async def test_what_was_learnt_of_another_answer_does_not_hold() -> None:
    """An alias leads to the answer that it was proven for; the question itself to whatever is there."""
    known, entry = Answers(), said(3)
    for answer, of_alias in ((digest_of("so so so "), True), (bytes(32), False)):
        kept = record(1, answer=answer)
        for question, good in ((kept.asked[0], True), (asked("other"), of_alias)):
            assert await known.is_answer(entry, Match(kept, question, 0.9, 1, None, refused=False)) is good


async def test_what_is_too_long_is_nobody_elses_answer(threads: list[threading.Thread]) -> None:
    """Nor is it read."""
    entry = json_entry(1, frames=(b'{"choices":[{"message":{"content":"%b"}}]}' % (b"x" * MAX_BYTES),))
    assert await Answers().read(entry) is None
    assert threads == []
