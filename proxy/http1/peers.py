"""Who is behind a connection: forwarded-for fields count only when a configured proxy wrote them. Sans-IO."""

import ipaddress
from typing import final

from proxy.exchange import Headers

__all__ = ["Peers", "distrusted"]

FORWARDED_FIELDS = frozenset(
    [b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-real-ip"]
)


@final
class Peers:
    """`networks` are those of the proxies in front of this gateway, as addresses or CIDR."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def trusted(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self._networks)

    def client(self, address: str, headers: Headers) -> str:
        """The nearest address in X-Forwarded-For that is not one of our proxies."""
        hops = b",".join(value for name, value in headers if name == b"x-forwarded-for").split(b",")
        for hop in reversed(hops):
            candidate = hop.strip().decode("ascii", "replace")
            try:
                ipaddress.ip_address(candidate)
            except ValueError:
                break
            address = candidate
            if not self.trusted(candidate):
                break
        return address


def distrusted(headers: Headers) -> Headers:
    """Without the fields that anybody could have written; the same list where there are none."""
    for name, _ in headers:
        if name in FORWARDED_FIELDS:
            return [line for line in headers if line[0] not in FORWARDED_FIELDS]
    return headers
