"""Whose word about addresses counts."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.peers import FORWARDED_FIELDS, Peers, distrusted

PROXIES = ("10.0.0.0/8", "192.0.2.1", "2001:db8::/32")


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("10.255.0.1", True), ("11.0.0.1", False), ("192.0.2.1", True), ("192.0.2.2", False), ("2001:db8::1", True),
     ("2001:db9::1", False), ("", False), ("nonsense", False)],
)  # fmt: skip
def test_who_is_trusted(address: str, trusted: bool) -> None:  # noqa: FBT001
    """Those that the configuration names, in either family; with none named, nobody."""
    assert Peers(PROXIES).trusted(address) is trusted
    assert not Peers(()).trusted(address)


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([], "10.0.0.1"),
        ([b"203.0.113.7"], "203.0.113.7"),
        ([b"1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ([b"1.1.1.1, 203.0.113.7, 10.0.0.2,192.0.2.1"], "203.0.113.7"),
        ([b"1.1.1.1, 203.0.113.7", b"10.0.0.2"], "203.0.113.7"),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([b"1.1.1.1, nonsense, 10.0.0.2"], "10.0.0.2"),
        ([b"nonsense"], "10.0.0.1"),
        ([b"", b","], "10.0.0.1"),
        ([b"2001:db9::5, 2001:db8::1"], "2001:db9::5"),
    ],
)
def test_the_client_is_the_nearest_that_is_no_proxy_of_ours(forwarded: list[bytes], client: str) -> None:
    """Whatever it claims to have come from counts for nothing, and neither does what is no address."""
    headers = [(b"x-forwarded-for", value) for value in forwarded]
    assert Peers(PROXIES).client("10.0.0.1", headers) == client


def test_what_anybody_could_have_written_is_dropped() -> None:
    """And nothing else."""
    headers = [(name, b"x") for name in sorted(FORWARDED_FIELDS)] + [(b"x-forwarded", b"y")]
    assert distrusted(headers) == [(b"x-forwarded", b"y")]
    alone = headers[-1:]
    assert distrusted(alone) is alone


@given(st.lists(st.binary(max_size=20), max_size=4))
def test_any_bytes_are_an_address_or_none(values: list[bytes]) -> None:
    """Total, and what comes out is an address."""
    ipaddress.ip_address(Peers(PROXIES).client("10.0.0.1", [(b"x-forwarded-for", value) for value in values]))
