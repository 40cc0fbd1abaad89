"""Who may read, who may write, for how long, and why not."""

import math

import pytest

from cache.directives import NONE, Directives
from cache.fingerprint import UnkeyableReason
from cache.policy import DEFAULT_TTLS, ModelRule, NoCacheReason, Plan, Request, Rules, plan

CHAT = Request("chat/completions", "POST", "gpt-4o")
RULES = Rules()


def _reasons(planned: Plan) -> tuple[NoCacheReason, ...]:
    return tuple(dict.fromkeys(planned.unread + planned.unwritten))


def test_what_nothing_forbids_is_allowed() -> None:
    """Read, kept for the endpoint's lifetime, shared with equal requests."""
    planned = plan(CHAT, NONE, RULES)
    assert (planned.may_read, planned.may_write, planned.may_share, _reasons(planned)) == (True, True, True, ())
    assert (planned.ttl, planned.ttl_limit) == (86_400, math.inf)


@pytest.mark.parametrize(("endpoint", "ttl"), DEFAULT_TTLS.items())
def test_lifetimes_are_by_endpoint(endpoint: str, ttl: float) -> None:
    """Those that are listed are on."""
    assert plan(Request(endpoint, "GET" if endpoint == "models" else "POST"), NONE, RULES).ttl == ttl


FORBIDDEN = {
    NoCacheReason.ENDPOINT_OFF: (Request("audio/speech", "POST"), RULES),
    NoCacheReason.METHOD: (Request("chat/completions", "GET"), RULES),
    NoCacheReason.MODEL_OFF: (CHAT, Rules(models=[ModelRule("gpt-*", 0)])),
    NoCacheReason.STATEFUL: (Request("responses", "POST", stateful=True), Rules(allow_hosted_tools=True)),
    NoCacheReason.HOSTED_TOOLS: (Request("responses", "POST", hosted_tools=True), RULES),
}


@pytest.mark.parametrize(("reason", "case"), FORBIDDEN.items(), ids=[reason.value for reason in FORBIDDEN])
@pytest.mark.parametrize("asked", [NONE, Directives(max_stale=9, ttl=9), Directives(no_store=True)], ids=str)
def test_what_is_not_for_the_cache(reason: NoCacheReason, case: tuple[Request, Rules], asked: Directives) -> None:
    """Neither read nor kept nor shared, whatever the client says; the operator's reason is told."""
    planned = plan(case[0], asked, case[1])
    assert planned == Plan(0, unread=(reason,), unwritten=(reason,))
    assert (planned.may_read, planned.may_write, planned.may_share) == (False, False, False)


def test_the_operator_may_allow_tools_and_endpoints() -> None:
    """Hosted tools by a switch, an endpoint by a lifetime."""
    rules = Rules(allow_hosted_tools=True, ttls={"audio/speech": 5, "responses": 6, "models/*": 7})
    assert plan(Request("responses", "POST", hosted_tools=True), NONE, rules).ttl == 6
    assert plan(Request("audio/speech", "POST"), NONE, rules).ttl == 5
    assert plan(Request("models/*", "GET"), NONE, rules).ttl == 7
    assert plan(Request("models/*", "DELETE"), NONE, rules).reason is NoCacheReason.METHOD


def test_the_first_rule_for_a_model_counts() -> None:
    """It replaces the endpoint's lifetime, longer or shorter; case counts; an endpoint that is off stays off."""
    rules = Rules(models=[ModelRule("gpt-4o-mini", 10), ModelRule("gpt-4o*", 1e6), ModelRule("*", 30)])
    ttls = [
        plan(Request("completions", "POST", model), NONE, rules).ttl
        for model in ("gpt-4o-mini", "gpt-4o", "GPT-4o", "")
    ]
    assert ttls == [10, 1e6, 30, 30]
    assert plan(Request("files", "POST", "gpt-4o"), NONE, rules).reason is NoCacheReason.ENDPOINT_OFF


CLIENT = {
    "no-cache": (Directives(no_cache=True), "write", (NoCacheReason.NO_CACHE,)),
    "no-store": (Directives(no_store=True), "", (NoCacheReason.NO_STORE,)),
    "bypass": (Directives(bypass=True), "", (NoCacheReason.BYPASS,)),
    "both": (
        Directives(no_store=True, no_cache=True, bypass=True),
        "",
        (NoCacheReason.BYPASS, NoCacheReason.NO_STORE),
    ),
    "ttl 0": (Directives(ttl=0), "read", (NoCacheReason.CLIENT_TTL,)),
    "tags": (Directives(bad_tags=True), "read", (NoCacheReason.BAD_TAGS,)),
    "refresh for nobody": (
        Directives(no_cache=True, ttl=0),
        "",
        (NoCacheReason.NO_CACHE, NoCacheReason.CLIENT_TTL),
    ),
    "only-if-cached": (Directives(only_if_cached=True), "read write", ()),
    "ages": (Directives(max_age=0, min_fresh=5, max_stale=5), "read write", ()),
}


@pytest.mark.parametrize(("asked", "may", "reasons"), CLIENT.values(), ids=CLIENT.keys())
def test_what_the_client_takes_away(asked: Directives, may: str, reasons: tuple[NoCacheReason, ...]) -> None:
    """`no-cache` reads nothing and keeps the answer; `no-store` does neither."""
    planned = plan(CHAT, asked, RULES)
    assert (planned.may_read, planned.may_write) == ("read" in may, "write" in may)
    assert (_reasons(planned), planned.ttl > 0) == (reasons, planned.may_write)


@pytest.mark.parametrize(("asked", "ttl"), [(60, 60), (0.5, 0.5), (86_400, 86_400), (1e9, 86_400)])
def test_a_client_shortens_a_lifetime_and_never_lengthens_it(asked: float, ttl: float) -> None:
    """The limit for the jitter is its word; the lifetime is the operator's at most."""
    planned = plan(CHAT, Directives(ttl=asked), RULES)
    assert (planned.ttl, planned.ttl_limit) == (ttl, asked)


@pytest.mark.parametrize("reason", UnkeyableReason)
def test_a_request_without_a_key_says_why(reason: UnkeyableReason) -> None:
    """Each reason of the fingerprint is one of ours, by its value; the plan then allows nothing."""
    planned = plan(CHAT, NONE, RULES).refused(NoCacheReason(reason.value))
    assert (planned.ttl, planned.may_read, planned.may_write) == (0, False, False)
    assert _reasons(planned) == (NoCacheReason(reason.value),)


def test_reasons_are_labels() -> None:
    """Short kebab-case words that are tokens of RFC 8941, so that they need no quotes anywhere."""
    for reason in NoCacheReason:
        assert reason.value.replace("-", "").isalpha()
        assert reason.value.islower()
        assert len(reason.value) <= 24
