"""Tasks that serve one exchange after another."""

import asyncio
import weakref
from collections.abc import AsyncIterator

import pytest

from proxy.errors import Failure, Kind
from proxy.exchange import Exchange
from proxy.http1 import crew as crews
from proxy.http1.crew import Crew
from tests.fakes.polling import until
from tests.fakes.seams import FakeBody, FakeClient

GONE = Failure(Kind.CLIENT_CLOSED)


def asked() -> Exchange:
    return Exchange(
        method="POST", path="/", query=b"", headers=[], body=FakeBody(), client=FakeClient(), peer="", call_id="",
        started_at=0.0,
    )  # fmt: skip


class Served:
    """What became of exchanges: who served them, and how it ended."""

    def __init__(self) -> None:
        self.crew = Crew(asyncio.get_running_loop())
        self.go_on = asyncio.Event()
        self.by: list[asyncio.Task[None] | None] = []
        self.ended: list[tuple[Exchange, bool]] = []

    async def serve(self, exchange: Exchange) -> None:
        self.by.append(asyncio.current_task())
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ended.append((exchange, True))
        else:
            self.ended.append((exchange, False))

    def start(self, exchange: Exchange) -> None:
        self.crew.start(exchange, self.serve)

    async def rest(self) -> None:
        await until(lambda: not self.crew.serving)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    yield made
    made.crew.dismiss()
    made.go_on.set()


async def test_one_task_serves_one_after_another(served: Served) -> None:
    """And as many at once as there are exchanges."""
    served.go_on.set()
    for _ in range(3):
        served.start(asked())
        await served.rest()
    assert len(set(served.by)) == 1
    served.go_on.clear()
    for _ in range(3):
        served.start(asked())
    await until(lambda: len(served.by) == 6)
    assert len(set(served.by[3:])) == 3


async def test_who_is_cut_is_served_no_more(served: Served) -> None:
    """Nobody else is, and nobody is served by who was told to stop: it would stop the next one too."""
    left, stays = asked(), asked()
    served.start(left)
    served.start(stays)
    await until(lambda: len(served.by) == 2)
    served.crew.cut(left, GONE)
    await until(lambda: served.ended == [(left, True)])
    assert (left.cut_by, stays.cut_by, list(served.crew.serving)) == (GONE, None, [stays])
    served.go_on.set()
    await served.rest()
    served.start(asked())
    await served.rest()
    assert [cut for _, cut in served.ended] == [True, False, False]
    assert served.by[0] not in served.by[1:]


async def test_cutting_what_is_over_does_nothing(served: Served) -> None:
    """Whoever serves something else by now is left alone."""
    over, next_one = asked(), asked()
    served.go_on.set()
    served.start(over)
    await served.rest()
    served.go_on.clear()
    served.start(next_one)
    served.crew.cut(over, GONE)
    await until(lambda: len(served.by) == 2)
    served.go_on.set()
    await served.rest()
    assert served.ended == [(over, False), (next_one, False)]


@pytest.mark.parametrize("spare", [True, False])
async def test_what_is_cut_before_it_has_begun_is_not_served(served: Served, *, spare: bool) -> None:
    """Whether its task is new or was waiting; what comes after it is."""
    served.go_on.set()
    if spare:
        served.start(asked())
        await served.rest()
    served.by.clear()
    gone = asked()
    served.start(gone)
    served.crew.cut(gone, GONE)
    await served.rest()
    assert served.by == []
    served.start(asked())
    await served.rest()
    assert len(served.by) == 1


async def test_it_is_told_when_nothing_is_served(served: Served) -> None:
    """At once where nothing is."""
    assert served.crew.over().done()
    served.start(asked())
    over = served.crew.over()
    await until(lambda: served.by)
    assert not over.done()
    served.go_on.set()
    async with asyncio.timeout(2.0):
        await over
    assert not served.crew.serving


async def test_as_many_wait_as_may(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others end; and all do that are dismissed."""
    monkeypatch.setattr(crews, "SPARE", 2)
    served.crew = Crew(asyncio.get_running_loop())
    for _ in range(5):
        served.start(asked())
    await until(lambda: len(served.by) == 5)
    served.go_on.set()
    await served.rest()
    tasks = [task for task in served.by if task is not None]
    await until(lambda: sum(task.done() for task in tasks) == 3)
    served.crew.dismiss()
    await until(lambda: all(task.done() for task in tasks))


async def test_who_waits_holds_on_to_nothing(served: Served) -> None:
    """Neither to what was served, nor to who served it: settings may have changed since."""
    other = Served()
    other.go_on.set()
    exchange = asked()
    served.crew.start(exchange, other.serve)
    await served.rest()
    server, client = weakref.ref(other), weakref.ref(exchange.client)
    del other, exchange
    await until(lambda: server() is None and client() is None)
