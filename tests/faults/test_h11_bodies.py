"""H9, H11, H12, H13: many requests at once, bodies that are too large, large, or compressed."""

import asyncio
import base64
import gzip
import hashlib
import zlib
from pathlib import Path

import pytest

from tests.fakes.answers import Answer
from tests.fakes.gateway import Gateway, GatewayProcess, StartGateway, StartProcess
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import ScriptedUpstream

CHUNKED = ("transfer-encoding", "chunked")
MIB = 1 << 20


def resident(gateway: GatewayProcess) -> int:
    """Bytes of memory that the process has had at most."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize("path", ["/v1/models/%d", "/v1/models/m"], ids=["each its own", "all the same"])
async def test_h9_a_thousand_requests_at_once(start: StartGateway, upstream: ScriptedUpstream, path: str) -> None:
    """Answered in order, or the connection is closed; what is accepted is bounded, also of heads that are known."""
    targets = [path % i if "%" in path else path for i in range(1_000)]
    gateway = await start(http__max_pipelined=16)
    upstream.script(lambda request: Answer(200, (), request.target))
    async with gateway.client() as client:
        await client.ask("GET", targets[0])
        await client.send(b"".join(compose("GET", target) for target in targets))
        served = 0
        while not await client.closed(0.5):
            response = await client.response()
            assert response.body == targets[served].encode()
            served += 1
    assert response.header(b"connection") == b"close"
    assert 16 <= served < 1_000
    assert len(upstream.requests) == 1 + served


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/files", "/v1/audio/transcriptions"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_h11_a_body_over_the_cap(
    start: StartGateway, upstream: ScriptedUpstream, target: str, chunked: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """E(413, invalid_request_error, request_too_large), announced or not; no upstream takes it for whole."""
    gateway = await start(http__max_json_bytes=50_000, http__max_upload_bytes=50_000)
    upstream.script(Answer())
    async with gateway.client() as client:
        body = b" " * 50_001
        data = compose(
            "POST", target, b"c351\r\n" + body + b"\r\n0\r\n\r\n" if chunked else body, [CHUNKED] if chunked else []
        )
        await client.send(data)
        response = await client.response()
        assert (response.status, response.error_code) == (413, "request_too_large")
        assert response.json()["error"]["type"] == "invalid_request_error"
    assert not [request for request in upstream.requests if request.complete]


@pytest.mark.parametrize("target", ["/v1/files", "/v1/audio/transcriptions"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_h11_a_body_at_the_cap(
    start: StartGateway, upstream: ScriptedUpstream, target: str, chunked: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Passes."""
    gateway = await start(http__max_upload_bytes=50_000)
    async with gateway.client() as client:
        body = b" " * 50_000
        data = compose(
            "POST", target, b"c350\r\n" + body + b"\r\n0\r\n\r\n" if chunked else body, [CHUNKED] if chunked else []
        )
        await client.send(data)
        assert (await client.response()).status == 200
    assert upstream.request.length == 50_000


@pytest.mark.alone
async def test_h11_memory_is_bounded_by_the_cap(start_process: StartProcess) -> None:
    """An 8 MiB body in chunks of two bytes costs no multiple of its size."""
    gateway = await start_process()
    async with gateway.client(timeout=30) as client:
        assert (await client.ask(body={"model": "m"})).status == 200
        before = resident(gateway)
        await client.send(compose(body=b"", headers=[CHUNKED]) + b'2\r\n{"\r\n')
        piece = b"2\r\naa\r\n" * 16_384
        for _ in range(8 * MIB // 32_768):
            await client.send(piece)
            await asyncio.sleep(0)
        await client.send(b'9\r\n":1,"b":2\r\n1\r\n}\r\n0\r\n\r\n')
        assert (await client.response()).status == 200
    assert resident(gateway) - before < 5 * 8 * MIB


async def test_h11_trailers_are_bounded(client: RawClient, upstream: ScriptedUpstream) -> None:
    """A large body buys no endless trailer: 400 before it fills memory."""
    await client.send(compose("POST", "/v1/files", b"", [CHUNKED]) + b"100000\r\n" + b"x" * MIB + b"\r\n0\r\nx-t: ")
    await until(lambda: bool(upstream.requests))
    sending = asyncio.Task(client.send(b"y" * (2 * MIB)))
    assert (await client.response()).status == 400
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert not upstream.request.complete


@pytest.mark.parametrize("block", [1_000_000, 7_000])
async def test_h11_chunk_extensions_are_bounded(client: RawClient, block: int) -> None:
    """More framing than body is refused."""
    data = compose("POST", "/v1/files", b"", [CHUNKED]) + (b"1;" + b"e" * 1_000 + b"\r\nx\r\n") * 400
    for i in range(0, len(data), block):
        await client.send(data[i : i + block])
        await asyncio.sleep(0)
    assert (await client.response()).status == 400


async def test_h12_a_large_image_passes(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """20 MiB of base64 in a chat request, as configured by default, byte for byte."""
    image = base64.b64encode(bytes(range(256)) * 61_440)
    assert len(image) >= 20 * MIB
    part = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,' + image + b'"}}'
    body = b'{"model":"m","messages":[{"role":"user","content":[' + part + b"]}]}"
    async with gateway.client(timeout=20) as client:
        assert (await client.ask(body=body)).status == 200
    assert upstream.request.sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
@pytest.mark.parametrize("size", [10, 100_000])
async def test_h13_compressed_requests_are_read(
    client: RawClient, upstream: ScriptedUpstream, coding: str, compress: object, size: int
) -> None:
    """And sent on as plain."""
    body = b'{"model":"m","x":"' + b"ab" * size + b'"}'
    response = await client.ask(body=compress(body), headers=[("content-encoding", coding)])  # type: ignore[operator]
    assert response.status == 200
    assert (upstream.request.body, upstream.request.header(b"content-encoding")) == (body, None)
    assert upstream.request.header(b"content-length") == b"%d" % len(body)


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("br", b"...", 415),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), 415),
        ("gzip", b"no gzip at all", 400),
        ("gzip", gzip.compress(b'{"model":"m"}')[:-4], 400),
        ("gzip", gzip.compress(b'{"model":"m"}') + b"more", 400),
        ("gzip", gzip.compress(b"not json"), 400),
        ("deflate", gzip.compress(b" " * (40 * MIB)), 413),
        ("gzip", gzip.compress(b" " * (40 * MIB)), 413),
    ],
    ids=["unknown", "twice", "not gzip", "torn", "followed", "not json", "zlib bomb", "gzip bomb"],
)
async def test_h13_what_cannot_be_decoded_is_refused(
    client: RawClient, upstream: ScriptedUpstream, coding: str, body: bytes, status: int
) -> None:
    """415 for a coding we do not know, 400 for a body that does not match, 413 for a bomb."""
    response = await client.ask(body=body, headers=[("content-encoding", coding)])
    assert response.status == status
    assert response.error_code
    assert upstream.requests == []


@pytest.mark.alone
async def test_h13_a_bomb_costs_no_memory(start_process: StartProcess) -> None:
    """A hundred thousand times its size is not what it takes to refuse it."""
    gateway = await start_process(http__max_json_bytes=4 * MIB)
    bomb = gzip.compress(b"\0" * (200 * MIB), 9)
    async with gateway.client(timeout=20) as client:
        await client.ask(body={"model": "m"})
        before = resident(gateway)
        for _ in range(3):
            assert (await client.ask(body=bomb, headers=[("content-encoding", "gzip")])).status == 413
    assert resident(gateway) - before < 40 * MIB


async def test_h13_uploads_stay_compressed(client: RawClient, upstream: ScriptedUpstream) -> None:
    """What streams through is not looked into."""
    packed = gzip.compress(b"a" * 1_000)
    assert (await client.ask("POST", "/v1/files", packed, [("content-encoding", "gzip")])).status == 200
    await until(lambda: upstream.request.complete)
    assert (upstream.request.body, upstream.request.header(b"content-encoding")) == (packed, b"gzip")
