"""C10: Cache-Control is obeyed, and nothing that a client sends widens what the operator allows; J9: or moves it."""

import dataclasses

import msgspec
import pytest

from cache.directives import DIRECTIVE_FIELDS, NONE, Directives, directives
from cache.fingerprint import digest, key_of, qualifiers_of, scope_of
from cache.freshness import Freshness, judge
from cache.policy import Request, Rules, plan

RULES = Rules(ttls={"completions": 100})
REQUEST = Request("completions", "POST", "m")


def control(value: bytes) -> Directives:
    return directives([(b"cache-control", value)])


def test_c10_no_cache_asks_and_keeps() -> None:
    """A refresh for everybody."""
    planned = plan(REQUEST, control(b"no-cache"), RULES)
    assert (planned.may_read, planned.may_write) == (False, True)


def test_c10_no_store_leaves_no_trace() -> None:
    """Neither taken nor kept nor shared."""
    planned = plan(REQUEST, control(b"no-store"), RULES)
    assert (planned.may_read, planned.may_write, planned.may_share) == (False, False, False)


@pytest.mark.parametrize(
    ("value", "age", "freshness"),
    [
        (b"max-age=10", 11, Freshness.UNWANTED),
        (b"min-fresh=90", 11, Freshness.UNWANTED),
        (b"max-stale=20", 111, Freshness.STALE),
        (b"max-stale", 111, Freshness.STALE),
        (b"stale-if-error=5", 111, Freshness.UNWANTED),
    ],
)
def test_c10_ages_are_obeyed(value: bytes, age: float, freshness: Freshness) -> None:
    """From the field's bytes to the verdict."""
    assert judge(0.0, 100.0, 150.0, age, control(value)).freshness is freshness


@pytest.mark.parametrize(
    "value", [b"max-stale", b"stale-if-error=99999", b"max-age=99999", b"public, immutable, s-maxage=99999"]
)
def test_c10_no_directive_brings_back_what_is_past_its_end(value: bytes) -> None:
    """How long something stale is kept is the operator's decision."""
    assert judge(0.0, 100.0, 150.0, 150.0, control(value)).freshness is Freshness.GONE


@pytest.mark.parametrize("name", [b"x-askonce-cache-ttl", b"cf-aig-cache-ttl"], ids=bytes.decode)
def test_c10_no_lifetime_is_longer_than_configured(name: bytes) -> None:
    """Nor is anything switched on by one."""
    asked = directives([(name, b"99999999")])
    assert plan(REQUEST, asked, RULES).ttl == 100
    assert not plan(Request("audio/speech", "POST"), asked, RULES).may_write


def test_c10_there_is_no_word_for_scope_namespace_or_threshold() -> None:
    """What a client can ask for is this, and no more."""
    assert {field.name for field in dataclasses.fields(Directives)} == {
        "no_cache", "no_store", "bypass", "only_if_cached", "max_age", "min_fresh", "max_stale", "stale_if_error",
        "ttl", "tags", "bad_tags", "semantic",
    }  # fmt: skip
    places = (b"scope", b"namespace", b"seed", b"-key", b"threshold", b"similarity")
    assert not [name for name in DIRECTIVE_FIELDS if any(word in name for word in places)]


FOREIGN = [b"x-portkey-cache-namespace", b"cf-aig-cache-key", b"helicone-cache-seed", b"helicone-cache-bucket-max-size"]
FOREIGN += [b"x-askonce-scope", b"x-askonce-cache-namespace", b"x-askonce-similarity", b"x-askonce-cache-key"]


@pytest.mark.parametrize("name", FOREIGN, ids=bytes.decode)
def test_c10_fields_that_name_a_place_in_the_cache_are_inert(name: bytes) -> None:
    """They neither ask for anything nor reach the key."""
    assert directives([(name, b"0.5")]) is NONE
    assert qualifiers_of(b"", [(name, b"victim")]) == []


@pytest.mark.parametrize("field", ["cache_key", "namespace", "api_base", "api_key"])
def test_j9_operators_fields_in_a_body_are_fields_like_any_other(field: str) -> None:
    """They count: a client that makes up its key shares it with nobody who does not make up the same."""
    scope = scope_of("team", b"a")
    bodies = [{"model": "m"}, {"model": "m", field: "a"}, {"model": "m", field: "b"}]
    assert len({key_of(scope, "completions", [], digest(msgspec.json.encode(body))) for body in bodies}) == 3
