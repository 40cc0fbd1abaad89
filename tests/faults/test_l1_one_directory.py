"""L1: two gateways without Redis never both count the budgets of one data directory."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from proxy import data_lock
from proxy.config import ConfigError
from proxy.data_lock import DataLock
from proxy.telemetry.log import Log
from tests.fakes.budgets import FITTING, RESERVED, fitting_answer, usd
from tests.fakes.command import askonce
from tests.fakes.gateway import StartProcess
from tests.fakes.polling import until
from tests.fakes.team import Team, keyed
from tests.fakes.upstream import ScriptedUpstream

REFUSED = "counts budgets in this data.directory, and each would grant the whole of them"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {**keyed(tmp_path, "", {}), "log__format": "json"}


async def test_l1_a_second_gateway_is_refused_in_one_line(
    start_process: StartProcess, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Commands work beside the first; when that has died, whoever comes next serves."""
    first = await start_process(clean=False, **settings)
    second = await start_process(listens=False, clean=False, **settings)
    assert await second.wait() == 1
    (line,) = second.stderr
    assert line.startswith(f"askonce: {tmp_path / 'data'}: another askonce (process {first.pid}) {REFUSED}")
    environ = {"ASKONCE_ADMIN__TOKEN": str(settings["admin__token"])}
    listed = await askonce("keys", "list", "--admin-url", first.admin_url, environ=environ)
    assert (listed.code, listed.err) == (0, "")
    await first.kill()
    await start_process(**settings)


async def test_l1_who_comes_while_the_other_leaves_waits_for_it(
    start_process: StartProcess, upstream: ScriptedUpstream, settings: dict[str, Any]
) -> None:
    """A budget that the last request of the first has spent is spent."""
    gate = asyncio.Event()
    upstream.script(fitting_answer(), fitting_answer(before=gate))
    first = await start_process(**settings)
    team = Team(first, upstream.url, settings)
    member = await team.key(budgets={"usd_in_all": usd(2 * RESERVED)})
    assert (await team.ask(member, FITTING)).status == 200
    asking = asyncio.Task(team.ask(member, FITTING))
    await until(lambda: len(upstream.requests) == 2)
    first.signal(signal.SIGTERM)
    await first.logged(event="draining")
    second = await start_process(listens=False, **settings)
    assert (await second.logged(20.0, event="data_directory_awaited"))["holder"] == str(first.pid)
    gate.set()
    assert (await asking).status == 200
    await second.listening()
    assert await first.wait() == 0
    assert (await Team(second, upstream.url, settings).ask(member, FITTING)).status == 429


async def test_l1_who_leaves_for_too_long_is_not_waited_for(tmp_path: Path) -> None:
    """Nor is one that says nothing readable."""
    log = Log(style="json", fd=os.open(os.devnull, os.O_WRONLY))
    first, second = DataLock(tmp_path, log), DataLock(tmp_path, log)
    await first.take(0.0)
    first.leave()
    with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
        await second.take(0.05)
    (tmp_path / data_lock.FILE).write_bytes(b"\xff\xff")
    with pytest.raises(ConfigError, match="another askonce counts"):
        await second.take(60.0)
    first.release()
    await second.take(0.0)
    second.release()
    log.close()


async def test_l1_without_locks_it_serves_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that has none."""

    def unsupported(_fd: int, _how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with (tmp_path / "log").open("wb") as file:
        log = Log(style="json", fd=file.fileno())
        lock = DataLock(tmp_path, log)
        await lock.take(0.0)
        lock.release()
        log.close()
    assert "data_directory_unlocked" in (tmp_path / "log").read_text()
