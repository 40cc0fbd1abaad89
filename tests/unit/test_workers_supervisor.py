"""The supervisor with stand-ins for workers, which print what happens to them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fakes.gateway import GatewayProcess
from tests.fakes.polling import until

ROOT = Path(__file__).parents[2]

SUPERVISOR = """
import sys
from pathlib import Path
from proxy import config, workers
from proxy.telemetry.log import Log
workers.KILL_MARGIN = 0.1
log = Log(style="json")
command = [sys.executable, "-S", "-c", sys.argv[2]]
try:
    code = workers.Supervisor(config.read(Path(sys.argv[1])), log=log, command=command).run()
finally:
    log.close()
sys.exit(code)
"""

# Reports its start, every signal, and the end of its supervisor. `stale`: it found the gauges of a predecessor.
# Of the standard library alone: there are many of them.
WORKER = """
import json, os, select, signal, sys
from pathlib import Path
from types import SimpleNamespace
me = SimpleNamespace(**json.loads(os.environ["ASKONCE_WORKER_PLACE"]))
directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
gauges = directory / f"gauge_livesum_{me.index}.db"
stale = gauges.exists()
gauges.touch()
def say(event, **fields):
    line = {"event": event, "worker": me.index, "pid": os.getpid(), **fields}
    os.write(1, json.dumps(line).encode() + b"\\n")
def end(code): os._exit(code)
def on(signum, action):
    def handle(*_):
        say("signalled", signal=signal.Signals(signum).name, config=(directory / "config.toml").read_text())
        action()
    signal.signal(signum, handle)
"""
SERVE = """
say("up", stale=stale, count=me.count, listen=me.listen, admin=me.admin, directory=str(directory))
select.select([me.parent], [], [])
say("orphaned")
end(0)
"""
DRAINS_AT_ONCE = f"""{WORKER}
on(signal.SIGTERM, lambda: end(0))
on(signal.SIGINT, lambda: end(0))
on(signal.SIGHUP, lambda: None)
{SERVE}"""
STUBBORN = f"""{WORKER}
on(signal.SIGTERM, lambda: None)
{SERVE}"""
ENDS_AT_THE_SECOND = f"""{WORKER}
on(signal.SIGTERM, lambda: signal.signal(signal.SIGTERM, lambda *_: (say("hurried"), end(0))))
{SERVE}"""


@asynccontextmanager
async def supervised(
    tmp_path: Path, worker: str = DRAINS_AT_ONCE, *, workers: int = 2, drain_timeout: float = 5.0
) -> AsyncIterator[GatewayProcess]:
    (tmp_path / "config.toml").write_text(
        f"[listen]\nport = 0\n[admin]\nport = 0\n[server]\nworkers = {workers}\ndrain_timeout = {drain_timeout}\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISOR, str(tmp_path / "config.toml"), worker,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    supervisor = GatewayProcess(process)
    try:
        yield supervisor
    finally:
        await supervisor.kill()


def permissions(path: Path) -> int | None:
    return path.stat().st_mode & 0o777 if path.exists() else None


async def test_workers_learn_their_place_and_drain_at_the_signal(tmp_path: Path) -> None:
    """Each has its own index and the same free ports; SIGTERM and SIGINT reach them all; the exit code is 0."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        async with supervised(tmp_path) as supervisor:
            await supervisor.logged(event="up", count=2, timeout=10)
            first, second = supervisor.logs(event="up")
            assert {first["worker"], second["worker"]} == {0, 1}
            assert (first["listen"], first["admin"]) == (second["listen"], second["admin"])
            assert 0 not in (first["listen"][1], first["admin"][1])
            supervisor.signal(signum)
            assert await supervisor.wait() == 0
            assert len(supervisor.logs(event="signalled", signal=signum.name)) == 2
            assert supervisor.logs(event="stopped", clean=True)


async def test_workers_share_a_private_directory_that_ends_with_them(tmp_path: Path) -> None:
    """Metrics of workers meet there; nobody else may look, and nothing stays."""
    async with supervised(tmp_path) as supervisor:
        directory = Path((await supervisor.logged(event="up", timeout=10))["directory"])
        assert permissions(directory) == 0o700
        supervisor.signal(signal.SIGTERM)
        await supervisor.wait()
        assert permissions(directory) is None


async def test_a_killed_worker_is_replaced_with_growing_waits(tmp_path: Path) -> None:
    """Each death is logged with its reason and the wait; the sibling stays."""
    async with supervised(tmp_path) as supervisor:
        sibling = (await supervisor.logged(event="up", worker=0, timeout=10))["pid"]
        for times, wait in enumerate((0.1, 0.2), start=1):
            pid = (await supervisor.logged(event="up", worker=1, count=times, timeout=10))["pid"]
            os.kill(pid, signal.SIGKILL)
            died = await supervisor.logged(event="worker_died", worker=1, count=times)
            assert (died["pid"], died["reason"], died["restart_in_s"]) == (pid, "signal 9", wait)
        await supervisor.logged(event="up", worker=1, count=3, timeout=10)
        assert [line["pid"] for line in supervisor.logs(event="up", worker=0)] == [sibling]


async def test_the_gauges_of_a_killed_worker_go_with_it(tmp_path: Path) -> None:
    """What it had in flight is in flight no more, also before its successor is up."""
    async with supervised(tmp_path) as supervisor:
        pid = (await supervisor.logged(event="up", worker=1, timeout=10))["pid"]
        os.kill(pid, signal.SIGKILL)
        again = await supervisor.logged(event="up", worker=1, count=2, timeout=10)
        assert not again["stale"]


async def test_a_worker_that_refuses_to_start_ends_the_start(tmp_path: Path) -> None:
    """What one refuses its siblings refuse too: better no start than one that goes on for ever."""
    async with supervised(
        tmp_path, f"{WORKER}\nif me.index == 1: end(1)\non(signal.SIGTERM, lambda: end(0)){SERVE}"
    ) as it:
        assert await it.wait() == 1
        assert it.logs(event="start_refused", worker=1, reason="exit 1")
        assert not it.logs(event="worker_died")


async def test_the_second_signal_is_passed_on(tmp_path: Path) -> None:
    """It tells workers not to wait any longer."""
    async with supervised(tmp_path, ENDS_AT_THE_SECOND) as supervisor:
        await supervisor.logged(event="up", count=2, timeout=10)
        supervisor.signal(signal.SIGTERM)
        await supervisor.logged(event="signalled", count=2)
        supervisor.signal(signal.SIGTERM)
        assert await supervisor.wait() == 0
        assert len(supervisor.logs(event="hurried")) == 2


async def test_a_signal_to_the_whole_group_reaches_workers_once(tmp_path: Path) -> None:
    """A terminal's ^C goes to the group; twice would mean: do not wait."""
    async with supervised(tmp_path, STUBBORN, drain_timeout=0.3) as supervisor:
        await supervisor.logged(event="up", count=2, timeout=10)
        os.killpg(supervisor.pid, signal.SIGTERM)
        await supervisor.wait()
        assert len(supervisor.logs(event="signalled")) == 2


async def test_a_worker_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """The drain has an end, and the exit code tells that it was not clean."""
    async with supervised(tmp_path, STUBBORN, drain_timeout=0.1) as supervisor:
        await supervisor.logged(event="up", count=2, timeout=10)
        supervisor.signal(signal.SIGTERM)
        assert await supervisor.wait() == 1
        assert len(supervisor.logs(event="worker_killed")) == 2


async def test_nobody_is_restarted_during_the_drain(tmp_path: Path) -> None:
    """A worker that dies then has nothing left to serve."""
    async with supervised(tmp_path, ENDS_AT_THE_SECOND) as supervisor:
        await supervisor.logged(event="up", count=2, timeout=10)
        supervisor.signal(signal.SIGTERM)
        victim, _ = [line["pid"] for line in supervisor.logs(event="up")]
        await supervisor.logged(event="signalled", count=2)
        os.kill(victim, signal.SIGKILL)
        await supervisor.logged(event="worker_failed", pid=victim, reason="signal 9")
        supervisor.signal(signal.SIGTERM)
        assert await supervisor.wait() == 1
        assert len(supervisor.logs(event="up")) == 2


async def test_workers_see_the_end_of_a_killed_supervisor(tmp_path: Path) -> None:
    """Nobody could restart or stop them any more."""
    async with supervised(tmp_path) as supervisor:
        await supervisor.logged(event="up", count=2, timeout=10)
        supervisor.signal(signal.SIGKILL)
        await supervisor.logged(event="orphaned", count=2)


async def test_a_reload_hands_workers_the_file_as_it_was_checked(tmp_path: Path) -> None:
    """Workers read the supervisor's copy, so a file that is changed once more is not half in effect."""
    async with supervised(tmp_path) as supervisor:
        await supervisor.logged(event="up", count=2, timeout=10)
        text = (tmp_path / "config.toml").read_text().replace("5.0", "6.0")
        (tmp_path / "config.toml").write_text(text)
        supervisor.signal(signal.SIGHUP)
        await supervisor.logged(event="signalled", count=2)
        assert [line["config"] for line in supervisor.logs(event="signalled", signal="SIGHUP")] == [text, text]


async def test_a_bad_file_is_refused_once_and_reaches_no_worker(tmp_path: Path) -> None:
    """Not at the reload, and not when a worker is restarted later."""
    async with supervised(tmp_path) as supervisor:
        pid = (await supervisor.logged(event="up", count=2, timeout=10))["pid"]
        (tmp_path / "config.toml").write_text("[listen]\nprt = 1")
        supervisor.signal(signal.SIGHUP)
        refused = await supervisor.logged(event="reload_refused")
        assert refused["reason"] == "listen.prt: no such setting; did you mean listen.port?"
        os.kill(pid, signal.SIGKILL)
        await supervisor.logged(event="up", count=3, timeout=10)
        supervisor.signal(signal.SIGTERM)
        assert await supervisor.wait() == 0
        assert not supervisor.logs(event="signalled", signal="SIGHUP")
        assert "prt" not in json.dumps(supervisor.logs(event="signalled"))


async def test_a_worker_that_cannot_be_spawned_is_tried_again(tmp_path: Path) -> None:
    """A machine short of processes or memory may have some again soon."""
    gone = SUPERVISOR.replace("[sys.executable,", '["/nowhere/python",')
    (tmp_path / "config.toml").write_text("[listen]\nport = 0\n[admin]\nport = 0\n[server]\nworkers = 1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", gone, str(tmp_path / "config.toml"), "",
        env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    supervisor = GatewayProcess(process)
    try:
        await until(lambda: len(supervisor.logs(event="worker_died")) >= 2, 10)
        assert supervisor.logs(event="worker_died")[0]["reason"] == "No such file or directory"
        supervisor.signal(signal.SIGTERM)
        assert await supervisor.wait() == 0
    finally:
        await supervisor.kill()
