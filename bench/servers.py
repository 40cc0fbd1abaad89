"""Starts and ends the processes that are measured, on free loopback ports."""

import contextlib
import getpass
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.cpu import pinned

__all__ = [
    "Missing",
    "Server",
    "StartError",
    "askonce",
    "nginx",
    "nginx_path",
    "raw_upstream",
    "relay",
    "scratch_folder",
]

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


def raw_upstream(scratch: Path, on: set[int]) -> Server:
    return _python("upstream", scratch, on, "bench.upstream")


def relay(kind: str, upstream: int, scratch: Path, on: set[int]) -> Server:
    """`aiohttp` or `bare`."""
    return _python(kind, scratch, on, "bench.relays", kind, str(upstream))


def nginx_path() -> str | None:
    for folder in [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/usr/local/sbin"]:
        path = Path(folder) / "nginx"
        if folder and path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def nginx(upstream: int, scratch: Path, on: set[int]) -> Server:
    """The system's nginx: one worker, connections to the upstream kept alive, an access log like ours."""
    path = nginx_path()
    if path is None:
        raise Missing("nginx is not installed")
    port = _free_port()
    template = Path(__file__).with_name("nginx.conf").read_text(encoding="utf-8")
    settings = scratch / "nginx.conf"
    settings.write_text(
        template.format(user=getpass.getuser(), scratch=scratch, upstream=upstream, port=port), encoding="utf-8"
    )
    log = scratch / "nginx.log"
    command = [path, "-p", str(scratch), "-c", str(settings), "-e", str(scratch / "error.log")]
    server = Server("nginx", _spawn("nginx", command, log, on), port, log)
    with _ended_on_error(server):
        for _ in _poll(server):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
    return server


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def askonce(upstream: int, scratch: Path, on: set[int], settings: str = "") -> Server:
    """One worker of the gateway, as users run it: keys passed through, log, metrics and server-timing on."""
    config = scratch / "askonce.toml"
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
""",
        encoding="utf-8",
    )
    log = scratch / "askonce.log"
    drop = ("ASKONCE_", "OPENAI_")
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(drop) and "proxy" not in name.lower()
    }
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config), "--workers", "1"]
    server = Server("askonce", _spawn("askonce", command, log, on, env), 0, log)
    with _ended_on_error(server):
        for text in _poll(server):
            told = _listening(text)
            if told is not None:
                server.port, server.admin_port = told
                break
    return server


def _listening(log: str) -> tuple[int, int] | None:
    """The ports in the line that says that the gateway is up."""
    for line in log.splitlines():
        if '"listening"' in line:
            with contextlib.suppress(ValueError, KeyError):
                told = json.loads(line)
                return _port(told["url"]), _port(told["admin_url"])
    return None


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].rstrip("/"))
