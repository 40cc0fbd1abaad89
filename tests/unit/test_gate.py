"""Who is let in by the admin API's gate, and how long who guesses has to wait."""

import itertools

import pytest

from proxy.admin.gate import AGAIN, BURST, PLACES, Attempts, Gate
from proxy.config import Secret
from tests.fakes.clock import Clock


def exhausted(attempts: Attempts, peer: str) -> int:
    """How many wrong tokens it may try at once."""
    for tried in itertools.count():
        if attempts.wait(peer):
            return tried
        attempts.failed(peer)
    raise AssertionError


def test_guessing_is_slow() -> None:
    """Ten at once, then one every six seconds; after a pause ten again, and no more."""
    clock = Clock()
    attempts = Attempts(clock)
    assert exhausted(attempts, "10.0.0.1") == BURST
    assert attempts.wait("10.0.0.1") == pytest.approx(AGAIN)
    clock.advance(AGAIN / 2)
    assert attempts.wait("10.0.0.1") == pytest.approx(AGAIN / 2)
    clock.advance(AGAIN / 2 + 0.001)
    assert exhausted(attempts, "10.0.0.1") == 1
    clock.advance(1e6)
    assert exhausted(attempts, "10.0.0.1") == BURST


def test_one_who_guesses_holds_up_nobody_else() -> None:
    """But for his neighbours: an IPv6 network is one place, and so are the two ways to write an IPv4 address."""
    attempts = Attempts(Clock())
    exhausted(attempts, "10.0.0.1")
    exhausted(attempts, "2001:db8::1")
    assert [attempts.wait(peer) for peer in ("10.0.0.2", "2001:db8:0:1::1", "", "somewhere")] == [0.0] * 4
    assert all(attempts.wait(peer) > 0 for peer in ("10.0.0.1", "2001:db8::2", "2001:db8::1%eth0"))


def test_the_memory_of_guesses_is_bounded() -> None:
    """The places that failed last are known."""
    attempts = Attempts(Clock())
    for number in range(PLACES + 100):
        attempts.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(attempts) == PLACES
    exhausted(attempts, "10.9.9.9")
    assert attempts.wait("10.9.9.9") > 0


def test_the_gate_shows_no_token() -> None:
    """In its repr."""
    assert "swordfish" not in repr(Gate(Secret("swordfish"), Clock()))
