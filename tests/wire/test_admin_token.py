"""Where the admin API's token comes from."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.admin import TOKEN, Operator
from tests.fakes.gateway import GatewayProcess, StartProcess
from tests.fakes.polling import until


async def status(gateway: GatewayProcess, token: str) -> int:
    return (await Operator(gateway, token).ask("GET", "cache/stats")).status


def made(gateway: GatewayProcess) -> str:
    """The token that was made, which stands in one line of the log and nowhere else."""
    (line,) = gateway.logs(event="admin_token")
    token: str = line["token"]
    assert sum(token in printed for printed in gateway.stdout + gateway.stderr) == 1
    return token


async def test_without_one_a_token_is_made_and_shown_once(start_process: StartProcess) -> None:
    """Another at every start, which nobody guesses."""
    first, second = await start_process(), await start_process()
    tokens = made(first), made(second)
    assert len({*tokens}) == 2
    assert len(tokens[0]) == 48
    assert await status(first, tokens[0]) == 200
    assert await status(second, tokens[0]) == 401


async def test_workers_have_the_same_token(start_process: StartProcess) -> None:
    """Also the one that takes the place of another."""
    gateway = await start_process("", "serve", "--workers", "2", clean=False)
    await until(lambda: len(gateway.logs(event="listening")) == 2, 10.0)
    operator = Operator(gateway, made(gateway))
    assert len(await operator.in_memory(2)) == 2
    os.kill(gateway.children()[0], signal.SIGKILL)
    await until(lambda: len(gateway.logs(event="listening")) == 3, 10.0)
    assert len(await operator.in_memory(2)) == 2
    assert made(gateway)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_environment_sets_it(start_process: StartProcess, workers: str) -> None:
    """ASKONCE_ADMIN_TOKEN, and then none is made; it may name a file."""
    environ = {"ASKONCE_ADMIN_TOKEN": TOKEN}
    gateway = await start_process("", "serve", "--workers", workers, environ=environ)
    assert await status(gateway, TOKEN) == 200
    assert gateway.logs(event="admin_token") == []
    assert not any(TOKEN in printed for printed in gateway.stdout + gateway.stderr)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_reload_takes_another_token(start_process: StartProcess, tmp_path: Path, workers: str) -> None:
    """From the file that is named, in every worker."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    settings: dict[str, Any] = {"admin__token": f"file:{file}"}
    gateway = await start_process("", "serve", "--workers", workers, **settings)
    await until(lambda: len(gateway.logs(event="listening")) == int(workers), 10.0)
    assert await status(gateway, TOKEN) == 200
    file.write_text("another-token")
    gateway.signal(signal.SIGHUP)
    await gateway.logged(event="reloaded", count=int(workers))
    assert len(await Operator(gateway, "another-token").in_memory(int(workers))) == int(workers)
    assert await status(gateway, TOKEN) == 401
