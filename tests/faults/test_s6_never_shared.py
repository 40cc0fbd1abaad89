"""S6: who is never coalesced with whom."""

import pytest

from cache.directives import NONE, Directives
from cache.fingerprint import digest, key_of, qualifiers_of, scope_of
from cache.policy import NoCacheReason, Request, Rules, plan

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
