"""The life and death of a serving process: start, signals, drain, reload."""

import asyncio
import gc
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

import uvloop

from proxy import config as configuration
from proxy.admin import State
from proxy.app import App
from proxy.config import Config, ConfigError
from proxy.workers import Worker, current

__all__ = ["run"]

YOUNG: Final = 10_000
"""Objects that come before the collector looks at them. With 700, as it begins, it would look whenever some twenty
requests are under way at once, none of which leaves it anything: what they make is freed with them.
"""


Address = tuple[str, int]


def run(
    config: Config, path: Path | None, *, listening: Callable[[Address, Address], None] = lambda _, __: None
) -> int:
    """Serves until a signal has drained the process; the exit code. Raises ConfigError, ListenError.

    `listening` is called once, when both listeners are open, with the addresses of the gateway and of the admin's.
    """
    _raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Process(config, path, current(), listening).live())


@final
class _Process:
    def __init__(
        self,
        config: Config,
        path: Path | None,
        worker: Worker | None,
        listening: Callable[[Address, Address], None],
    ) -> None:
        self._listening = listening
        self._path = path
        self._worker = worker
        listen, admin = (worker.listen, worker.admin) if worker else (None, None)
        self._app = App(config, listen=listen, admin=admin, token=worker.token if worker else "")
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def live(self) -> int:
        app, loop = self._app, asyncio.get_running_loop()
        # Before anybody can know that there is something to signal.
        for signum, react in self._reactions().items():
            loop.add_signal_handler(signum, react)
        await app.start()
        self._listening(app.address, app.admin_address)
        if self._worker is not None:
            loop.add_reader(self._worker.parent, self._orphaned)
        # What is alive now lives as long as the process: the collector need never look at it. It has been off so far,
        # and is not asked to find the little that is garbage: that would take as long as a tenth of the start.
        gc.freeze()
        gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
        gc.enable()
        await self._stop.wait()
        await app.drain(self._hurry)
        return 0 if await app.stop() else 1

    def _reactions(self) -> dict[int, Callable[[], None]]:
        return {signal.SIGTERM: self._end, signal.SIGINT: self._end, signal.SIGHUP: self._reload}

    def _end(self) -> None:
        """The first signal drains; the second ends the drain."""
        if self._stop.is_set():
            self._hurry.set()
        else:
            self._app.log.info("draining", in_flight=self._app.in_flight)
            self._stop.set()

    def _orphaned(self) -> None:
        if self._worker is not None:
            asyncio.get_running_loop().remove_reader(self._worker.parent)
        if not self._stop.is_set():
            self._app.log.warning("supervisor_gone")
            self._end()

    def _reload(self) -> None:
        if self._app.readiness.state is State.STARTING:
            # What is being started has just been read.
            return
        try:
            self._app.reload(configuration.load(self._path))
        except ConfigError as error:
            self._app.log.error("reload_refused", reason=str(error))


def _raise_file_limit() -> None:
    """Two descriptors a request: the default of 1,024 is soon gone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
