"""`askonce demo` and `python -m proxy.demo` as processes."""

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from tests.fakes.raw import RawClient

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
WELCOMED, LISTENING = "^C ends it.", '"listening"'
WATCHED = """
from proxy.app import App
from proxy.cli import app
start = App.start
async def told(self):
    await start(self)
    print("both are open", flush=True)
App.start = told
app(["demo", "--fallback", "--port", "0", "--admin-port", "0"])
"""
ASK = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}).encode()
HEADERS = [("authorization", "Bearer sk-demo"), ("content-type", "application/json")]


@asynccontextmanager
async def started(*arguments: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with its output piped; killed if the block leaves it running."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ASKONCE_", "OPENAI_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        env={**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "ASKONCE_LOG__FORMAT": "json", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(process: asyncio.subprocess.Process, text: str) -> list[str]:
    """The lines up to the first that has `text` in it."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while line := (await process.stdout.readline()).decode():
            lines.append(line.rstrip("\n"))
            if text in line:
                return lines
        assert process.stderr is not None
        told = (await process.stderr.read()).decode()
    raise AssertionError(f"{text!r} was not printed: {lines}, {told}")


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(PATIENCE):
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


@asynccontextmanager
async def demo(*arguments: str, **variables: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str], str]]:
    """`askonce demo` on free ports: the process, what it printed, and the gateway's origin.

    The log is written by a thread, before what is printed or after it.
    """
    options = ("--port", "0", "--admin-port", "0", *arguments)
    async with started("proxy", "demo", *options, **variables) as process:
        lines = await line_with(process, WELCOMED)
        if not (listening := [line for line in lines if LISTENING in line]):
            listening = (await line_with(process, LISTENING))[-1:]
        yield process, lines, json.loads(listening[0])["url"]


def python_lines(lines: list[str]) -> str:
    """The Python that the demo prints to be tried."""
    start = lines.index("Python:") + 2
    return "\n".join(line.strip() for line in lines[start : lines.index("", start)])


async def test_the_lines_to_try_are_printed_once_both_listeners_are_open(tmp_path: Path) -> None:
    """Whoever pastes one sooner finds nobody: on a busy machine a start takes seconds."""
    (tmp_path / "watched.py").write_text(WATCHED, encoding="utf-8")
    async with started("watched", PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}") as process:
        assert "both are open" in await line_with(process, WELCOMED)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_demo_ends_cleanly(number: signal.Signals) -> None:
    """The demo answers, and ^C or SIGTERM ends it with exit code 0 and nothing on standard error."""
    async with demo("--latency-ms", "0") as (process, _, origin):
        async with RawClient(origin) as client:
            response = await client.ask("POST", "/v1/chat/completions", headers=HEADERS, body=ASK)
        assert response.status == 200
        process.send_signal(number)
        assert process.stderr is not None
        assert await process.stderr.read() == b""
        assert await ended(process) == 0


async def test_printed_lines_work() -> None:
    """The Python that is printed runs as it stands, and the metrics are where it says."""
    async with demo("--latency-ms", "0", "--tokens-per-second", "0") as (_, lines, origin):
        assert any(f"curl {origin}/v1/chat/completions" in line for line in lines)
        said, names = io.StringIO(), dict[str, Any]()
        with contextlib.redirect_stdout(said):
            exec(python_lines(lines), names)  # noqa: S102  (what is printed must run)
        names["client"].close()
        assert "Hello" in said.getvalue()
        address = next(line for line in lines if "metrics" in line).split("metrics")[1].split()[0]
        async with RawClient(address.removesuffix("/metrics")) as client:
            assert b"askonce_requests" in (await client.ask("GET", "/metrics")).body


def shell_lines(lines: list[str]) -> list[str]:
    """What the demo with keys prints to be pasted into another terminal."""
    start = next(at for at, line in enumerate(lines) if line.startswith("  export "))
    return [line for line in lines[start:] if line.startswith("  ")]


async def pasted(lines: list[str]) -> str:
    """What a shell prints; it ends at the first line that fails."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-ec", "\n".join(lines)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environ,
        start_new_session=True,
    )
    try:
        printed = (await shell.communicate())[0].decode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, printed
    return printed


async def test_printed_lines_of_a_team_work() -> None:
    """Pasted as they stand they make two people, of whom one is stopped by his budget, and tell what was used."""
    async with demo("--keys", "--latency-ms", "0", "--tokens-per-second", "0") as (_, lines, _):
        async with asyncio.timeout(PATIENCE):
            printed = await pasted(shell_lines(lines))
            ben, ann = (line.split() for line in printed.splitlines() if line.startswith("200"))
            assert set(ben) == {"200", "429"}
            assert ben == sorted(ben)
            assert ann == ["200"] * 3
            while not re.search(r"^\S+ +ann +3 +0 +0 +0 +\$0.00 +\$0.00\d+ *$", printed, re.MULTILINE):
                # The ledger is written behind.
                printed = await pasted([line for line in shell_lines(lines) if "export" in line or "usage" in line])


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_the_demo_of_a_team_takes_the_token_that_is_there(tmp_path: Path) -> None:
    """It is not printed; and the data directory does not outlive the demo."""
    variables = {"ASKONCE_ADMIN_TOKEN": "chosen-by-somebody", "TMPDIR": str(tmp_path)}
    async with demo("--keys", **variables) as (process, lines, _):
        assert "chosen-by-somebody" not in "".join(lines)
        address = next(line for line in lines if "metrics" in line).split("metrics")[1].split()[0]
        async with RawClient(address.removesuffix("/metrics")) as client:
            headers = [("authorization", "Bearer chosen-by-somebody")]
            assert (await client.ask("GET", "/admin/v1/keys", headers=headers)).status == 200
        assert [name.startswith("askonce-demo-") for name in names_in(tmp_path)] == [True]
        process.terminate()
        assert await ended(process) == 0
    assert names_in(tmp_path) == []


async def test_knobs_set_the_pace() -> None:
    """The latency is waited before the first byte, and the token rate between the frames."""
    loop = asyncio.get_running_loop()
    async with demo("--latency-ms", "150", "--tokens-per-second", "200") as (_, _, origin):
        body = json.dumps({**json.loads(ASK), "stream": True, "max_tokens": 20}).encode()
        began = loop.time()
        async with RawClient(origin) as client:
            response = await client.ask("POST", "/v1/chat/completions", headers=HEADERS, body=body)
        assert response.body.count(b"data: ") == 23
        assert loop.time() - began > 0.15 + 21 / 200


def test_port_in_use() -> None:
    """A port that is taken, here one of the environment, gives one line that names it, and exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = {"ASKONCE_LISTEN__PORT": str(port), "ASKONCE_ADMIN__PORT": "0"}
        ended = CliRunner().invoke(app, ["demo"], env=ports)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        f"askonce: cannot listen on 127.0.0.1 port {port}: Address already in use; try --port and --admin-port"
    ]


async def test_demo_stays_on_this_machine() -> None:
    """Neither an upstream from the environment nor a reload leads the demo elsewhere."""
    elsewhere = {"ASKONCE_UPSTREAMS__OPENAI__BASE_URL": "http://192.0.2.1/v1", "OPENAI_BASE_URL": "http://192.0.2.1/v1"}
    async with demo("--latency-ms", "0", **elsewhere) as (process, _, origin):
        process.send_signal(signal.SIGHUP)
        await line_with(process, "reload")
        async with RawClient(origin) as client:
            response = await client.ask("POST", "/v1/chat/completions", headers=HEADERS, body=ASK)
    assert response.status == 200


async def test_fake_upstream_alone() -> None:
    """`python -m proxy.demo` prints one JSON line with its address, serves, and ends with 0 on SIGTERM."""
    async with started("proxy.demo", "--port", "0") as process:
        (line,) = await line_with(process, "listening")
        async with RawClient(json.loads(line)["url"]) as client:
            response = await client.ask("POST", "/v1/chat/completions", headers=HEADERS, body=ASK)
        assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0


async def test_fake_upstream_on_a_taken_port() -> None:
    """A taken port gives one line and exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        async with started("proxy.demo", "--port", port) as process:
            async with asyncio.timeout(PATIENCE):
                _, err = await process.communicate()
    assert process.returncode == 1
    assert len(err.splitlines()) == 1


def test_the_demos_are_two() -> None:
    """Who asks for both is told to choose."""
    ended = CliRunner().invoke(app, ["demo", "--keys", "--fallback"])
    assert (ended.exit_code, "choose one" in ended.stderr) == (2, True)


async def test_printed_lines_of_a_fallback_work() -> None:
    """Pasted as they stand: the second upstream answers while the first fails, and the first once it is healed."""
    pace = ("--latency-ms", "0", "--tokens-per-second", "0")
    async with demo("--fallback", *pace, ASKONCE_BREAKER__COOL_DOWN="1") as (_, lines, _):
        start = next(at for at, line in enumerate(lines) if line.startswith("  ask()"))
        end = next(at for at, line in enumerate(lines) if line.startswith("Other faults"))
        async with asyncio.timeout(PATIENCE):
            printed = await pasted([line for line in lines[start:end] if line.startswith("  ")])
    answered = re.findall(r"^x-askonce-upstream: (\w+)", printed, re.MULTILINE)
    assert answered[:15] == ["first", *["second"] * 14]
    assert answered[-1] == "first"
    assert "HTTP/1.1 503" not in printed
    assert re.search(r'^askonce_breaker_transitions_total{.*to="open",upstream="first"} 1', printed, re.MULTILINE)
