"""Opening connections: addresses, proxies, certificates."""

import asyncio
import base64
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.errors import Failure, Kind
from proxy.http1 import connect
from proxy.http1.connect import AddrInfo, Connector, HttpProxy, Origin, proxy_for, tls_context
from tests.fakes.answers import SILENCE, json_answer
from tests.fakes.connect_proxy import ConnectProxy
from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartGateway
from tests.fakes.raw import Response
from tests.fakes.toxics import black_hole
from tests.fakes.upstream import ScriptedUpstream


class Addresses:
    """A resolver that knows what the test tells it."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int) -> list[AddrInfo]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (*address, 0, 0))
            if ":" in address[0]
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
            for address in self._addresses
        ]


def _connector(resolver: Any, port: int = 9, **fields: Any) -> Connector:
    origin = Origin(fields.pop("scheme", "http"), "api.test", port)
    tls, proxy = fields.pop("tls", None), fields.pop("proxy", None)
    return Connector(origin, tls, proxy, resolver, asyncio.get_running_loop())


class Opened(asyncio.Protocol):
    transport: asyncio.BaseTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


async def _open(connector: Connector, seconds: float = 2.0) -> tuple[str, int]:
    protocol = await connector.open(Opened, seconds)
    host, port = protocol.transport.get_extra_info("peername")[:2]
    protocol.transport.close()
    await asyncio.sleep(0)
    return host, port


# Addresses


async def test_a_black_hole_costs_a_quarter_second(upstream: ScriptedUpstream) -> None:
    """While the first address says nothing, the second is tried, long before the deadline."""
    assert connect.ATTEMPT_DELAY == 0.25
    with black_hole() as hole:
        address = await _open(_connector(Addresses(hole, ("127.0.0.1", upstream.port))), 5.0)
    assert address == ("127.0.0.1", upstream.port)


async def test_a_refusing_address_costs_nothing(upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refusal the next address is tried at once."""
    monkeypatch.setattr(connect, "ATTEMPT_DELAY", 60.0)
    address = await _open(_connector(Addresses(("127.0.0.1", 1), ("127.0.0.1", upstream.port))))
    assert address == ("127.0.0.1", upstream.port)


async def test_both_families() -> None:
    """IPv6 and IPv4 are tried in turn: one dead family is no obstacle."""
    async with ScriptedUpstream(host="::1") as six:
        dead = [("127.0.0.1", 1), ("127.0.0.1", 2)]
        assert await _open(_connector(Addresses(*dead, ("::1", six.port)))) == ("::1", six.port)


async def test_an_ipv6_base_url(start: StartGateway) -> None:
    """A literal address in brackets works, also as Host."""
    async with ScriptedUpstream(host="::1") as six:
        gateway = await start(six.url)
        async with gateway.client() as client:
            assert (await client.ask(body=CHAT)).status == 200
        assert six.request.header(b"host") == f"[::1]:{six.port}".encode()


async def test_a_name_is_looked_up(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """A host name in the base URL is resolved, and sent as Host."""
    gateway = await start(f"http://localhost:{upstream.port}/v1")
    async with gateway.client() as client:
        assert (await client.ask(body=CHAT)).status == 200
    assert upstream.request.header(b"host") == f"localhost:{upstream.port}".encode()


@pytest.mark.parametrize("error", [OSError("x"), RuntimeError("uvloop's"), UnicodeError("idna"), ssl.SSLError("x")])
async def test_foreign_exceptions_are_mapped(error: Exception) -> None:
    """Whatever goes wrong on the way is one Failure of a request that was not processed."""

    class Broken:
        async def resolve(self, host: str, port: int) -> list[AddrInfo]:
            raise error

    with pytest.raises(Failure) as failed:
        await _open(_connector(Broken()))
    assert (failed.value.kind, failed.value.unprocessed) == (Kind.UPSTREAM_UNREACHABLE, True)
    assert failed.value.detail == f"connect: {type(error).__name__}"


@pytest.mark.parametrize("steps", range(10))
async def test_cancelled_while_opening(upstream: ScriptedUpstream, steps: int) -> None:
    """An opening that is cancelled leaves no socket (the fixture looks), here or there."""
    task = asyncio.Task(_connector(Addresses(("127.0.0.1", upstream.port))).open(Opened, 1.0))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    try:
        (await task).transport.close()
    except asyncio.CancelledError:
        assert upstream.requests == []


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("https://api.openai.com/v1", Origin("https", "api.openai.com", 443), "api.openai.com"),
        ("http://127.0.0.1:8000/v1", Origin("http", "127.0.0.1", 8000), "127.0.0.1:8000"),
        ("http://[::1]/v1", Origin("http", "::1", 80), "[::1]"),
        ("https://BÜCHER.example:443", Origin("https", "xn--bcher-kva.example", 443), "xn--bcher-kva.example"),
        ("http://x:443", Origin("http", "x", 443), "x:443"),
    ],
)
def test_origins(url: str, origin: Origin, authority: str) -> None:
    """Scheme, host and port of a base URL; the port is named where it is not the scheme's."""
    assert Origin.of(url) == origin
    assert origin.authority == authority


# Proxies


@pytest.fixture
async def tls_upstream(server_tls: ssl.SSLContext) -> AsyncIterator[ScriptedUpstream]:
    """Comes before `start` among a test's arguments, so that gateways stop first."""
    async with ScriptedUpstream(tls=server_tls) as secure:
        yield secure


async def _ask(start: StartGateway, url: str, **settings: object) -> Response:
    gateway = await start(url, **settings)
    async with gateway.client() as client:
        return await client.ask(body=CHAT, headers=[("authorization", "Bearer sk-client")])


def _assert_unreachable(response: Response, *secrets: str) -> None:
    assert (response.status, response.error_code) == (502, "upstream_unreachable")
    assert response.json()["error"]["message"] == "The upstream could not be reached."
    for secret in secrets:
        assert secret not in repr((response.headers, response.body))


async def test_through_a_proxy(
    tls_upstream: ScriptedUpstream, start: StartGateway, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY is asked with CONNECT and its own credentials; the request and its key go through TLS alone."""
    async with ConnectProxy(target=("127.0.0.1", tls_upstream.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://us%40er:pa%3Ass@127.0.0.1:{proxy.port}")
        url = f"https://localhost:{tls_upstream.port}/v1"
        response = await _ask(start, url, upstreams__test__ca_file=ca_file)
    assert response.status == 200
    (head,) = proxy.asked
    authority = f"localhost:{tls_upstream.port}"
    credentials = base64.b64encode(b"us@er:pa:ss").decode()
    assert head.decode().split("\r\n") == [
        f"CONNECT {authority} HTTP/1.1",
        f"host: {authority}",
        f"proxy-authorization: Basic {credentials}",
        "",
        "",
    ]
    assert tls_upstream.request.all(b"proxy-authorization") == []
    assert tls_upstream.request.header(b"authorization") == b"Bearer sk-client"


@pytest.mark.parametrize(
    "refusal",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 6\r\n\r\ncanary",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.0 403 Forbidden\r\nconnection: close\r\n\r\n<html>canary</html>",
        b"HTTP/1.1 301 Moved\r\nlocation: http://canary/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK",
        b"canary\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
    ],
    ids=["407", "502", "403", "301", "cut", "no HTTP", "endless"],
)
async def test_a_proxy_that_refuses(start: StartGateway, monkeypatch: pytest.MonkeyPatch, refusal: bytes) -> None:
    """Is an upstream that can't be reached; nothing of its words, its address or its password is told."""
    async with ConnectProxy(refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy.port}")
        response = await _ask(start, "https://api.test/v1", timeouts__connect=1.0)
        _assert_unreachable(response, "canary", "secret", str(proxy.port), "127.0.0.1")
        assert len(proxy.asked) == 1


async def test_a_proxy_that_says_nothing(start: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is bound by the connect deadline."""
    async with ScriptedUpstream(SILENCE) as mute:
        monkeypatch.setenv("HTTPS_PROXY", mute.origin)
        _assert_unreachable(await _ask(start, "https://api.test/v1", timeouts__connect=0.3))
        assert [request.method for request in mute.requests] == ["CONNECT"]
    with black_hole() as (host, port):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}:{port}")
        _assert_unreachable(await _ask(start, "https://api.test/v1", timeouts__connect=0.2))


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_where_proxies_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In either spelling, for https alone; the password stays out of the repr."""
    monkeypatch.setenv(name, "http://user:secret@proxy.test:3129")
    proxy = proxy_for(Origin("https", "api.test", 443))
    assert proxy == HttpProxy("proxy.test", 3129, base64.b64encode(b"user:secret").decode())
    assert "secret" not in repr(proxy)
    assert proxy is not None
    assert proxy.credentials not in repr(proxy)
    assert proxy_for(Origin("http", "api.test", 80)) is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "bypassed"),
    [
        ("api.test", "api.test", True),
        (".test", "api.test", True),
        ("other.test, api.test", "api.test", True),
        ("*", "api.test", True),
        ("api.test:443", "api.test", True),
        ("api.test:8443", "api.test", False),
        ("pi.test", "api.test", False),
        ("", "api.test", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, *, bypassed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY lists hosts, domains and hosts with ports that are reached directly."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.test")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    proxy = proxy_for(Origin("https", host, 443))
    assert (proxy is None) is bypassed


@pytest.mark.parametrize("url", ["socks5://proxy.test", "https://proxy.test", "http://"])
def test_proxies_that_are_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other kinds of proxy are refused at the start, without their address."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(ValueError, match=r"HTTPS_PROXY: expected http://host:port"):
        proxy_for(Origin("https", "api.test", 443))


# Certificates


async def test_a_trusted_upstream(tls_upstream: ScriptedUpstream, start: StartGateway, ca_file: Path) -> None:
    """`ca_file` adds a private authority to those that are trusted."""
    for url in (tls_upstream.url, f"https://localhost:{tls_upstream.port}/v1"):
        assert (await _ask(start, url, upstreams__test__ca_file=ca_file)).status == 200


async def test_an_unknown_authority(tls_upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Without it the upstream is nobody's: 502, and no request was sent."""
    _assert_unreachable(await _ask(start, tls_upstream.url), "certificate", "127.0.0.1")
    assert tls_upstream.requests == []


def _server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize("wrong", ["host", "expired", "self-signed", "not yet"])
async def test_certificates_that_prove_nothing(
    start: StartGateway, authority: trustme.CA, ca_file: Path, wrong: str
) -> None:
    """A certificate for another host, out of its time, or of nobody's: 502, no detail, no request, no key sent."""
    now = dt.datetime.now(dt.UTC)
    match wrong:
        case "host":
            certificate = authority.issue_cert("elsewhere.test")
        case "expired":
            past = now - dt.timedelta(days=1)
            certificate = authority.issue_cert("127.0.0.1", not_before=past - dt.timedelta(days=9), not_after=past)
        case "not yet":
            certificate = authority.issue_cert("127.0.0.1", not_before=now + dt.timedelta(days=1))
        case _:
            certificate = trustme.CA().issue_cert("127.0.0.1")
    async with ScriptedUpstream(tls=_server(certificate)) as impostor:
        response = await _ask(start, impostor.url, upstreams__test__ca_file=ca_file)
        _assert_unreachable(response, "certificate", "elsewhere", str(impostor.port), "SSL")
        assert impostor.requests == []


async def test_old_tls_is_not_spoken(start: StartGateway, authority: trustme.CA, ca_file: Path) -> None:
    """TLS 1.2 is the least."""
    context = _server(authority.issue_cert("127.0.0.1"))
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with ScriptedUpstream(tls=context) as old:
        _assert_unreachable(await _ask(start, old.url, upstreams__test__ca_file=ca_file))


def test_verification_is_on() -> None:
    """Names and chains are checked; no protocol but HTTP/1.1 is offered."""
    context = tls_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError, match=r"."):
        tls_context("/nowhere.pem")


async def test_a_tls_upstream_answers_like_any(
    tls_upstream: ScriptedUpstream, start: StartGateway, ca_file: Path
) -> None:
    """Large bodies both ways, and reuse, over TLS."""
    tls_upstream.script(json_answer({"a": "x" * 3_000_000}))
    gateway = await start(tls_upstream.url, upstreams__test__ca_file=ca_file)
    async with gateway.client() as client:
        for _ in range(3):
            response = await client.ask(body=CHAT | {"pad": "y" * 3_000_000})
            assert len(response.json()["a"]) == 3_000_000
    assert tls_upstream.accepted == 1
    assert {request.length for request in tls_upstream.requests} == {tls_upstream.requests[0].length}


async def test_a_proxy_is_looked_up_in_place_of_the_origin() -> None:
    """Behind a proxy the origin's name is the proxy's to resolve."""
    asked: list[tuple[str, int]] = []

    class Asked(Addresses):
        async def resolve(self, host: str, port: int) -> list[AddrInfo]:
            asked.append((host, port))
            return await super().resolve(host, port)

    proxy = HttpProxy("proxy.test", 3128, "")
    connector = _connector(Asked(("127.0.0.1", 1)), 443, scheme="https", tls=tls_context(), proxy=proxy)
    with pytest.raises(Failure):
        await connector.open(Opened, 1.0)
    assert asked == [("proxy.test", 3128)]
