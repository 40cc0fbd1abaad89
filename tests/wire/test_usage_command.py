"""`askonce usage` against an admin listener that runs."""

import asyncio
import csv
import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import typer
from aiohttp import web
from typer.testing import CliRunner

from proxy.admin import Admin, Gate, Readiness
from proxy.admin.usage_routes import UsageRoutes
from proxy.cli.usage import By, usage
from proxy.config import Secret
from proxy.ledger import query
from proxy.telemetry.metrics import Metrics
from tests.fakes.admin import TOKEN
from tests.fakes.command import Printed
from tests.fakes.ledger import NOW, row, shelf
from tests.fakes.team import StartTeam


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """With two keys' requests of today, one without a price, and a loss."""
    async with shelf("sqlite", file=tmp_path / "ledger") as store:
        await store.put(
            row(1, key="alice", cost=1_000_000_123_456_789, model="=cmd|' /C calc'!A0"),
            row(2, key="bob", cost=None, saved=1_000_000, used={"input": 1_234_567, "reasoning": 3}),
            row(3, key="", cost=0, status=401),
        )
        await store.sink.recover("dead", 1_000)
        admin = Admin(
            Metrics(), Readiness(), Gate(Secret(TOKEN), time.monotonic), UsageRoutes(store.book, wall=lambda: NOW)
        )
        runner = web.AppRunner(admin.application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
        await runner.cleanup()


async def run(url: str, *arguments: str) -> Printed:
    app = typer.Typer()
    app.command()(usage)
    environ = {"ASKONCE_ADMIN_TOKEN": TOKEN}
    ended = await asyncio.to_thread(CliRunner().invoke, app, ["--admin-url", url, *arguments], env=environ)
    return Printed(ended.exit_code, ended.stdout, ended.stderr)


async def test_a_table(url: str) -> None:
    """The dearest first, with the total, money to the last nano-dollar; what is missing is said beside it."""
    printed = await run(url, "--by", "key")
    assert printed.code == 0
    head, *lines = [line.split() for line in printed.out.splitlines()]
    assert head == ["key", "requests", "failed", "input", "output", "cost", "saved"]
    assert [line[0] for line in lines] == ["alice", "-", "bob", "total"]
    assert lines[0][1:] == ["1", "0", "100", "20", "$1000000.123456789", "$0.00"]
    assert lines[2] == ["bob", "1", "0", "1,234,567", "0", "$0.00", "+", "?", "$0.001"]
    assert lines[3][5] == "$1000000.123456789"
    assert "1 requests have no known price" in printed.err
    assert "1,000 requests of these days are missing" in printed.err


def test_all_that_it_can_be_added_up_by() -> None:
    """What the ledger knows, the command takes."""
    assert [by.value for by in By] == [by.value for by in query.By]


@pytest.mark.parametrize("store", ["alone"])
async def test_keys_have_their_names(start_team: StartTeam) -> None:
    """Beside their ids, as people know them; whoever came without a key has none."""
    team = await start_team()
    alice = await team.key("alice of search")
    await team.ask(alice)
    await team.ask(None)
    await team.rows(2)
    printed = await run(team.gateway.admin_url, "--by", "key")
    head, *lines = printed.out.splitlines()
    assert head.split()[:3] == ["key", "name", "requests"]
    (hers,) = [line for line in lines if alice.id in line]
    assert hers.split()[1:5] == ["alice", "of", "search", "1"]
    assert [line.split()[:2] for line in lines if line != hers] == [["-", "1"], ["total", "2"]]


async def test_json(url: str) -> None:
    """What the admin API said."""
    printed = await run(url, "--by", "day", "--json", "--since", "1d")
    found = json.loads(printed.out)
    assert [line["name"] for line in found["lines"]] == ["2026-11-21"]
    assert found["total"]["cost_usd"] == "1000000.123456789"


async def test_csv(url: str) -> None:
    """All measures, a line for each; a model's name is no formula."""
    printed = await run(url, "--by", "model", "--csv")
    first, second = csv.DictReader(io.StringIO(printed.out))
    assert first["model"] == "'=cmd|' /C calc'!A0"
    assert (second["model"], second["requests"], second["input"], second["reasoning"]) == ("gpt-5", "2", "1234667", "3")
    assert "total" not in printed.out


async def test_what_narrows_it(url: str) -> None:
    """Keys, teams, models and days."""
    assert "bob" not in (await run(url, "--by", "key", "--key", "alice", "--team", "search")).out
    assert (await run(url, "--until", "2026-11-20", "--json")).out.count('"requests": 0') == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--since", "12h"], "since: a date such as 2026-11-21, or a number of days such as 7d"),
        (["--json", "--csv"], "either --json or --csv"),
    ],
)
async def test_what_it_can_not_do(url: str, arguments: list[str], why: str) -> None:
    """One line, and exit 1."""
    printed = await run(url, *arguments)
    assert printed.code == 1
    assert why in printed.err
    assert len(printed.err.splitlines()) == 1
