"""S6: who is never coalesced with whom, and what is never shared."""

import asyncio

import pytest

from cache.directives import NONE, Directives
from cache.fingerprint import digest, key_of, qualifiers_of, scope_of
from cache.policy import NoCacheReason, Request, Rules, plan
from tests.fakes.answers import event_stream
from tests.fakes.asking import KEY, herd
from tests.fakes.frames import STREAM
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.streams import STREAMS
from tests.fakes.upstream import ScriptedUpstream

BODY = digest(b'{"model":"m","messages":[]}')
CHAT = Request("chat/completions", "POST", "m")


def test_s6_another_scope_is_another_flight() -> None:
    """Flights are found by the cache's key, and scope, endpoint, organisation and query are in it."""
    team = scope_of("team", b"a")
    organisation = qualifiers_of(b"", [(b"openai-organization", b"o")])
    keys = [
        key_of(team, "chat/completions", [], BODY),
        key_of(scope_of("team", b"b"), "chat/completions", [], BODY),
        key_of(scope_of("key", b"a"), "chat/completions", [], BODY),
        key_of(team, "completions", [], BODY),
        key_of(team, "chat/completions", organisation, BODY),
        key_of(team, "chat/completions", qualifiers_of(b"a=1", []), BODY),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "asked",
    [Directives(no_cache=True), Directives(no_store=True), Directives(bypass=True), Directives(ttl=0)],
    ids=["no-cache", "no-store", "bypass", "ttl 0"],
)
def test_s6_who_wants_no_cache_waits_for_nobody(asked: Directives) -> None:
    """And gives nobody its answer, whether it leads or follows."""
    assert plan(CHAT, NONE, Rules()).may_share
    assert not plan(CHAT, asked, Rules()).may_share


@pytest.mark.parametrize("reason", [NoCacheReason.DUPLICATE_NAME, NoCacheReason.TOO_COMPLEX])
def test_s6_what_has_no_key_is_asked_alone(reason: NoCacheReason) -> None:
    """Two bodies that may be different requests are two requests."""
    assert not plan(CHAT, NONE, Rules()).refused(reason).may_share


async def test_s6_cookies_and_limits_are_the_leaders(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Those who follow a stream are told what it is, and nothing that is said to the one who asked."""
    gate = asyncio.Event()
    first, *others = STREAMS["parallel tools"].frames
    fields = [("set-cookie", "session=1"), ("x-ratelimit-remaining-tokens", "7"), ("x-request-id", "req-1")]
    upstream.script(event_stream([first, gate, *others], fields))
    gateway = await start(cache__enabled=True)
    async with gateway.client() as client:
        await client.send(compose(body=STREAM, headers=[KEY]))
        await upstream.received()
        waiting = asyncio.Task(herd(gateway, 3, STREAM))
        await until(lambda: len(gateway.app.clients.crew.serving) == 4)
        gate.set()
        led, followed = await client.response(), await waiting
    told = [[bool(response.header(name.encode())) for name, _ in fields] for response in [led, *followed]]
    assert told == [[True, True, True]] + [[False, False, True]] * 3
