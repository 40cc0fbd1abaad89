"""C2: a request that came before, byte for byte, is the same only where it also went to the same place."""

from typing import Any

import pytest

from proxy.config import load
from tests.fakes.answers import json_answer
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, StartGateway, environment
from tests.fakes.upstream import ScriptedUpstream

BODY = CHAT | {"prompt": "hi"}
CHATS = "/v1/chat/completions"


async def _ask(gateway: Gateway, target: str = CHATS) -> str:
    async with gateway.client() as client:
        return status_of(await client.ask(target=target, body=BODY, headers=[KEY]))


@pytest.mark.parametrize("other", ["/v1/completions", f"{CHATS}?api-version=2"], ids=["path", "query"])
async def test_c2_the_same_bytes_for_another_place(start: StartGateway, upstream: ScriptedUpstream, other: str) -> None:
    """Body and head alike, another target: the upstream is asked, and each has its own answer from then on."""
    gateway = await start(cache__enabled=True)
    upstream.script(completion_answer())
    assert [await _ask(gateway) for _ in range(2)] == ["MISS", "HIT"]
    assert await _ask(gateway, other) == "MISS"
    assert [request.target for request in upstream.requests] == [CHATS.encode(), other.encode()]
    assert await _ask(gateway) == "HIT"


async def test_c2_the_same_bytes_for_another_upstream(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """What a reload sends elsewhere is asked for there, and what was kept is found again when it comes back."""
    settings: dict[str, Any] = {"cache__enabled": True}
    gateway = await start(**settings)
    upstream.script(completion_answer())
    assert [await _ask(gateway) for _ in range(2)] == ["MISS", "HIT"]
    async with ScriptedUpstream(json_answer({}, 400)) as other:
        gateway.app.reload(load(None, environment(other.url, settings)))
        assert [await _ask(gateway) for _ in range(2)] == ["MISS", "MISS"]
        assert len(other.requests) == 2
        gateway.app.reload(load(None, environment(upstream.url, settings)))
        assert await _ask(gateway) == "HIT"
