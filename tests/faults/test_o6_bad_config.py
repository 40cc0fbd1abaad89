"""O6: a bad configuration refuses the start with one line; a bad reload keeps the old one."""

import os
import signal
from pathlib import Path

import pytest

from tests.fakes.command import askonce
from tests.fakes.gateway import GatewayProcess, StartProcess, environment

BAD = "[listen]\nprt = 1"
LINE = "listen.prt: no such setting; did you mean listen.port?"
CHAT = b'{"model":"gpt-4o-mini","messages":[]}'


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("ASKONCE_LISTEN__PRT", "1", "ASKONCE_LISTEN__PRT: no such setting; did you mean ASKONCE_LISTEN__PORT?"),
        ("ASKONCE_TIMEOUTS__IDLE", "-1", "ASKONCE_TIMEOUTS__IDLE: expected a number > 0.0"),
        (
            "ASKONCE_UPSTREAMS__TEST__KEY",
            "env:NOT_SET",
            "ASKONCE_UPSTREAMS__TEST__KEY: the environment variable NOT_SET",
        ),
        ("ASKONCE_LISTEN__TLS_CERTIFICATE", "/none", "listen.tls_key: must be set, because listen.tls_certificate is"),
        ("ASKONCE_CONFIG", "/none", "/none: cannot be read: No such file or directory"),
    ],
)
async def test_the_start_is_refused_with_one_line(variable: str, value: str, line: str) -> None:
    """On standard error, with exit code 1, before anything listens or is logged."""
    printed = await askonce("serve", environ=environment("http://h/v1", {}) | {variable: value})
    assert printed.err.startswith(f"askonce: {line}")
    assert (printed.code, printed.err.count("\n"), printed.out) == (1, 0, "")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_variable_that_sets_nothing_is_named_at_the_start(start_process: StartProcess, workers: str) -> None:
    """Once, however many workers there are, and without its value: it may hold a key."""
    environ = {"ASKONCE_LISTEN_PORT": "sk-canary-7a10", "ASKONCE_X": "1"}
    gateway = await start_process("", "serve", "--workers", workers, environ=environ)
    await gateway.logged(event="listening", count=int(workers), timeout=20)
    said = gateway.logs(event="variable_ignored")
    assert [(line["level"], line["variable"], line["meant"]) for line in said] == [
        ("warning", "ASKONCE_LISTEN_PORT", "ASKONCE_LISTEN__PORT"),
        ("warning", "ASKONCE_X", None),
    ]
    assert "canary" not in "".join(gateway.stdout + gateway.stderr)


async def test_no_worker_is_started_with_a_bad_configuration(start_process: StartProcess) -> None:
    """The supervisor refuses for all of them, once."""
    gateway = await start_process(
        "", "serve", "--workers", "2", listens=False, clean=False, environ={"ASKONCE_TIMEOUTS__IDLE": "-1"}
    )
    assert await gateway.wait() == 1
    assert gateway.stderr == ["askonce: ASKONCE_TIMEOUTS__IDLE: expected a number > 0.0"]
    assert gateway.stdout == []


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_bad_reload_keeps_the_old_configuration(
    start_process: StartProcess, tmp_path: Path, workers: str
) -> None:
    """One line says why; requests go on as before; a good file is taken afterwards."""
    file = tmp_path / "config.toml"
    file.write_text("[auth]\nrequire_key = false")
    gateway = await start_process("", "serve", "--workers", workers, "--config", str(file))
    await gateway.logged(event="listening", count=int(workers), timeout=20)

    file.write_text(BAD)
    gateway.signal(signal.SIGHUP)
    refused = await gateway.logged(event="reload_refused")
    assert refused["reason"] == LINE
    assert await status(gateway) == 200

    file.write_text("[auth]\nrequire_key = true")
    gateway.signal(signal.SIGHUP)
    await gateway.logged(event="reloaded", count=int(workers))
    assert await status(gateway) == 401
    assert len(gateway.logs(event="reload_refused")) == 1


async def test_a_worker_restarted_while_the_file_is_bad_serves(start_process: StartProcess, tmp_path: Path) -> None:
    """It runs with what its siblings run with."""
    file = tmp_path / "config.toml"
    file.write_text("[auth]\nrequire_key = true")
    gateway = await start_process("", "serve", "--workers", "2", "--config", str(file))
    await gateway.logged(event="listening", count=2, timeout=20)
    file.write_text(BAD)
    for pid in gateway.children():
        os.kill(pid, signal.SIGKILL)
    await gateway.logged(event="listening", count=4, timeout=20)
    assert await status(gateway) == 401
    assert gateway.stderr == []


async def status(gateway: GatewayProcess) -> int:
    async with gateway.client() as client:
        return (await client.ask("POST", "/v1/chat/completions", CHAT)).status
