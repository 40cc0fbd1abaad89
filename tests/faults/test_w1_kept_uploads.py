"""W1: uploads whose answers may be kept are held whole, up to a bound; all others stream through as ever."""

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

import proxy.understand
from proxy.openai.forms import Form, read_form
from tests.fakes.asking import status_of
from tests.fakes.gateway import Gateway, GatewayProcess, StartGateway, StartProcess
from tests.fakes.polling import until
from tests.fakes.raw import Response, compose
from tests.fakes.uploads import ANSWERS, BOUNDARY, HEADERS, LIFETIMES, SOUND, TRANSCRIPTIONS, detail, send, upload
from tests.fakes.upstream import ScriptedUpstream

MIB = 1 << 20
LIMIT = 100_000
MODEL = ("model", "whisper-1")


def peak(gateway: GatewayProcess) -> int:
    """Bytes of memory that the process has had at most."""
    return int(Path(f"/proc/{gateway.pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


async def sent(gateway: Gateway | GatewayProcess, body: bytes, *, chunked: bool) -> Response:
    """With a length, or in pieces whose number nobody knows."""
    framing = ("transfer-encoding", "chunked") if chunked else ("content-length", str(len(body)))
    async with gateway.client(timeout=20) as client:
        await client.send(compose("POST", TRANSCRIPTIONS, b"", [*HEADERS, framing]))
        for start in range(0, len(body), MIB):
            piece = body[start : start + MIB]
            await client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await client.send(b"0\r\n\r\n")
        return await client.response()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [10, 90_000, 3 * MIB], ids=str)
async def test_w1_a_held_upload_is_sent_as_it_came(
    upstream: ScriptedUpstream, start: StartGateway, size: int, chunked: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """To the byte, and known again however it is framed; nothing of it stays."""
    upstream.script(ANSWERS["text"])
    gateway = await start(**LIFETIMES)
    body = upload(MODEL, file=SOUND[:10].ljust(size, b"."))
    assert status_of(await sent(gateway, body, chunked=chunked)) == "MISS"
    request = upstream.request
    assert (request.sha256, request.length) == (hashlib.sha256(body).hexdigest(), len(body))
    assert request.header(b"content-type") == HEADERS[1][1].encode()
    assert status_of(await sent(gateway, body, chunked=not chunked)) == "HIT"
    cache = gateway.app._pipeline._cache
    assert cache is not None
    assert not cache[0]._seen
    assert repr(cache[0]._meanings) == "<Meanings 0 known, 0 bytes>"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("excess", [0, 1, 5 * MIB], ids=str)
async def test_w1_too_large_to_be_held(
    upstream: ScriptedUpstream, start: StartGateway, excess: int, chunked: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """It streams through untouched, and its answer says why it is not kept."""
    upstream.script(ANSWERS["text"])
    gateway = await start(**LIFETIMES, cache__max_upload_bytes=LIMIT)
    body = upload(MODEL, file=b"." * (LIMIT + excess - len(upload(MODEL, file=b""))))
    seen = [await sent(gateway, body, chunked=chunked) for _ in range(2)]
    expected = [("BYPASS", "request-too-large")] * 2 if excess else [("MISS", ""), ("HIT", "")]
    assert [(status_of(response), detail(response)) for response in seen] == expected
    digest = hashlib.sha256(body).hexdigest()
    assert {request.sha256 for request in upstream.requests} == {digest}
    refused = await gateway.sample("askonce_cache_refusals_total", reason="request-too-large")
    assert refused == (2 if excess else 0)


async def test_w1_too_large_and_only_if_cached(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """There is nothing stored that it could be."""
    gateway = await start(**LIFETIMES, cache__max_upload_bytes=LIMIT)
    response = await send(gateway, upload(MODEL, file=b"." * LIMIT), ("cache-control", "only-if-cached"))
    assert (response.status, response.error_code, upstream.requests) == (504, "cache_miss", [])


@pytest.mark.alone
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_w1_memory_is_bounded(
    start_process: StartProcess, upstream: ScriptedUpstream, chunked: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Of an upload that is too large to be held, no more than the bound waits."""
    upstream.script(ANSWERS["text"])
    gateway = await start_process(**LIFETIMES, cache__max_upload_bytes=4 * MIB)
    await sent(gateway, upload(MODEL), chunked=False)
    before = peak(gateway)
    response = await sent(gateway, upload(MODEL, file=bytes(100 * MIB)), chunked=chunked)
    assert detail(response) == "request-too-large"
    assert peak(gateway) - before < 24 * MIB


@pytest.mark.parametrize("settings", [{"cache__enabled": True}, {**LIFETIMES, "cache__enabled": False}], ids=str)
async def test_w1_without_a_lifetime_nothing_is_held(
    upstream: ScriptedUpstream, start: StartGateway, settings: dict[str, Any]
) -> None:
    """The upstream has its first bytes before the client has sent its last, and no answer speaks of a cache."""
    upstream.script(ANSWERS["text"])
    gateway = await start(**settings)
    body = upload(MODEL, file=b"." * MIB)
    async with gateway.client() as client:
        await client.send(compose("POST", TRANSCRIPTIONS, b"", [*HEADERS, ("content-length", str(len(body)))]))
        await client.send(body[: -MIB // 2])
        await until(lambda: upstream.requests and upstream.requests[0].length > 100_000)
        assert not upstream.request.complete
        await client.send(body[-MIB // 2 :])
        response = await client.response()
    assert response.status == 200
    assert not [name for name, _ in response.headers if b"cache" in name]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (upload(MODEL)[:-4], ()),
        (upload(MODEL, MODEL), ()),
        (upload(MODEL).replace(b"form-data", b"attachment"), ()),
        (b'{"model": "whisper-1", "cache": {"no-store": true}}', ()),
        (b"", ()),
        (upload(MODEL), (("content-encoding", "gzip"),)),
    ],
    ids=["torn", "two models", "no form", "json", "nothing", "encoded"],
)
async def test_w1_what_is_read_in_two_ways_is_not_compared(
    upstream: ScriptedUpstream, start: StartGateway, body: bytes, headers: tuple[tuple[str, str], ...]
) -> None:
    """It goes upstream as it is."""
    upstream.script(ANSWERS["text"])
    gateway = await start(**LIFETIMES)
    for _ in range(2):
        response = await send(gateway, body, *headers)
        assert (status_of(response), detail(response)) == ("BYPASS", "content-type")
    assert [request.body for request in upstream.requests] == [body, body]


async def test_w1_who_leaves_while_it_goes_up(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Nothing was asked yet."""
    gateway = await start(**LIFETIMES)
    async with gateway.client() as client:
        await client.send(compose("POST", TRANSCRIPTIONS, b"", [*HEADERS, ("content-length", "5000")]))
        await client.send(b"--" + BOUNDARY)
        await until(lambda: len(gateway.app.clients.crew.serving))
    await gateway.settled()
    assert upstream.requests == []


async def test_w1_large_ones_are_read_beside_the_loop(
    upstream: ScriptedUpstream, start: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are served while a digest is made."""
    upstream.script(ANSWERS["text"])
    threads = []

    def read(body: bytes, kind: bytes) -> Form:
        threads.append(threading.current_thread() is threading.main_thread())
        return read_form(body, kind)

    monkeypatch.setattr(proxy.understand, "read_form", read)
    gateway = await start(**LIFETIMES)
    for size in (1_000, MIB):
        assert status_of(await send(gateway, upload(MODEL, file=bytes(size)))) == "MISS"
    assert threads == [True, False]
