"""A gateway process that serves more than one test, because a start costs a core a second."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, final

from tests.fakes.gateway import START, TROUBLE, Running, environment, inherited, matching
from tests.fakes.polling import until
from tests.fakes.redis_server import free_port

__all__ = ["StandingGateway", "standing"]

LOOK: Final = 0.01
END: Final = 10.0


@final
class StandingGateway(Running):
    """Asks an upstream on `upstream_port`, where each test may start one, and keeps no connection to it."""

    def __init__(self, process: subprocess.Popen[bytes], upstream_port: int, log: Path) -> None:
        self.url = self.origin = self.admin_url = ""
        self.upstream_port = upstream_port
        self._process = process
        self._log = log
        self._heard = 0

    def forget(self) -> None:
        """What was logged so far is an earlier test's."""
        self._heard = self._log.stat().st_size

    def logs(self, **fields: object) -> list[dict[str, Any]]:
        """The lines of this test that carry these fields."""
        with self._log.open("rb") as log:
            log.seek(self._heard)
            whole = log.read().decode().rpartition("\n")[0]
        return matching(whole.splitlines(), fields)

    async def logged(self, timeout: float = 3.0, **fields: object) -> dict[str, Any]:
        """The first of those lines."""
        await until(lambda: self.logs(**fields), timeout, f"{fields} in the log")
        return self.logs(**fields)[0]

    def listening(self, workers: int) -> None:
        """Waits until all of them do."""
        deadline = time.monotonic() + START
        while len(lines := self.logs(event="listening")) < workers:
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"the gateway ended with {self._process.wait(LOOK)}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the gateway does not listen: {self.logs()}")
        self.origin, self.admin_url = lines[0]["url"].removesuffix("/v1"), lines[0]["admin_url"]
        self.url = f"{self.origin}/v1"

    def __repr__(self) -> str:
        return f"<StandingGateway {self._process.pid} {self.origin}>"


@contextmanager
def standing(*, workers: int = 1, **settings: object) -> Iterator[StandingGateway]:
    """For a fixture of a module. No traceback may have come to standard error by its end."""
    port = free_port()
    settings = {"pool__max_idle": 0, **settings}
    with tempfile.TemporaryDirectory(prefix="askonce-") as name:
        out, err = Path(name, "out"), Path(name, "err")
        with out.open("wb") as log, err.open("wb") as trouble:
            process = subprocess.Popen(
                [sys.executable, "-m", "proxy", "serve", "--workers", str(workers)],
                cwd=name, env=inherited() | environment(f"http://127.0.0.1:{port}/v1", settings),
                stdin=subprocess.DEVNULL, stdout=log, stderr=trouble, start_new_session=True,
            )  # fmt: skip
        try:
            gateway = StandingGateway(process, port, out)
            gateway.listening(workers)
            yield gateway
            process.send_signal(signal.SIGTERM)
            process.wait(END)
            assert not TROUBLE.search(err.read_text()), err.read_text()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(END)
