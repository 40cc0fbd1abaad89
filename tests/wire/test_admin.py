"""The private listener."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from proxy.admin import Admin, Gate, Readiness, State
from proxy.config import Secret
from proxy.telemetry.metrics import Metrics
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, Response


class Private:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.readiness = Readiness()
        admin = Admin(self.metrics, self.readiness, Gate(Secret(""), time.monotonic))
        self._runner = web.AppRunner(admin.application(), access_log=None)
        self.url = ""

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def ask(self, method: str, target: str) -> Response:
        async with RawClient(self.url) as client:
            return await client.ask(method, target)


@pytest.fixture
async def private() -> AsyncIterator[Private]:
    private = Private()
    await private.start()
    yield private
    await private.stop()


async def test_metrics_are_prometheus_text(private: Private) -> None:
    """/metrics answers in the text format with what has been counted, the latest plain numbers included."""
    private.metrics.in_flight = 2
    answer = await private.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.header(b"content-type") == b"text/plain; version=0.0.4; charset=utf-8"
    assert b"\naskonce_in_flight 2.0\n" in answer.body


async def test_rendering_does_not_hold_up_the_loop(private: Private, monkeypatch: pytest.MonkeyPatch) -> None:
    """While metrics render, other requests are answered; two scrapes render one after the other."""
    gate, running, most = threading.Event(), [0], [0]

    def render(_metrics: Metrics) -> tuple[bytes, str]:
        running[0] += 1
        most[0] = max(most[0], running[0])
        gate.wait(5.0)
        running[0] -= 1
        return b"", "text/plain"

    monkeypatch.setattr(Metrics, "render", render)
    scrapes = asyncio.gather(private.ask("GET", "/metrics"), private.ask("GET", "/metrics"))
    try:
        await until(lambda: running[0])
        for _ in range(10):
            assert (await private.ask("GET", "/healthz")).status == 200
    finally:
        gate.set()
    assert [answer.status for answer in await scrapes] == [200, 200]
    assert most == [1]


async def test_healthz_is_alive_whatever_the_state(private: Private) -> None:
    """Alive while starting and draining too."""
    private.readiness.drain()
    answer = await private.ask("GET", "/healthz")
    assert (answer.status, answer.json()) == (200, {"status": "alive"})


async def test_readyz_follows_the_life_of_the_process(private: Private) -> None:
    """503 with the reason while starting and draining, 200 between."""
    seen = []
    for change in (None, private.readiness.ready, private.readiness.drain):
        if change is not None:
            change()
        answer = await private.ask("GET", "/readyz")
        seen.append((answer.status, answer.json()["status"]))
    assert seen == [(503, "starting"), (200, "ready"), (503, "draining")]


def test_draining_is_final() -> None:
    """A process that drains never becomes ready again."""
    readiness = Readiness()
    readiness.drain()
    readiness.ready()
    assert readiness.state is State.DRAINING
    assert repr(readiness) == "<Readiness draining>"


@pytest.mark.parametrize("target", ["/", "/v1/models", "/admin", "/admin/v2/x", "/metrics/", "/debug"])
async def test_what_is_not_there_is_a_problem(private: Private, target: str) -> None:
    """404 in the shape of RFC 9457."""
    answer = await private.ask("GET", target)
    assert answer.status == 404
    assert answer.header(b"content-type") == b"application/problem+json"
    assert answer.json() == {"type": "about:blank", "title": "Not Found", "status": 404}


async def test_a_wrong_method_names_the_right_ones(private: Private) -> None:
    """405 with Allow."""
    answer = await private.ask("POST", "/metrics")
    assert (answer.status, answer.header(b"allow")) == (405, b"GET,HEAD")
    assert answer.json()["status"] == 405


@pytest.mark.parametrize("target", ["/metrics", "/healthz", "/readyz"])
async def test_head_is_get_without_a_body(private: Private, target: str) -> None:
    """HEAD answers with the status and no body."""
    private.readiness.ready()
    answer = await private.ask("HEAD", target)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("target", ["/metrics", "/readyz", "/nowhere"])
async def test_nothing_tells_the_software_or_is_kept(private: Private, target: str) -> None:
    """The server's name has no version, and no answer is cached."""
    answer = await private.ask("GET", target)
    assert answer.header(b"server") == b"askonce"
    assert answer.header(b"cache-control") == b"no-store"
