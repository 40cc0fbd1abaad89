"""Keys as a worker has them: table, store, sync and register put together as the gateway does, and who changes them."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, final

import msgspec
from aiohttp import web

from proxy.admin.application import Admin
from proxy.admin.gate import Gate
from proxy.admin.key_routes import KeyRoutes
from proxy.admin.readiness import Readiness
from proxy.config import Secret
from proxy.keys.audit import Detail
from proxy.keys.copy import Copy
from proxy.keys.key import Pepper, Refusal, VirtualKey
from proxy.keys.redis import RedisStore
from proxy.keys.register import Made, Register
from proxy.keys.sqlite import SqliteStore
from proxy.keys.store import Store
from proxy.keys.sync import Sync
from proxy.keys.table import Table
from proxy.redis_link import RedisLink
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import Metrics
from tests.fakes.admin import TOKEN
from tests.fakes.clock import Clock

__all__ = ["NOW", "PEPPER", "Auditor", "Keyring", "Medium", "WorkerKeys", "virtual_key"]

NOW = 1_800_000_000.0
PEPPER = Pepper(b"f3a9c27be05d4168a1b0c7d2e9f84536")
EVERY = 0.02
_NUMBERS = itertools.count(1)


def virtual_key(secret: str = "", pepper: Pepper = PEPPER, **fields: Any) -> VirtualKey:
    number = next(_NUMBERS)
    secret = secret or f"sk-ask-{number}"
    defaults = {"id": f"k{number:04}", "name": "somebody", "created": NOW, "digest": pepper.digest(secret.encode())}
    return VirtualKey(**{**defaults, **fields})


@final
class Auditor:
    """Implements `proxy.keys.audit.Audit`."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, str, float, Mapping[str, Detail]]] = []
        self.away = False

    async def record(self, who: str, what: str, subject: str, when: float, details: Mapping[str, Detail]) -> None:
        if self.away:
            raise ConnectionError("away")
        self.changes.append((who, what, subject, when, details))


@final
class Medium:
    """Where keys are kept, and how to come by a store in it. `url` is Redis's, or "" for files in `folder`."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.url = url

    def store(self, stack: AsyncExitStack, pepper: Pepper = PEPPER, **options: Any) -> Store:
        if not self.url:
            return SqliteStore(self.folder, pepper, **options)
        link = RedisLink(self.url, deadline=options.pop("deadline", 1.0))
        stack.push_async_callback(link.close)
        return RedisStore(link, "t", pepper, **options)


@final
class WorkerKeys:
    """One worker."""

    def __init__(
        self, store: Store, clock: Clock, log: Path, copy: Copy | None, pepper: Pepper, every: float = EVERY
    ) -> None:
        self.clock = clock
        self.store = store
        self.pepper = pepper
        self.audit = Auditor()
        self._fd = os.open(log, os.O_RDWR | os.O_CREAT)
        self._path = log
        self._closed = False
        self.log = Log(style="json", fd=self._fd)
        self.table = Table(pepper)
        self.sync = Sync(store, self.table, log=self.log, copy=copy, every=every)
        self.register = Register(self.sync, self.table, pepper, self.audit, log=self.log, wall=clock)

    async def made(self, **fields: Any) -> Made:
        made = await self.register.create("tester", {"name": "somebody", **fields})
        assert isinstance(made, Made), made
        return made

    def find(self, secret: str) -> VirtualKey | Refusal:
        return self.table.find(secret.encode(), self.clock())

    def opens(self, secret: str) -> bool:
        return isinstance(self.find(secret), VirtualKey)

    def refuses(self, secret: str) -> bool:
        return not self.opens(secret)

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; the last thing to ask for."""
        assert self.log.close()
        return [msgspec.json.decode(line) for line in self._path.read_bytes().splitlines()]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self.sync.close()
        await asyncio.to_thread(self.log.close)
        os.close(self._fd)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The URL of an admin listener with the routes of keys."""
        routes = KeyRoutes(self.register, self.sync, self.table, wall=self.clock, grace=3_600.0)
        gate = Gate(Secret(TOKEN), self.clock)
        runner = web.AppRunner(Admin(Metrics(), Readiness(), gate, routes).application(), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


@final
class Keyring:
    """Starts workers that share a medium and look at it every so many seconds; their clock is one."""

    def __init__(self, medium: Medium, folder: Path, stack: AsyncExitStack, every: float = EVERY) -> None:
        self._every = every
        self.medium = medium
        self.clock = Clock(NOW)
        self._folder = folder
        self._stack = stack

    async def start(self, *, copy: bool = False, pepper: Pepper = PEPPER, **options: Any) -> WorkerKeys:
        store = self.medium.store(self._stack, pepper, **options)
        kept = Copy(self._folder, "t", pepper, self.clock) if copy else None
        worker = WorkerKeys(
            store, self.clock, self._folder / f"log-{os.getpid()}-{next(_NUMBERS)}", kept, pepper, self._every
        )
        self._stack.push_async_callback(worker.close)
        await worker.sync.start()
        return worker
