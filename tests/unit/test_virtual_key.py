"""What a virtual key is, what it may do, and how long its secrets open."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits.policy import Kind
from proxy.keys.key import ENTROPY, NAMING, Pepper, Permission, Refusal, State, VirtualKey, made_id, made_secret, masked
from proxy.keys.store import pack, unpack
from proxy.routes import _KNOWN
from tests.fakes.keyring import NOW, PEPPER, virtual_key

GRANTED, MODEL, ENDPOINT = Permission.GRANTED, Permission.MODEL, Permission.ENDPOINT


@given(st.binary(min_size=ENTROPY, max_size=ENTROPY), st.binary(min_size=ENTROPY, max_size=ENTROPY))
def test_a_secret_holds_all_of_its_randomness(one: bytes, other: bytes) -> None:
    """Always of one length, of letters and digits, and another for every other draw."""
    assert re.fullmatch("sk-ask-[0-9A-Za-z]{43}", made_secret(one))
    assert (made_secret(one) == made_secret(other)) == (one == other)


@pytest.mark.parametrize("entropy", [bytes(ENTROPY), b"\xff" * ENTROPY])
def test_the_ends_of_the_range_are_secrets_too(entropy: bytes) -> None:
    """They are as long as any."""
    assert len(made_secret(entropy)) == 50


@given(st.floats(0, 4e9), st.floats(0, 4e9), st.integers(0, (1 << 28) - 1), st.integers(0, (1 << 28) - 1))
def test_ids_sort_as_they_were_made(one: float, other: float, first: int, second: int) -> None:
    """By the second; and they are no secret."""
    ids = made_id(one, lambda _: first), made_id(other, lambda _: second)
    assert all(re.fullmatch("[0-9a-z]{12}", each) for each in ids)
    if int(one) < int(other):
        assert ids[0] < ids[1]


def test_what_is_shown_of_a_secret_is_its_end() -> None:
    """And nothing that helps to guess it."""
    assert masked("abcd") == "sk-ask-…abcd"


def test_peppers_make_digests_of_their_own() -> None:
    """HMAC-SHA256 (RFC 4231, test case 2), and a mark that tells one pepper from another."""
    assert Pepper(b"Jefe").digest(b"what do ya want for nothing?").hex().startswith("5bdcc146bf60754e6a042426089575c7")
    assert Pepper(b"a").digest(b"x") != Pepper(b"b").digest(b"x")
    assert Pepper(b"a").mark != Pepper(b"b").mark


def test_no_repr_shows_pepper_or_digest() -> None:
    """They end up in logs."""
    key = virtual_key("sk-ask-canary", previous=b"canary2")
    assert "canary" not in repr(PEPPER) + repr(key)
    assert repr(key.digest)[2:-1] not in repr(key)


@pytest.mark.parametrize(
    ("at", "state", "refusal"),
    [(-0.001, State.ACTIVE, None), (0.0, State.EXPIRED, Refusal.EXPIRED), (1e9, State.EXPIRED, Refusal.EXPIRED)],
)
def test_a_key_ends_at_its_time_and_not_after(at: float, state: State, refusal: Refusal | None) -> None:
    """To the instant."""
    key = virtual_key(expires=NOW)
    assert key.state(NOW + at) is state
    assert key.refusal(key.digest, NOW + at) is refusal


@pytest.mark.parametrize("clock", [-1e9, 0.0, 1e9])
def test_no_clock_brings_a_revoked_key_back(clock: float) -> None:
    """Neither one that is set back to before the revocation, nor its grace, nor its time."""
    key = virtual_key(previous=PEPPER.digest(b"old"), previous_until=NOW + 2e9, revoked=NOW)
    assert key.state(NOW + clock) is State.REVOKED
    assert {key.refusal(each, NOW + clock) for each in (key.digest, key.previous)} == {Refusal.REVOKED}


def test_no_clock_brings_a_secret_without_grace_back() -> None:
    """One that is set back finds no moment at which it opened."""
    key = virtual_key("old").rotated(PEPPER.digest(b"new"), "", NOW, 0.0)
    assert key.refusal(PEPPER.digest(b"old"), NOW - 60.0) is Refusal.UNKNOWN


STEPS = st.lists(st.tuples(st.floats(0, 1e5), st.sampled_from([0.0, 1.0, 60.0, 86_400.0])), max_size=6)


@given(STEPS, st.floats(0, 2e5))
def test_rotation(steps: list[tuple[float, float]], after: float) -> None:
    """The newest secret opens; the one before it until its grace is over, to the instant; all older ones never."""
    now, key, secrets = NOW, virtual_key("0"), [b"0"]
    until = {b"0": float("inf")}
    for pause, grace in steps:
        now += pause
        for old in secrets[:-1]:
            until[old] = 0.0
        until[secrets[-1]] = now + grace if grace else 0.0
        secrets.append(b"%d" % len(secrets))
        until[secrets[-1]] = float("inf")
        key = key.rotated(PEPPER.digest(secrets[-1]), "hint", now, grace)
    now += after
    opening = [secret for secret in secrets if key.refusal(PEPPER.digest(secret), now) is None]
    assert opening == [secret for secret in secrets if now < until[secret]]
    assert opening[-1] == secrets[-1]
    assert len(opening) <= 2


@pytest.mark.parametrize(
    ("fields", "model", "endpoint", "permission"),
    [
        ({}, "any", "chat/completions", GRANTED),
        ({}, "", "other", GRANTED),
        ({"models": ("gpt-5*", "o3")}, "gpt-5-mini", "chat/completions", GRANTED),
        ({"models": ("gpt-5*", "o3")}, "o3", "responses", GRANTED),
        ({"models": ("gpt-5*", "o3")}, "o3-pro", "responses", MODEL),
        ({"models": ("gpt-5*", "o3")}, "GPT-5", "responses", MODEL),
        ({"models": ("o3",)}, "o3\n", "responses", MODEL),
        ({"models": ("o3",)}, "", "models", GRANTED),
        ({"models": ("o3",)}, "", "moderations", MODEL),
        ({"models": ("o3",)}, "", "batches", ENDPOINT),
        ({"models": ("o3",)}, "", "other", ENDPOINT),
        ({"models": ("o3",), "endpoints": ("files", "moderations")}, "", "files", GRANTED),
        ({"models": ("o3",), "endpoints": ("files", "moderations")}, "", "moderations", MODEL),
        ({"endpoints": ("embeddings",)}, "m", "embeddings", GRANTED),
        ({"endpoints": ("embeddings",)}, "m", "chat/completions", ENDPOINT),
        ({"endpoints": ("files",)}, "", "files/*", GRANTED),
        ({"endpoints": ("chat/completions",)}, "", "chat/*", ENDPOINT),
        ({"endpoints": ("audio/*",)}, "m", "audio/speech", GRANTED),
        ({"endpoints": ("models",)}, "", "models/*", GRANTED),
    ],
)
def test_what_a_key_may(fields: dict[str, Any], model: str, endpoint: str, permission: Permission) -> None:
    """Everything, where nothing is said; models by pattern, endpoints with what is below them."""
    assert virtual_key(**fields).may(model, endpoint) is permission


def test_the_routes_that_name_a_model_are_known() -> None:
    """All those that the routing knows of."""
    naming = {route.name for route in _KNOWN.values() if route.json_body or route.form_body}
    assert naming | {"realtime"} == NAMING


AMOUNTS = st.dictionaries(st.sampled_from(Kind), st.integers(0, 1 << 53))
TEXT = st.text(max_size=20)


@given(TEXT, AMOUNTS, st.lists(TEXT, max_size=3), st.dictionaries(TEXT, TEXT, max_size=3), st.integers(1, 1 << 53))
def test_what_is_written_is_read(
    name: str, amounts: dict[Kind, int], models: list[str], metadata: dict[str, str], revision: int
) -> None:
    """All of it, and the revision that the store gives."""
    key = virtual_key(name=name, limits=amounts, models=tuple(models), metadata=metadata, expires=NOW)
    assert unpack(f"k:{key.id}", pack(key), revision) == msgspec.structs.replace(key, revision=revision)


def test_what_a_key_does_not_have_is_not_written() -> None:
    """So a record from before there were priorities is one without, and loads."""
    key = virtual_key()
    assert b"priority" not in pack(key)
    assert unpack(f"k:{key.id}", pack(key), 1) == msgspec.structs.replace(key, revision=1, priority=None)


@pytest.mark.parametrize(
    ("old", "new"), [(b"{", b""), (b"}", b""), (b'"name"', b'"only_from"'), (b'"created"', b'"c"')]
)
def test_what_is_not_understood_opens_nothing(old: bytes, new: bytes) -> None:
    """It may be a restriction that a later version knows."""
    key = virtual_key()
    assert unpack(f"k:{key.id}", pack(key).replace(old, new), 1) is None


def test_a_record_under_another_name_is_refused() -> None:
    """Nobody becomes somebody else by a mix-up in the store."""
    key = virtual_key()
    assert unpack("k:other", pack(key), 1) is None
    assert unpack(f"t:{key.id}", pack(key), 1) is None
    assert isinstance(unpack(f"k:{key.id}", pack(key), 1), VirtualKey)
