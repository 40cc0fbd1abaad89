"""The gateway under test: inside the test's own event loop, or as the process that users start."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final

import msgspec

from tests.fakes.polling import until
from tests.fakes.raw import RawClient

if TYPE_CHECKING:
    from proxy.app import App

__all__ = ["Gateway", "GatewayProcess", "Running", "StartGateway", "StartProcess", "environment", "in_process", "spawn"]

ROOT = Path(__file__).resolve().parents[2]
START = 20.0
"""Seconds that a process may take until it listens."""
TROUBLE = re.compile(
    r"Traceback|ResourceWarning|RuntimeWarning|never (awaited|retrieved)|Exception ignored|Fatal Python"
)
_NOT_INHERITED = re.compile(r"OPENAI_|ASKONCE_|(HTTPS?|ALL|NO)_PROXY$|PROMETHEUS_", re.IGNORECASE)


def environment(upstream: str, settings: Mapping[str, object]) -> dict[str, str]:
    """`timeouts__first_byte=0.2` as the variable that a user would set; the one upstream is called `test`.

    Without cache, breaker, second tries and the semantic tier, unless a test asks for them: most look at what the
    upstream was asked.
    """
    tree: dict[str, object] = {
        "listen__port": 0,
        "admin__port": 0,
        "log__format": "json",
        "cache__enabled": False,
        "breaker__enabled": False,
        "retry__attempts": 1,
        "semantic__mode": "off",
        **settings,
    }
    if upstream:
        tree.setdefault("upstreams__test__base_url", upstream)
    return {f"ASKONCE_{name.upper()}": _text(value) for name, value in tree.items()}


def inherited() -> dict[str, str]:
    """What a process is given of this one's variables."""
    kept = {name: value for name, value in os.environ.items() if not _NOT_INHERITED.match(name)}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", "PYTHONUNBUFFERED": "1"}


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


class Running:
    """What every kind of gateway is asked for."""

    url: str
    """The base URL for an SDK."""
    origin: str
    admin_url: str

    def client(self, *, timeout: float = 5.0, receive_buffer: int | None = None) -> RawClient:
        return RawClient(self.origin, timeout=timeout, receive_buffer=receive_buffer)

    async def samples(self) -> dict[str, float]:
        """The metrics as exposed: `name{labels}` → value."""
        async with RawClient(self.admin_url) as admin:
            response = await admin.ask("GET", "/metrics")
        if response.status != 200:
            raise AssertionError(f"/metrics answered {response.status}: {response.body!r}")
        lines = (line.rpartition(" ") for line in response.body.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def sample(self, name: str, **labels: str) -> float:
        """The sum over all samples of one name that carry these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            value
            for sample, value in (await self.samples()).items()
            if sample.partition("{")[0] == name and all(label in sample for label in wanted)
        )

    async def comes_to(self, total: float, name: str, timeout: float = 2.0, **labels: str) -> None:
        """Until the sum of these samples is `total`: workers tell one another what they have counted on a beat."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while (seen := await self.sample(name, **labels)) != total:
            if loop.time() > deadline:
                raise AssertionError(f"{name} {labels} is {seen}, not {total}")
            await asyncio.sleep(0.01)

    async def settled(self, timeout: float = 2.0) -> None:
        """Until no request is in flight."""
        await self.comes_to(0, "askonce_in_flight", timeout)


@final
class Gateway(Running):
    """In the test's process."""

    def __init__(self, app: "App") -> None:
        self.app = app
        host, port = app.address
        self.origin = f"http://{host}:{port}"
        self.url = f"{self.origin}/v1"
        host, port = app.admin_address
        self.admin_url = f"http://{host}:{port}"


@asynccontextmanager
async def in_process(upstream: str, *, settles: float = 2.0, **settings: object) -> AsyncIterator[Gateway]:
    """Serves until the block ends, and expects every request to end at most `settles` seconds later (0: whenever)."""
    from proxy.app import App
    from proxy.config import load

    app = App(load(None, environment(upstream, settings)))
    await app.start()
    try:
        gateway = Gateway(app)
        yield gateway
        if settles:
            await gateway.settled(settles)
    finally:
        await app.stop()


def matching(lines: Iterable[str], fields: Mapping[str, object]) -> list[dict[str, Any]]:
    """Those of a log that carry these fields. One that is not a JSON object fails the test."""
    read = [msgspec.json.decode(line, type=dict[str, Any]) for line in lines]
    return [line for line in read if all(line.get(name) == value for name, value in fields.items())]


@final
class GatewayProcess(Running):
    """`python -m proxy serve`, and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.url = self.origin = self.admin_url = ""
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            asyncio.Task(_collect(process.stdout, self.stdout)),
            asyncio.Task(_collect(process.stderr, self.stderr)),
        ]

    def logs(self, **fields: object) -> list[dict[str, Any]]:
        """The log lines that carry these fields. A line that is not a JSON object fails the test."""
        return matching(self.stdout, fields)

    async def logged(self, timeout: float = 3.0, count: int = 1, **fields: object) -> dict[str, Any]:
        """The count-th line that carries these fields."""
        await until(lambda: len(self.logs(**fields)) >= count, timeout, f"{fields} in the log: {self._tail()}")
        return self.logs(**fields)[count - 1]

    async def listening(self) -> None:
        await until(
            lambda: self._process.returncode is not None or self.logs(event="listening"),
            START,
            "the gateway listens",
        )
        if not self.logs(event="listening"):
            await self.wait()
            raise AssertionError(f"the gateway ended with {self._process.returncode}: {self._tail()}")
        line = self.logs(event="listening")[0]
        self.origin, self.admin_url = line["url"].removesuffix("/v1"), line["admin_url"]
        self.url = f"{self.origin}/v1"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self, timeout: float = 10.0) -> int:
        """The exit code."""
        async with asyncio.timeout(timeout):
            code = await self._process.wait()
            await asyncio.gather(*self._readers)
        return code

    def children(self) -> list[int]:
        """Process ids of its workers."""
        found = []
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            found += [int(pid) for pid in task.read_text().split()]
        return found

    async def kill(self) -> None:
        """Leaves no process behind, its workers included."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait()

    def assert_clean(self) -> None:
        if any(map(TROUBLE.search, self.stderr)):
            raise AssertionError("on standard error:\n" + "\n".join(self.stderr))

    def _tail(self) -> str:
        return "\n".join([*self.stdout[-10:], *self.stderr[-30:]])

    def __repr__(self) -> str:
        return f"<GatewayProcess {self.pid} {self.origin} returncode={self.returncode}>"


async def _collect(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode("utf-8", "replace").rstrip("\n"))


@asynccontextmanager
async def spawn(
    upstream: str,
    *arguments: str,
    listens: bool = True,
    clean: bool = True,
    environ: Mapping[str, str] | None = None,
    **settings: object,
) -> AsyncIterator[GatewayProcess]:
    """A process of its own, in an empty folder, with none of our OPENAI_*, ASKONCE_* and proxy variables.

    `listens=False` does not wait for it to serve; `clean=False` allows tracebacks on standard error.
    """
    with tempfile.TemporaryDirectory(prefix="askonce-") as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", *(arguments or ("serve",)),
            cwd=folder, env=inherited() | environment(upstream, settings) | dict(environ or {}),
            start_new_session=True, limit=1 << 24,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        gateway = GatewayProcess(process)
        try:
            if listens:
                await gateway.listening()
            yield gateway
            if clean:
                if gateway.returncode is None:
                    gateway.signal(signal.SIGTERM)
                await gateway.wait()
                gateway.assert_clean()
        finally:
            await gateway.kill()


class StartGateway(Protocol):
    """The fixture `start`: `url` is the upstream's, by default the scripted one's."""

    async def __call__(self, url: str = "", **settings: object) -> Gateway: ...


class StartProcess(Protocol):
    """The fixture `start_process`; options as for `spawn`."""

    async def __call__(self, url: str = "", *arguments: str, **options: object) -> GatewayProcess: ...
