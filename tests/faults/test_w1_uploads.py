"""W1: uploads stream through."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.fakes.answers import Answer
from tests.fakes.gateway import GatewayProcess, StartProcess
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, compose
from tests.fakes.upstream import ScriptedUpstream

MIB = 1 << 20
BOUNDARY = "----a boundary'()+_,-./:=?"
BLOCK = bytes(range(256)) * 4_096


def peak(gateway: GatewayProcess) -> int:
    """Bytes of memory that the process has had at most."""
    return int(Path(f"/proc/{gateway.pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


async def upload(client: RawClient, size: int, *, chunked: bool) -> str:
    """A form with a file of so many MiB; its digest."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--{BOUNDARY}\r\n'
    head += 'Content-Disposition: form-data; name="file"; filename="é.bin"\r\n\r\n'
    first, last = head.encode(), f"\r\n--{BOUNDARY}--\r\n".encode()
    total = len(first) + size * MIB + len(last)
    framing = ("transfer-encoding", "chunked") if chunked else ("content-length", str(total))
    await client.send(
        compose("POST", "/v1/files", b"", [("content-type", f'multipart/form-data; boundary="{BOUNDARY}"'), framing])
    )
    digest = hashlib.sha256()
    for piece in [first, *[BLOCK] * size, last]:
        digest.update(piece)
        await client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        await client.send(b"0\r\n\r\n")
    return digest.hexdigest()


@pytest.mark.alone
@pytest.mark.parametrize(("size", "chunked"), [(100, False), (100, True), (512, False)])
async def test_w1_memory_is_constant(
    start_process: StartProcess, upstream: ScriptedUpstream, size: int, chunked: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """100 and 512 MiB of multipart in a few MiB of memory, byte for byte, boundary intact."""
    gateway = await start_process()
    async with gateway.client(timeout=30) as client:
        await client.ask(body={"model": "m"})
        before = peak(gateway)
        digest = await upload(client, size, chunked=chunked)
        assert (await client.response()).status == 200
    request = upstream.requests[-1]
    assert request.sha256 == digest
    assert request.header(b"content-type") == f'multipart/form-data; boundary="{BOUNDARY}"'.encode()
    assert peak(gateway) - before < 16 * MIB


async def test_w1_a_slow_upstream_slows_the_upload(start_process: StartProcess) -> None:
    """What waits in between is bounded: the client is held back until the upstream takes it."""
    gate = asyncio.Event()
    async with ScriptedUpstream(Answer(reads=1, before=gate), receive_buffer=4_096) as slow:
        gateway = await start_process(slow.url)
        async with gateway.client(timeout=30) as client:
            before = peak(gateway)
            sending = asyncio.Task(upload(client, 40, chunked=False))
            await until(lambda: bool(slow.requests))
            for _ in range(10):
                await asyncio.sleep(0.05)
            assert not sending.done()
            assert peak(gateway) - before < 8 * MIB
            gate.set()
            assert (await client.response()).status == 200
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
