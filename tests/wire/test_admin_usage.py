"""The ledger over the admin API: usage, the latest requests, and who changed what; from either store."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, final

import pytest
from aiohttp import web

from proxy.admin import Admin, Gate, Readiness
from proxy.admin.usage_routes import UsageRoutes
from proxy.config import Secret
from proxy.telemetry.metrics import Metrics
from tests.fakes.admin import TOKEN
from tests.fakes.ledger import NOW, STORES, Shelf, row, shelf
from tests.fakes.raw import RawClient, Response
from tests.fakes.redis_server import RedisServer


@final
class Listener:
    """A private listener with a ledger behind it."""

    def __init__(self, store: Shelf, url: str) -> None:
        self.store = store
        self.url = url

    async def ask(self, path: str, token: str = TOKEN) -> Response:
        async with RawClient(self.url) as client:
            return await client.ask("GET", f"/admin/v1/{path}", headers=[("authorization", f"Bearer {token}")])

    async def get(self, path: str) -> Any:
        await self.store.settle()
        response = await self.ask(path)
        assert response.status == 200, response.body
        assert response.header(b"content-type") == b"application/json"
        return response.json()


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with shelf(request.param, file=tmp_path / "data" / "ledger", redis=redis_server.url) as opened:
        yield opened


@pytest.fixture
async def listener(store: Shelf) -> AsyncIterator[Listener]:
    routes = UsageRoutes(store.book, wall=store.wall)
    admin = Admin(Metrics(), Readiness(), Gate(Secret(TOKEN), time.monotonic), routes)
    runner = web.AppRunner(admin.application(), access_log=None)
    await runner.setup()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield Listener(store, f"http://{host}:{port}")


async def test_usage(listener: Listener) -> None:
    """Dollars are exact, what nobody knows the price of is counted, what is not used is not there."""
    await listener.store.put(
        row(1, cost=1, used={"input": 5, "cached_input": 2}),
        row(2, cost=1_500_000_000, key="bob", status=429, error="rate_limit_exceeded"),
        row(3, cost=None, estimated=True, used={"output": 4}, saved=2_000_000),
        row(4, time=NOW - 30 * 86_400),
    )
    found = await listener.get("usage?by=key")
    assert (found["by"], found["since"], found["until"]) == ("key", "2026-11-15", "2026-11-21")
    assert [(line["name"], line["cost_usd"], line["requests"]) for line in found["lines"]] == [
        ("bob", "1.50", 1),
        ("alice", "0.000000001", 2),
    ]
    assert found["lines"][1] == {
        "name": "alice", "requests": 2, "failed": 0, "refused": 0, "estimated": 1, "unpriced": 1,
        "bytes_in": 600, "bytes_out": 1_400,
        "cost_usd": "0.000000001", "saved_usd": "0.002", "duration_ms": 3_000,
        "used": {"input": 5, "cached_input": 2, "output": 4},
    }  # fmt: skip
    assert found["total"]["cost_usd"] == "1.500000001"
    assert (found["more"], found["lost"]) == (0, 0)


async def test_usage_of_some(listener: Listener) -> None:
    """Conditions narrow it, days bound it."""
    await listener.store.put(*(row(n, team=f"team-{n % 2}", time=NOW - n * 86_400) for n in range(6)))
    found = await listener.get("usage?by=day&team=team-1&since=2026-11-17&until=2026-11-20")
    assert [line["name"] for line in found["lines"]] == ["2026-11-18", "2026-11-20"]
    assert (await listener.get("usage?team=nobody"))["lines"] == []


async def test_requests(listener: Listener) -> None:
    """Page by page, each as it was."""
    rows = [row(n, time=NOW + n, cost=None if n == 2 else n, tags=("a",), first_token=2_500) for n in range(3)]
    await listener.store.put(*rows)
    first = await listener.get("requests?limit=2&key=alice&status=200&served_model=gpt-5-2026-08-01")
    rest = await listener.get(f"requests?limit=2&key=alice&cursor={first['cursor']}")
    assert [each["call_id"] for each in (*first["requests"], *rest["requests"])] == [
        each.call_id for each in reversed(rows)
    ]
    assert first["requests"][0] == {
        "call_id": "ask-test-00000002", "time": NOW + 2, "key": "alice", "team": "search",
        "endpoint": "chat/completions", "model": "gpt-5", "served_model": "gpt-5-2026-08-01", "upstream": "openai",
        "cache": "MISS", "used": {"input": 100, "output": 20}, "cost_usd": None, "saved_usd": "0.00",
        "estimated": False, "status": 200, "error": "", "attempts": 1, "duration_ms": 1_500.0, "first_token_ms": 2.5,
        "bytes_in": 300, "bytes_out": 700, "tags": ["a"],
    }  # fmt: skip


async def test_audit(listener: Listener) -> None:
    """The latest first, page by page."""
    book: Any = listener.store.book
    for number in range(3):
        await book.record("admin@10.0.0.1", "key.create", f"key:{number}", NOW + number, {"name": "n"})
    first = await listener.get("audit?limit=2")
    rest = await listener.get(f"audit?cursor={first['cursor']}")
    assert first["changes"][0] == {
        "time": NOW + 2, "who": "admin@10.0.0.1", "what": "key.create", "subject": "key:2", "details": {"name": "n"},
    }  # fmt: skip
    assert [each["subject"] for each in rest["changes"]] == ["key:0"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("usage?by=user", "by"),
        ("usage?since=soon", "since"),
        ("usage?until=2026-11-31", "until"),
        ("usage?day=1", "day"),
        ("usage?model=" + "m" * 300, "model"),
        ("requests?limit=0", "limit"),
        ("requests?limit=1001", "limit"),
        ("requests?cursor=x", "cursor"),
        ("requests?status=2xx", "status"),
        ("requests?since=now", "since"),
        ("requests?served=x", "served"),
        ("audit?cursor=x", "cursor"),
        ("audit?who=x", "who"),
    ],
)
async def test_what_can_not_be_asked(listener: Listener, path: str, field: str) -> None:
    """The answer names the field."""
    response = await listener.ask(path)
    assert (response.status, response.header(b"content-type")) == (400, b"application/problem+json")
    assert response.json()["field"] == field


@pytest.mark.parametrize("path", ["usage", "requests", "audit"])
async def test_only_who_has_the_token(listener: Listener, path: str) -> None:
    """The gate stands before all of them."""
    assert (await listener.ask(path, token="guessed")).status == 401


@pytest.mark.parametrize("path", ["usage?key=%ff", "requests?model=%ed%a0%80", "usage?model=%00", "requests?key=%27--"])
async def test_odd_names_find_nothing(listener: Listener, path: str) -> None:
    """And break nothing."""
    await listener.store.put(row(1))
    found = await listener.get(path)
    assert (found.get("lines"), found.get("requests")) in (([], None), (None, []))


async def test_a_store_that_takes_too_long(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 after a while, in which nobody else waits."""
    monkeypatch.setattr("proxy.ledger.sqlite_book.STEPS", 1)
    monkeypatch.setattr("proxy.ledger.stream_book.PATIENCE", 0.0)
    monkeypatch.setattr(listener.store.book, "_patience", 0.0, raising=False)
    response = await listener.ask("usage")
    assert (response.status, response.json()["detail"]) == (503, "the ledger takes too long; ask for less")


async def test_a_store_that_is_away(listener: Listener, redis_server: RedisServer, tmp_path: Path) -> None:
    """503, and nothing of where it is."""
    file = tmp_path / "data"
    file.write_text("no folder")
    redis_server.kill()
    for path in ("usage", "requests", "audit"):
        response = await listener.ask(path)
        assert response.status == 503
        assert "did not answer" in json.loads(response.body)["detail"]
        assert str(tmp_path).encode() not in response.body
