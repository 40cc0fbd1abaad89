"""`askonce cache` against a gateway that runs."""

import json
import socket
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest

from tests.fakes.admin import TOKEN, Operator
from tests.fakes.asking import completion, completion_answer
from tests.fakes.command import Printed, askonce
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, StartGateway, environment, spawn
from tests.fakes.upstream import ScriptedUpstream

NO_MORE: Mapping[str, str] = MappingProxyType({})


@pytest.fixture
async def gateway(start: StartGateway, upstream: ScriptedUpstream) -> Gateway:
    """With two entries, of models `a` and `b`, the first tagged."""
    upstream.script(completion_answer())
    gateway = await start(cache__enabled=True, admin__token=TOKEN)
    async with gateway.client() as client:
        await client.ask(body={**CHAT, "model": "a"}, headers=[("x-askonce-cache-tags", "nightly")])
        await client.ask(body={**CHAT, "model": "b"})
    return gateway


async def run(gateway: Gateway | None, *arguments: str, environ: Mapping[str, str] = NO_MORE) -> Printed:
    """`askonce cache …` with the gateway's own configuration."""
    return await askonce("cache", *arguments, environ=settings_of(gateway) | {"ASKONCE_ADMIN_TOKEN": TOKEN, **environ})


def settings_of(gateway: Gateway | None) -> dict[str, str]:
    port = urlsplit(gateway.admin_url).port if gateway else None
    return environment("http://h/v1", {"admin__port": port or 0})


async def test_a_process_of_its_own(gateway: Gateway) -> None:
    """As people run it."""
    port = urlsplit(gateway.admin_url).port
    async with spawn("", "cache", "stats", listens=False, admin__port=port, admin__token=TOKEN) as process:
        assert await process.wait() == 0
        assert "2 entries" in "\n".join(process.stdout)
        assert process.stderr == []


async def test_purge(gateway: Gateway) -> None:
    """A dry run counts, the purge removes; both say of which tier how much."""
    printed = await run(gateway, "purge", "--model", "a", "--tag", "nightly", "--dry-run")
    assert (printed.code, printed.err) == (0, "")
    assert "1 entry" in printed.out
    assert "would go" in printed.out
    assert await Operator(gateway).in_memory() == [2]
    printed = await run(gateway, "purge", "--model", "a", "--json")
    assert json.loads(printed.out)["memory"]["entries"] == 1
    assert await Operator(gateway).in_memory() == [1]
    await run(gateway, "purge", "--all")
    assert await Operator(gateway).in_memory() == [0]


@pytest.mark.parametrize(
    ("duration", "left"), [("0s", 0), ("0.001s", 0), ("1m", 2), ("1h", 2), ("2d", 2)]
)  # fmt: skip
async def test_purge_by_age(gateway: Gateway, duration: str, left: int) -> None:
    """Seconds, minutes, hours and days."""
    assert (await run(gateway, "purge", "--older-than", duration)).code == 0
    assert await Operator(gateway).in_memory() == [left]


async def test_list_and_show(gateway: Gateway) -> None:
    """As a table, and as JSON; the answer only with --body."""
    printed = await run(gateway, "list", "--model", "a")
    assert printed.code == 0
    assert "nightly" in printed.out
    assert " b " not in printed.out
    (entry,) = json.loads((await run(gateway, "list", "--tag", "nightly", "--json")).out)["entries"]
    printed = await run(gateway, "show", entry["key"])
    assert entry["key"] in printed.out
    assert "Hello" not in printed.out
    printed = await run(gateway, "show", entry["key"], "--body")
    assert json.loads(printed.out.splitlines()[-1]) == completion()
    printed = await run(gateway, "list", "--limit", "1")
    cursor = printed.err.removeprefix("more: --cursor ")
    assert len((await run(gateway, "list", "--cursor", cursor, "--json")).out) > 100


async def test_stats(gateway: Gateway) -> None:
    """How much there is."""
    assert "2 entries" in (await run(gateway, "stats")).out
    assert json.loads((await run(gateway, "stats", "--json")).out)["memory"]["entries"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["purge"], "which entries? give --key, --tag"),
        (["purge", "--dry-run"], "which entries? give --key, --tag"),
        (["purge", "--older-than", "1 hour"], "--older-than: a duration such as"),
        (["purge", "--older-than", "10"], "--older-than: a duration such as"),
        (["purge", "--tag", "x" * 600], "tag: must be a text of 1 to 512 characters (status 400)"),
        (["list", "--cursor", "x"], "cursor: not one that a listing gave"),
        (["show", "x"], "KEY: 64 hexadecimal digits"),
        (["show", "0" * 64], "no entry has this key (status 404)"),
    ],
)
async def test_what_can_t_be_done_is_one_line(gateway: Gateway, arguments: list[str], said: str) -> None:
    """On standard error, and exit 1; nothing is gone."""
    printed = await run(gateway, *arguments)
    assert printed.code == 1
    assert printed.err.startswith(f"askonce: {said}")
    assert "\n" not in printed.err
    assert printed.out == ""
    assert await Operator(gateway).in_memory() == [2]


async def test_a_wrong_token_is_one_line(gateway: Gateway) -> None:
    """As is none at all."""
    printed = await run(gateway, "stats", environ={"ASKONCE_ADMIN_TOKEN": "wrong-and-long-enough"})
    assert printed.code == 1
    assert printed.err.endswith("refuses the token: is ASKONCE_ADMIN_TOKEN the one that it has?")
    assert "wrong" not in printed.err
    printed = await run(gateway, "stats", environ={"ASKONCE_ADMIN_TOKEN": ""})
    assert (printed.code, printed.err.count("\n")) == (1, 0)
    assert printed.err.startswith("askonce: no token: set ASKONCE_ADMIN_TOKEN")


async def test_a_gateway_that_can_t_be_reached_is_one_line(upstream: ScriptedUpstream) -> None:
    """Nobody listens, somebody else does, the URL is none, or it isn't known."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        printed = await run(None, "stats", "--admin-url", place)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith(f"askonce: cannot reach the gateway at {place}: ")
    for url in (upstream.origin, "nonsense", "http://", "ftp://h"):
        printed = await run(None, "stats", "--admin-url", url)
        assert (printed.code, printed.err.count("\n")) == (1, 0), url
        assert printed.err.startswith("askonce: "), url
    printed = await run(None, "stats")
    assert printed.err == "askonce: admin.port is 0, so the gateway has picked one: give --admin-url"


async def test_the_url_may_be_given(gateway: Gateway) -> None:
    """Then nothing of the configuration matters but the token."""
    environ = {"ASKONCE_LISTEN__PORT": "none"}
    assert (await run(None, "stats", "--admin-url", gateway.admin_url + "/", environ=environ)).code == 0
    printed = await run(gateway, "stats", environ=environ)
    assert printed.err.startswith("askonce: ASKONCE_LISTEN__PORT: expected a whole number; with --admin-url")
