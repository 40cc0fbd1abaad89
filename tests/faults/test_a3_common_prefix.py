"""A3: credentials that begin alike never share answers; C1: nor do two teams; H18: addresses are no part of it."""

import pytest

from cache.fingerprint import digest, key_of, qualifiers_of, scope_of

CONTENT = digest(b'{"model":"m"}')
PREFIX = b"sk-proj-" + b"a" * 40


def key(scope: bytes, *headers: tuple[bytes, bytes], query: bytes = b"") -> str:
    return key_of(scope, "chat/completions", qualifiers_of(query, headers), CONTENT)


@pytest.mark.parametrize("length", [0, 1, 20, len(PREFIX)])
def test_a3_keys_with_a_common_prefix_have_scopes_of_their_own(length: int) -> None:
    """However long it is, and also where one is the other with something behind."""
    prefix = PREFIX[:length]
    scopes = {scope_of("key", prefix + rest) for rest in (b"", b"x", b"y", b"xy", b"\0", b"x\0")}
    assert len(scopes) == 6
    assert len({key(scope) for scope in scopes}) == 6


def test_c1_teams_keys_and_everybody_are_kept_apart() -> None:
    """Also a team that is called like a key, or whose name holds what separates."""
    scopes = {
        scope_of("global"),
        scope_of("team", b""),
        scope_of("team", b"global"),
        scope_of("team", PREFIX),
        scope_of("key", PREFIX),
        scope_of("team", b"a", b"b"),
        scope_of("team", b"ab"),
        scope_of("team", b"a:b"),
        scope_of("team", b"1:a1:b"),
    }
    assert len({key(scope) for scope in scopes}) == 9


def test_a3_neither_scope_nor_key_shows_the_credential() -> None:
    """They are digests: nothing of it can be read from a header, a log or Redis."""
    shown = (scope_of("key", PREFIX) + bytes.fromhex(key(scope_of("key", PREFIX)))).hex()
    assert all(PREFIX[place : place + 3].hex() not in shown for place in range(8))


FORWARDED = [
    b"x-forwarded-for",
    b"x-real-ip",
    b"forwarded",
    b"via",
    b"user-agent",
    b"x-request-id",
    b"traceparent",
    b"host",
    b"x-portkey-trace-id",
    b"x-portkey-request-timeout",
    b"x-litellm-timeout",
    b"x-litellm-session-id",
]


@pytest.mark.parametrize("name", FORWARDED, ids=bytes.decode)
def test_h18_headers_that_say_who_asked_from_where_do_not_count(name: bytes) -> None:
    """Nobody can split or poison the cache with an address."""
    scope = scope_of("team", b"a")
    assert key(scope, (name, b"10.0.0.1")) == key(scope, (name, b"10.0.0.2")) == key(scope)


CHOOSING = [
    b"openai-organization",
    b"openai-project",
    b"openai-beta",
    b"x-portkey-provider",
    b"x-portkey-config",
    b"x-portkey-custom-host",
    b"x-portkey-virtual-key",
    b"x-portkey-metadata",
    b"helicone-target-url",
    b"helicone-target-provider",
    b"x-litellm-tags",
    b"x-amzn-bedrock-guardrailidentifier",
    b"extra-parameters",
]


@pytest.mark.parametrize("name", CHOOSING, ids=bytes.decode)
def test_c2_headers_that_choose_what_answers_count(name: bytes) -> None:
    """One key may speak for several organisations and projects; the query counts as well."""
    scope = scope_of("key", PREFIX)
    keys = {key(scope), key(scope, (name, b"a")), key(scope, (name, b"b")), key(scope, query=b"api-version=1")}
    assert len(keys) == 4
