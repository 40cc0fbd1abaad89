"""The supervisor's decisions, and what it holds, without processes."""

import signal
import socket
from contextlib import ExitStack

import pytest

from proxy.config import ConfigError
from proxy.workers import Action, Backoff, ListenError, Worker, current, decide, hold


def test_the_wait_before_a_restart_doubles_up_to_its_bound() -> None:
    """A worker that dies at once is not restarted in a tight loop."""
    backoff = Backoff()
    waits = [backoff.after(lived=0.2) for _ in range(9)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_long_life_makes_up_for_earlier_deaths() -> None:
    """After 30 s of life the next wait is short again; 29 s are not enough."""
    backoff = Backoff()
    assert [backoff.after(lived) for lived in (0, 0, 29.0, 30.0, 0)] == [0.1, 0.2, 0.4, 0.1, 0.2]


@pytest.mark.parametrize(
    ("signum", "stopping", "action"),
    [
        (signal.SIGTERM, False, Action.STOP),
        (signal.SIGINT, False, Action.STOP),
        (signal.SIGTERM, True, Action.HURRY),
        (signal.SIGINT, True, Action.HURRY),
        (signal.SIGHUP, False, Action.RELOAD),
        (signal.SIGHUP, True, Action.NOTHING),
        (signal.SIGCHLD, False, Action.NOTHING),
        (signal.SIGCHLD, True, Action.NOTHING),
    ],
)
def test_what_a_signal_does_depends_on_whether_the_end_has_begun(signum: int, stopping: bool, action: Action) -> None:  # noqa: FBT001
    """The first signal drains, the second hurries, a reload during the drain is void."""
    assert decide(signum, stopping=stopping) is action


def test_a_worker_finds_its_place_in_the_environment() -> None:
    """What the supervisor writes is what the worker reads; ASKONCE_WORKER is its index, plainly."""
    worker = Worker(1, 4, ("::1", 8080), ("127.0.0.1", 8081), 7)
    environ = worker.environment()
    assert environ["ASKONCE_WORKER"] == "1"
    assert current(environ) == worker
    assert current({}) is None


@pytest.mark.parametrize("place", ["1", "{}", "x", '{"index":0,"count":1,"listen":["a"],"admin":["a",1],"parent":3}'])
def test_a_place_that_no_supervisor_wrote_is_refused(place: str) -> None:
    """In one line, as every mistake in the environment."""
    with pytest.raises(ConfigError, match=r"^ASKONCE_WORKER_PLACE: "):
        current({"ASKONCE_WORKER_PLACE": place})


def test_a_free_port_is_held_for_the_workers_and_takes_no_connection() -> None:
    """Port 0 is settled once; workers bind it too, and until they listen nobody does."""
    with ExitStack() as stack:
        port = hold("127.0.0.1", 0, stack)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", port))
            worker.listen()
            socket.create_connection(("127.0.0.1", port), timeout=1).close()


def test_every_address_of_a_name_gets_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may stand for an IPv4 and an IPv6 address."""
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with ExitStack() as stack:
        port = hold("localhost", 0, stack)
        for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
            with socket.socket(family) as rival, pytest.raises(OSError, match="in use"):
                rival.bind((host, port))


def test_an_occupied_port_is_refused_even_if_it_could_be_shared() -> None:
    """Another gateway's SO_REUSEPORT listener would silently get half of the connections."""
    with socket.socket() as other, ExitStack() as stack:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"^cannot listen on 127.0.0.1 port {port}: Address already in use$"):
            hold("127.0.0.1", port, stack)


def test_an_address_of_another_machine_is_refused() -> None:
    """In one line with the reason."""
    with (
        ExitStack() as stack,
        pytest.raises(ListenError, match=r"^cannot listen on 192\.0\.2\.1 port 0: Cannot assign"),
    ):
        hold("192.0.2.1", 0, stack)
