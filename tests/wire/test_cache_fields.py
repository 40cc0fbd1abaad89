"""What the answers say of the cache, and what of the requests stays here."""

import pytest

from tests.fakes.answers import Answer
from tests.fakes.asking import KEY, completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import Response
from tests.fakes.upstream import ScriptedUpstream


@pytest.fixture
async def gateway(start: StartGateway, upstream: ScriptedUpstream) -> Gateway:
    """With a cache, without Redis."""
    upstream.script(completion_answer())
    return await start(cache__enabled=True)


async def ask(gateway: Gateway, control: str = "", target: str = "/v1/chat/completions", **fields: object) -> Response:
    headers = [KEY, ("cache-control", control)] if control else [KEY]
    async with gateway.client() as client:
        return await client.ask("POST", target, {**CHAT, **fields}, headers)


@pytest.mark.parametrize("status", [200, 404], ids=str)
async def test_an_answer_from_upstream_has_no_age(gateway: Gateway, upstream: ScriptedUpstream, status: int) -> None:
    """Whatever the age of what was stored and would not do (RFC 9111 §5.1)."""
    await ask(gateway)
    upstream.script(completion_answer() if status == 200 else Answer(status=status))
    response = await ask(gateway, "max-age=0")
    assert response.status == status
    assert response.header(b"x-cache-status") == b"MISS"
    assert response.header(b"age") is None
    assert b"ttl=" not in (response.header(b"cache-status") or b"")


@pytest.mark.parametrize("asked", [{"no-store": True}, {"no-cache": True}, {"ttl": 0}, {"ttl": 60}], ids=str)
async def test_what_the_body_asks_of_the_cache_stays_here(
    gateway: Gateway, upstream: ScriptedUpstream, asked: dict[str, object]
) -> None:
    """Also where the cache has no part in the request: no upstream knows that member."""
    await ask(gateway, cache=asked)
    assert "cache" not in upstream.request.json()


async def test_it_stays_here_where_nothing_is_kept(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """An endpoint without a lifetime."""
    response = await ask(gateway, target="/v1/images/generations", cache={"ttl": 60})
    assert response.header(b"cache-status") == b"askonce; fwd=bypass; fwd-status=200; detail=endpoint-off"
    assert "cache" not in upstream.request.json()
