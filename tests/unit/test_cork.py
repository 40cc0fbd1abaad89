"""Whole messages of one turn of the event loop leave together, and in order."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.http1.cork import Cork
from tests.fakes.polling import until


class Writer:
    def __init__(self, *steps: Callable[[], object]) -> None:
        self.written = False
        self._steps = steps

    def uncork(self) -> None:
        self.written = True
        for step in self._steps:
            step()


def fail() -> None:
    raise RuntimeError("a bug")


async def test_in_the_order_in_which_they_came_once_the_turn_is_over() -> None:
    """None of them before."""
    order: list[int] = []
    cork = Cork(asyncio.get_running_loop())
    writers = [Writer(lambda place=place: order.append(place)) for place in range(3)]  # type: ignore[misc]
    for writer in writers:
        cork.hold(writer)
    assert order == []
    await until(lambda: order == [0, 1, 2])


async def test_who_is_held_as_others_are_written_has_a_turn_of_his_own() -> None:
    """Or those who are quick to answer could keep all others waiting."""
    cork, last = Cork(asyncio.get_running_loop()), Writer()
    first = Writer(lambda: cork.hold(last))
    cork.hold(first)
    await asyncio.sleep(0)
    assert (first.written, last.written) == (True, False)
    await until(lambda: last.written)


async def test_a_bug_costs_one_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and the others are written."""
    loop = asyncio.get_running_loop()
    told: list[object] = []
    monkeypatch.setattr(Writer, "__repr__", lambda _: "<Writer>")
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    cork, other = Cork(loop), Writer()
    cork.hold(Writer(fail))
    cork.hold(other)
    await until(lambda: other.written)
    assert told == ["write of <Writer>"]
