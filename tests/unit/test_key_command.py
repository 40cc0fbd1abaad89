"""`askonce keys`, against the admin API of a worker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

import pytest
from typer.testing import CliRunner, Result

from proxy.cli.keys import keys
from proxy.config import ConfigError
from tests.fakes.admin import TOKEN
from tests.fakes.keyring import NOW, Keyring, Medium, WorkerKeys


@final
class Command:
    """Runs in a thread, so that the worker can answer it."""

    def __init__(self, worker: WorkerKeys, url: str) -> None:
        self.worker = worker
        self._options = ["--admin-url", url]

    async def run(self, *arguments: str) -> Result:
        environ = {"ASKONCE_ADMIN_TOKEN": TOKEN}
        return await asyncio.to_thread(CliRunner().invoke, keys, [*arguments, *self._options], env=environ)

    async def out(self, *arguments: str) -> str:
        result = await self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self.out(*arguments, "--json"))

    async def fails(self, *arguments: str) -> str:
        result = await self.run(*arguments)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        return result.stderr


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    async with AsyncExitStack() as stack:
        worker = await Keyring(Medium(tmp_path), tmp_path, stack).start()
        yield Command(worker, await stack.enter_async_context(worker.served()))


async def test_a_script_takes_the_secret_alone(command: Command) -> None:
    """Of a new key, and of one that is rotated: nothing else is on standard output."""
    secret = (await command.out("create", "ci", "--quiet")).removesuffix("\n")
    assert command.worker.opens(secret)
    (key,) = (await command.json("list"))["keys"]
    rotated = (await command.out("rotate", key["id"], "--grace", "0s", "-q")).removesuffix("\n")
    assert command.worker.opens(rotated)
    assert not command.worker.opens(secret)


async def test_people_see_it_once(command: Command) -> None:
    """In `create`, with the id; `list` and `show` show its end."""
    result = await command.run("create", "ann")
    assert "not shown again" in result.stderr
    (key,) = command.worker.table.listed()
    secret = next(word for word in result.stdout.split() if word.startswith("sk-ask-"))
    assert key.id in result.stdout
    for shown in (await command.out("list"), await command.out("show", key.id)):
        assert f"sk-ask-…{secret[-4:]}" in shown
        assert "ann" in shown
        assert secret not in shown


async def test_every_option_reaches_the_key(command: Command) -> None:
    """And `update` changes what it is given, and takes away what is given as nothing."""
    await command.out("team", "red", "--new", "--usd-per-month", "20")
    options = (
        "--team red --expires 30d --model gpt-5* --model o3 --endpoint embeddings --requests-per-minute 60"
        " --tokens-per-minute 9000 --requests-per-day 7 --concurrent-requests 2 --max-tokens 99 --usd-per-day 0.01"
        " --usd-per-month 5 --usd-in-all 100.5 --cache-scope key --semantic off --priority batch"
        " --metadata a=b=c"
    )
    key = (await command.json("create", "ann", *options.split()))["key"]
    limits = {"requests_per_minute": 60, "tokens_per_minute": 9_000, "requests_per_day": 7, "concurrent_requests": 2}
    expected = {
        "name": "ann", "team": "red", "expires": NOW + 30 * 86_400, "models": ["gpt-5*", "o3"],
        "endpoints": ["embeddings"], "limits": limits, "max_tokens": 99, "cache_scope": "key", "semantic": "off",
        "priority": "batch",
        "budgets": {"usd_per_day": 0.01, "usd_per_month": 5, "usd_in_all": 100.5}, "metadata": {"a": "b=c"},
    }  # fmt: skip
    assert {name: key[name] for name in expected} == expected
    options = (
        "--name bob --expires never --requests-per-minute none --requests-per-day 8 --usd-per-day none"
        " --max-tokens none --priority interactive --metadata a= --metadata c=d"
    )
    changed = await command.json("update", key["id"], *options.split(), "--team", "", "--model", "", "--semantic", "")
    assert changed == key | {
        "name": "bob", "team": None, "expires": None, "models": [], "metadata": {"c": "d"}, "max_tokens": None,
        "limits": {"tokens_per_minute": 9_000, "requests_per_day": 8, "concurrent_requests": 2},
        "budgets": {"usd_per_month": 5, "usd_in_all": 100.5}, "semantic": None,
        "priority": "interactive",
    }  # fmt: skip


async def test_an_amount_of_nothing_allows_nothing(command: Command) -> None:
    """As in config.toml; it is `none` that takes a limit away."""
    nothing = ("--requests-per-minute", "0", "--max-tokens", "0", "--usd-per-day", "0")
    key = (await command.json("create", "ann", *nothing))["key"]
    assert (key["limits"], key["max_tokens"], key["budgets"]) == ({"requests_per_minute": 0}, 0, {"usd_per_day": 0})


@pytest.mark.parametrize("amount", ["inf", "Infinity", "1e400", "nan", "-1", "1e15"])
async def test_an_amount_that_is_none_takes_no_budget_away(command: Command, amount: str) -> None:
    """Nor makes a key or a team without one; `none` alone says so."""
    key = (await command.json("create", "ann", "--usd-in-all", "1"))["key"]
    for line in (f"update {key['id']}", "create bob", "team red --new"):
        await command.fails(*line.split(), "--usd-in-all", amount)
    (kept,) = (await command.json("list"))["keys"]
    assert kept["budgets"] == {"usd_in_all": 1}


async def test_a_key_ends_at_a_date(command: Command) -> None:
    """In UTC, unless it says otherwise."""
    for text, zone in (("2030-01-31", "+00:00"), ("2030-01-31T12:00:00+02:00", "")):
        made = await command.json("create", "x", "--expires", text)
        assert made["key"]["expires"] == datetime.fromisoformat(text + zone).astimezone(UTC).timestamp()


async def test_a_revoked_key_is_listed_as_such(command: Command) -> None:
    """And opens nothing."""
    secret = (await command.out("create", "ann", "-q")).strip()
    (key,) = command.worker.table.listed()
    assert "revoked" in await command.out("revoke", key.id)
    assert not command.worker.opens(secret)
    assert (await command.json("list", "--state", "active"))["keys"] == []
    assert "revoked" in await command.out("list")


async def test_pages_of_the_list(command: Command) -> None:
    """Where there is more, it is said how to go on, and not on standard output."""
    for name in ("first", "second", "third"):
        await command.out("create", name)
        command.worker.clock.advance(1.0)
    result = await command.run("list", "--limit", "2")
    cursor = result.stderr.split()[-1]
    assert ("second" in result.stdout, "third" in result.stdout) == (True, False)
    assert "third" in await command.out("list", "--limit", "2", "--cursor", cursor)


async def test_teams(command: Command) -> None:
    """Are made, changed, shown with what they share, and removed."""
    await command.out("team", "red", "--new", "--requests-per-minute", "5")
    await command.out("team", "red", "--usd-per-day", "1")
    assert "requests per minute: 5, usd per day: 1\n" in await command.out("teams")
    assert (await command.json("team", "red"))["budgets"] == {"usd_per_day": 1}
    await command.out("team", "red", "--remove")
    assert (await command.json("teams"))["teams"] == []


async def test_a_declaration_may_be_committed(command: Command) -> None:
    """It is on standard output without the secret, which goes to standard error; nothing is stored."""
    result = await command.run("create", "ci", "--declare")
    made = await command.json("create", "ci", "--declare")
    secret = result.stderr.split()[-1]
    digest = command.worker.pepper.digest(secret.encode()).hex()
    assert result.stdout == f'[keys.declared.ci]\ndigest = "{digest}"\n'
    assert made["digest"] == command.worker.pepper.digest(made["secret"].encode()).hex()
    assert command.worker.table.listed() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nobody"), "there is none of this id or name (status 404)"),
        (("create", "ann", "--team", "nobody"), "create it first (status 400)"),
        (("create", "ann", "--expires", "soon"), "--expires: a duration such as 30d"),
        (("create", "ann", "--metadata", "x"), "--metadata: NAME=VALUE"),
        (("create", "ann", "--usd-per-day", "nan"), "--usd-per-day: a number, or none"),
        (("create", "ann", "--max-tokens", "-1"), "--max-tokens: a number, or none"),
        (("create", "ann", "--requests-per-day", "many"), "--requests-per-day: a number, or none"),
        (("create", "a b\t", "--declare"), "NAME: for config.toml"),
        (("rotate", "x", "--grace", "1"), "--grace: a duration"),
        (("show", "../cache/stats"), "ID: as `askonce keys list` shows it"),
        (("revoke", "sk-ask-canary"), "which is not the secret"),
    ],
)
async def test_what_goes_wrong_is_one_line(command: Command, arguments: tuple[str, ...], said: str) -> None:
    """On standard error, and exit 1; a secret in the wrong place is not repeated."""
    error = await command.fails(*arguments)
    assert error.startswith("askonce: ")
    assert error.count("\n") == 1
    assert said in error
    assert "canary" not in error


def test_a_configuration_that_only_the_gateway_can_read_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another terminal, or another machine, need not have the upstreams' secrets."""
    monkeypatch.setenv("ASKONCE_UPSTREAMS__OPENAI__KEY", "env:ELSEWHERE_ALONE")
    monkeypatch.setenv("ASKONCE_ADMIN_TOKEN", TOKEN)
    result = CliRunner().invoke(keys, ["list"])
    assert isinstance(result.exception, ConfigError)
    assert "ELSEWHERE_ALONE is not set; with --admin-url" in str(result.exception)
