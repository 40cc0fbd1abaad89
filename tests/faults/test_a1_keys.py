"""A1: what is no key opens nothing and is repeated nowhere; A3: keys that begin alike are told apart."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.keys.key import VirtualKey
from proxy.keys.table import Table
from tests.fakes.admin import TOKEN
from tests.fakes.keyring import NOW, PEPPER, Keyring, Medium, WorkerKeys, virtual_key
from tests.fakes.raw import RawClient

CANARY = "sk-ask-canary0000000000000000000000000000000000000"
GARBAGE = [
    b"",
    b"canary",
    CANARY.encode(),
    b"\xff\xfecanary",
    b"canary" * 10_000,
    b"sk-ask-canary\0",
    b"canary\r\nx: y",
]


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[WorkerKeys]:
    async with AsyncExitStack() as stack:
        yield await Keyring(Medium(tmp_path), tmp_path, stack).start()


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("keys*"))


async def test_a1_garbage_is_repeated_nowhere(worker: WorkerKeys, tmp_path: Path) -> None:
    """Neither in a repr, nor in a line of the log, nor in what is written down of uses."""
    _, secret = await worker.made()
    for credential in GARBAGE:
        assert not isinstance(worker.table.find(credential, NOW), VirtualKey)
    shown = [repr(each) for each in (worker.table, worker.sync, worker.store, worker.table.used)]
    worker.find(secret)
    await worker.sync._touch()
    assert [each for each in ("canary", secret) if each in "".join(shown) + repr(worker.lines())] == []
    stored = written(tmp_path)
    assert stored
    assert [each for each in (b"canary", secret.encode()) if each in stored] == []


async def test_a1_a_secret_in_the_wrong_place_is_repeated_nowhere(worker: WorkerKeys) -> None:
    """Of the admin API: in paths, in queries, in bodies, as its token."""
    told = b""
    requests = [("GET", f"keys/{CANARY}", b""), ("GET", f"keys?cursor={CANARY}", b""), ("GET", f"keys?{CANARY}=1", b""),
                ("DELETE", f"keys/{CANARY}", b""), ("POST", "keys", b'{"name":"%b"}' % CANARY.encode()),
                ("POST", "keys", b'{"name":"a","%b":1}' % CANARY.encode()),
                ("POST", "keys", b'{"name":"a","cache_scope":"%b"}' % CANARY.encode()),
                ("POST", "keys", b'{"name":"a","limits":{"%b":1}}' % CANARY.encode()),
                ("POST", "keys", b'"%b"' % CANARY.encode())]  # fmt: skip
    async with worker.served() as url:
        for token in (TOKEN, CANARY):
            for method, path, body in requests:
                async with RawClient(url) as client:
                    headers = [("authorization", f"Bearer {token}")]
                    response = await client.ask(method, f"/admin/v1/{path}", body, headers)
                told += response.body + repr(response.headers).encode()
    assert b"canary" not in told
    assert "canary" not in repr(worker.lines())


@given(st.binary(min_size=1, max_size=60), st.binary(min_size=1, max_size=60), st.binary(max_size=60))
def test_a3_a_common_beginning_is_no_common_identity(one: bytes, other: bytes, prefix: bytes) -> None:
    """However long it is; nor is one key that continues another."""
    secrets = list(dict.fromkeys([prefix + one, prefix + other, prefix + one + b"\0", prefix + one + other]))
    table = Table(PEPPER)
    table.replace([virtual_key(id=f"{at}", digest=PEPPER.digest(secret)) for at, secret in enumerate(secrets)])
    for at, secret in enumerate(secrets):
        found = table.find(secret, NOW)
        assert isinstance(found, VirtualKey)
        assert found.id == f"{at}"
    assert not isinstance(table.find(secrets[0][:-1] + b"\1\2\3", NOW), VirtualKey)
