"""Several processes behind one port, and the supervisor that keeps them alive.

The supervisor has no event loop and serves nothing: it holds the ports (bound, never listening),
starts the workers, restarts those that die, and passes signals on. Each worker binds the same
ports with SO_REUSEPORT, so the kernel spreads connections, and reads the supervisor's copy of
config.toml: a worker that is restarted while the file is being edited still gets the
configuration that its siblings run with. What a reload cannot change for those, variables hold
in place for it.
"""

import enum
import fcntl
import math
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from types import FrameType

import msgspec

import proxy
from proxy import config as configuration
from proxy.config import Config, ConfigError, Loaded
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import forget_worker

__all__ = ["Action", "Backoff", "ListenError", "Supervisor", "Worker", "current", "decide", "hold", "run"]

KILL_MARGIN = 10.0
"""Seconds that a worker may take beyond its drain time before it is killed."""

SETTLING = 5.0
"""Seconds from the start in which a worker that exits by itself ends the start: its siblings would do the same."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_HELD = ("listen.tls_", "log.", "metrics.")
"""What else a worker could differ in from siblings that started earlier: its place has its addresses."""
_INDEX = "ASKONCE_WORKER"
_PLACE = "ASKONCE_WORKER_PLACE"


class ListenError(Exception):
    """One line that says which address cannot be listened on, and why."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What a process must know to be one of several."""

    index: int
    count: int
    listen: tuple[str, int]
    """Where to bind the public listener, with SO_REUSEPORT; also where the port was given as 0."""
    admin: tuple[str, int]
    parent: int
    """A descriptor that reads as ended once the supervisor is gone, however it went."""
    token: str = field(default="", repr=False)
    """Of the admin API, where none is configured."""

    def environment(self) -> dict[str, str]:
        return {_INDEX: str(self.index), _PLACE: msgspec.json.encode(self).decode()}


def current(environ: Mapping[str, str] = os.environ) -> Worker | None:
    """This process's place among workers; None where it is alone. Raises ConfigError."""
    if not (place := environ.get(_PLACE)):
        return None
    try:
        return msgspec.json.decode(place, type=Worker)
    except msgspec.DecodeError:
        raise ConfigError(f"{_PLACE}: is set by the supervisor, for its workers alone") from None


@dataclass(slots=True)
class Backoff:
    """Seconds to wait before a worker is started again: doubling, until one lives long enough."""

    first: float = 0.1
    most: float = 10.0
    forgiven_after: float = 30.0
    _next: float = field(default=0.0, init=False)

    def after(self, lived: float) -> float:
        if lived >= self.forgiven_after or not self._next:
            self._next = self.first
        delay, self._next = self._next, min(self._next * 2, self.most)
        return delay


class Action(enum.Enum):
    """What a signal makes the supervisor do."""

    RELOAD = "reload"
    STOP = "stop"
    HURRY = "hurry"
    NOTHING = "nothing"


def decide(signum: int, *, stopping: bool) -> Action:
    if signum in (signal.SIGTERM, signal.SIGINT):
        return Action.HURRY if stopping else Action.STOP
    if signum == signal.SIGHUP and not stopping:
        return Action.RELOAD
    return Action.NOTHING


def hold(host: str, port: int, stack: ExitStack) -> int:
    """Binds every address of `host` until `stack` ends; the port, also where it was 0. Raises ListenError.

    A bound socket that does not listen takes no connections, and keeps the port while workers come and go.
    """
    held: list[socket.socket] = []
    try:
        # The one look-up of a process without an event loop.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: TID251
        for family, _, _, _, address in dict.fromkeys(found):
            held.append(stack.enter_context(socket.socket(family, socket.SOCK_STREAM)))
            port = _bind_shared(held[-1], (address[0], port, *address[2:]))
    except OSError as error:
        raise ListenError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return port


def _bind_shared(sock: socket.socket, address: tuple[object, ...]) -> int:
    # Without SO_REUSEPORT first: with it, the port of another askonce would be silently shared.
    with socket.socket(sock.family, socket.SOCK_STREAM) as probe:
        for each in (probe, sock):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sock.family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(address)
    port: int = sock.getsockname()[1]
    return port


@dataclass(slots=True)
class _Seat:
    """One worker's place, whoever sits on it."""

    index: int
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)


class Supervisor:
    """Runs `count` workers until it is told to stop and they have drained."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        log: Log,
        command: Sequence[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loaded = loaded
        self._log = log
        self._command = command
        self._clock = clock
        self._held: dict[str, str] = {}
        self._token = secrets.token_hex(24)
        self._seats = [_Seat(index) for index in range(loaded.config.server.workers)]
        self._settled_at = math.inf
        self._stopping = False
        self._kill_at = math.inf
        self._unclean = False

    def __repr__(self) -> str:
        pids = [seat.process.pid if seat.process else None for seat in self._seats]
        return f"<Supervisor {'stopping' if self._stopping else 'running'} {pids}>"

    def run(self) -> int:
        """Raises ListenError. The exit code: 0 if every worker drained, 1 if one had to be killed or failed."""
        with ExitStack() as stack:
            self._directory = stack.enter_context(_private_directory())
            self._keep_config()
            listen, admin = self._loaded.config.listen, self._loaded.config.admin
            self._listen = (listen.host, hold(listen.host, listen.port, stack))
            self._admin = (admin.host, hold(admin.host, admin.port, stack))
            self._parent, written = os.pipe()
            stack.callback(os.close, self._parent)
            stack.callback(os.close, written)  # workers see its end, even after a kill -9 of this process
            wait = stack.enter_context(_signals())
            if not self._loaded.config.admin.token:
                self._log.info("admin_token", token=self._token, reason="none is configured")
            self._settled_at = self._clock() + SETTLING
            while True:
                self._reap()
                self._start_due()
                if self._stopping and not self._alive():
                    break
                for signum in wait(self._pause()):
                    self._handle(signum)
            self._log.info("stopped", clean=not self._unclean)
        return int(self._unclean)

    def _keep_config(self) -> None:
        """Takes the copy that workers read. Written aside: a worker may be starting."""
        fresh = self._directory / "config.toml.new"
        fresh.write_text(self._loaded.text, encoding="utf-8")
        fresh.replace(self._directory / "config.toml")

    def _alive(self) -> list[subprocess.Popen[bytes]]:
        return [seat.process for seat in self._seats if seat.process]

    def _pause(self) -> float | None:
        """Seconds until something is due; None: nothing but a signal."""
        waiting = [] if self._stopping else [seat.start_at for seat in self._seats if not seat.process]
        due = min([self._kill_at, *waiting])
        return None if due == math.inf else max(0.0, due - self._clock())

    def _start_due(self) -> None:
        now = self._clock()
        for seat in self._seats:
            if not seat.process and not self._stopping and seat.start_at <= now:
                self._start(seat)
        if now >= self._kill_at:
            self._kill_at = math.inf
            for process in self._alive():
                self._log.error("worker_killed", pid=process.pid)
                process.kill()

    def _start(self, seat: _Seat) -> None:
        worker = Worker(seat.index, len(self._seats), self._listen, self._admin, self._parent, self._token)
        seat.started_at = self._clock()
        try:
            seat.process = subprocess.Popen(  # noqa: S603  (our own command)
                self._command or _own_command(self._directory / "config.toml"),
                stdin=subprocess.DEVNULL,
                pass_fds=(self._parent,),
                env=os.environ | worker.environment() | self._held | {"PROMETHEUS_MULTIPROC_DIR": str(self._directory)},
                process_group=0,  # a terminal's ^C is passed on once, by the supervisor
            )
        except OSError as error:
            self._restart_later(seat, worker=seat.index, reason=error.strerror or "cannot be started")
        else:
            self._log.info("worker_started", worker=seat.index, pid=seat.process.pid)

    def _reap(self) -> None:
        for seat in self._seats:
            process = seat.process
            if process is None or (code := process.poll()) is None:
                continue
            seat.process = None
            forget_worker(str(seat.index), str(self._directory))
            place: dict[str, object] = {"worker": seat.index, "pid": process.pid, "reason": _described(code)}
            if self._stopping:
                if code not in (0, -signal.SIGTERM, -signal.SIGINT):  # these: it had not begun to serve
                    self._unclean = True
                    self._log.error("worker_failed", **place)
            elif code > 0 and self._clock() < self._settled_at:
                self._unclean = True
                self._log.error("start_refused", **place)
                self._stop(signal.SIGTERM)
            else:
                self._restart_later(seat, **place)

    def _restart_later(self, seat: _Seat, **fields: object) -> None:
        now = self._clock()
        delay = seat.backoff.after(now - seat.started_at)
        seat.start_at = now + delay
        lived = round(now - seat.started_at, 3)
        self._log.error("worker_died", lived_s=lived, restart_in_s=delay, **fields)

    def _handle(self, signum: int) -> None:
        match decide(signum, stopping=self._stopping):
            case Action.RELOAD:
                self._reload()
            case Action.STOP:
                self._log.info("stopping", signal=signal.Signals(signum).name)
                self._stop(signum)
            case Action.HURRY:
                self._kill_at = min(self._kill_at, self._clock() + KILL_MARGIN)
                self._pass_on(signum)
            case Action.NOTHING:
                pass

    def _stop(self, signum: int) -> None:
        server = self._loaded.config.server
        self._stopping = True
        self._kill_at = self._clock() + server.drain_delay + server.drain_timeout + KILL_MARGIN
        self._pass_on(signum)

    def _reload(self) -> None:
        try:
            loaded = configuration.read(self._loaded.path)
        except ConfigError as error:
            self._log.error("reload_refused", reason=str(error))
            return
        config, ignored = configuration.carried_over(self._loaded.config, loaded.config)
        self._held = _as_variables(config, [key for key in ignored if key.startswith(_HELD)])
        self._loaded = replace(loaded, config=config)
        self._keep_config()
        self._pass_on(signal.SIGHUP)

    def _pass_on(self, signum: int) -> None:
        for process in self._alive():
            process.send_signal(signum)


def run(loaded: Loaded) -> int:
    """Supervises `server.workers` workers until they have drained; the exit code. Raises ListenError."""
    log = Log(style=loaded.config.log.format, level=loaded.config.log.level)
    try:
        return Supervisor(loaded, log=log).run()
    finally:
        log.close()


def _own_command(config: Path) -> list[str]:
    # `-m` would prefer a folder `proxy` of the working directory to the package that runs here.
    from_here = Path(proxy.__file__).parents[1] == Path.cwd()
    return [sys.executable, *([] if from_here else ["-P"]), "-m", "proxy", "serve", "--config", str(config)]


def _as_variables(config: Config, keys: list[str]) -> dict[str, str]:
    return {configuration.as_variable(key): str(attrgetter(key)(config)) for key in keys}


def _described(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"signal {-code}"


@contextmanager
def _private_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="askonce-", ignore_cleanup_errors=True) as name:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # systemd-tmpfiles removes old files of /tmp, but leaves locked directories alone.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield Path(name)
        finally:
            os.close(descriptor)


@contextmanager
def _signals() -> Iterator[Callable[[float | None], bytes]]:
    """Yields a function that waits, at most so many seconds, and returns the signals that came."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)

        def wait(timeout: float | None) -> bytes:
            ready, _, _ = select.select([reader], [], [], timeout)
            return reader.recv(256) if ready else b""

        before = {each: signal.signal(each, _noted) for each in _SIGNALS}
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield wait
        finally:
            signal.set_wakeup_fd(descriptor)
            for each, handler in before.items():
                signal.signal(each, handler)


def _noted(_signum: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor has it; a handler must exist for that."""
