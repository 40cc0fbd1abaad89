"""What starts but is probably not meant is said in one line each."""

from typing import Any

import pytest

from proxy.config import advice, read

URL = "http://127.0.0.1:9/v1"
KEY = "sk-canary-33d0"
DIGEST = "8f2c61d07b9e4a35c0d1e2f3a4b5968778695a4b3c2d1e0f534ae9b70d16c2f8"


def advised(*, cores: int = 2, environ: dict[str, str] | None = None, **settings: str) -> list[str]:
    variables = {f"ASKONCE_{name.upper()}": value for name, value in settings.items()} | (environ or {})
    return advice(read(None, variables), variables, cores)


def test_the_defaults_need_no_advice() -> None:
    """A warning that is always there is read by nobody."""
    assert advised() == []


@pytest.mark.parametrize("require_key", ["false", "true"])
def test_a_key_that_others_can_spend_is_pointed_out(require_key: str) -> None:
    """Behind a public address, any client may use the upstream's key, whatever key it brings itself."""
    assert advised(listen__host="0.0.0.0", upstreams__openai__key=KEY, auth__require_key=require_key) == [
        "listen.host: whoever reaches 0.0.0.0 can spend upstreams.openai.key; keep strangers out"
    ]
    assert advised(listen__host="0.0.0.0") == []
    assert advised(upstreams__openai__key=KEY) == []


def test_an_admin_listener_for_everybody_is_pointed_out() -> None:
    """It has no keys of its own."""
    assert advised(admin__host="::") == ["admin.host: whoever reaches :: can read the metrics"]
    assert advised(admin__host="localhost") == []


def test_an_unencrypted_way_out_of_the_machine_is_pointed_out() -> None:
    """http:// is for this machine."""
    (line,) = advised(upstreams__a__base_url="http://vllm:8000/v1")
    assert line == "upstreams.a.base_url: http:// carries keys and prompts unencrypted to vllm"
    assert advised(upstreams__a__base_url="http://localhost:8000/v1") == []


@pytest.mark.parametrize("url", ["https://host", "https://host/"])
def test_a_base_url_without_a_path_is_pointed_out(url: str) -> None:
    """Most APIs live under /v1."""
    (line,) = advised(upstreams__a__base_url=url)
    assert line == "upstreams.a.base_url: has no path; most APIs live under /v1"
    assert advised(upstreams__a__base_url=f"{url.rstrip('/')}/v1/") == []


@pytest.mark.parametrize("endpoint", ["chat/completions", "completions/", "responses", "embeddings"])
def test_a_base_url_that_ends_in_an_endpoint_is_pointed_out(endpoint: str) -> None:
    """The gateway appends it once more."""
    (line,) = advised(upstreams__a__base_url=f"https://host/v1/{endpoint}")
    assert line == f"upstreams.a.base_url: ends in /{endpoint.strip('/')}, which requests bring themselves"
    assert advised(upstreams__a__base_url=f"https://host/{endpoint.strip('/')}-api/v1") == []


def test_a_ca_file_without_tls_is_pointed_out(ca_file: object) -> None:
    """It is never looked at."""
    (line,) = advised(upstreams__a__base_url=URL, upstreams__a__ca_file=str(ca_file))
    assert line == "upstreams.a.ca_file: has no effect on an http:// URL"


def test_models_that_nobody_serves_are_pointed_out() -> None:
    """Without `*` an unknown model is refused."""
    assert advised(upstreams__openai__models="gpt-*") == [
        'upstreams: no one serves "*", so models that match no pattern are refused'
    ]


def test_more_workers_than_cores_are_pointed_out() -> None:
    """They take turns."""
    assert advised(server__workers="3", cores=1) == ["server.workers: 3 workers share 1 core"]
    assert advised(server__workers="2") == []


def test_waits_that_defeat_each_other_are_pointed_out() -> None:
    """A pool more patient than its upstreams, and comments that come too late."""
    (line,) = advised(pool__idle_timeout="61")
    assert line.startswith("pool.idle_timeout: ")
    (line,) = advised(timeouts__comment="5", timeouts__first_byte="5", timeouts__idle="5")
    assert line.startswith("timeouts.comment: ")
    assert advised(timeouts__comment="5", timeouts__first_byte="5") == []


def test_what_the_environment_does_or_fails_to_do_is_pointed_out() -> None:
    """OPENAI_BASE_URL is easily forgotten, one underscore easily missed."""
    (line,) = advised(environ={"OPENAI_BASE_URL": URL})
    assert line == "OPENAI_BASE_URL: is in effect, as upstreams.openai.base_url"
    (line,) = advised(environ={"ASKONCE_LOG_LEVEL": "debug"})
    assert line == "ASKONCE_LOG_LEVEL: sets nothing; did you mean ASKONCE_LOG__LEVEL?"
    assert advised(environ={"ASKONCE_X": ""}) == ["ASKONCE_X: sets nothing"]


def test_keys_that_nobody_asks_for_are_pointed_out() -> None:
    """In pass-through mode clients bring their own."""
    assert advised(keys__declared__ci__digest=DIGEST) == [
        'keys: what is declared has no effect, because auth.mode is "passthrough"'
    ]
    assert advised(keys__declared__ci__digest=DIGEST, auth__mode="keys", upstreams__openai__key=KEY) == []


def test_an_upstream_that_would_be_asked_without_a_key_is_pointed_out() -> None:
    """A virtual key goes no further than the gateway; a server on this machine may need none."""
    assert advised(auth__mode="keys") == [
        "upstreams.openai.key: is not set, and no client's virtual key goes there: it is asked without any"
    ]
    assert advised(auth__mode="keys", upstreams__a__base_url=URL) == []


def test_with_virtual_keys_a_public_address_is_no_gift() -> None:
    """Strangers get no further than without a key."""
    assert advised(listen__host="0.0.0.0", upstreams__openai__key=KEY, auth__mode="keys") == []


@pytest.mark.parametrize(("unknown", "said"), [("refuse", "is refused, because of"), ("allow", "is free, for")])
def test_budgets_without_prices_are_pointed_out(unknown: str, said: str) -> None:
    """What costs nobody knows what either stops or is never stopped."""
    unpriced = {"ASKONCE_PRICES__ENABLED": "false", "ASKONCE_LIMITS__UNKNOWN_PRICE": unknown}
    (line,) = advised(environ=unpriced, limits__team__usd_per_day="5")
    assert line.startswith(f"prices.enabled: what has no price in prices.models {said} limits.team")
    assert advised(environ=unpriced, limits__team__requests_per_day="5") == []
    assert advised(limits__unknown_price=unknown, limits__team__usd_per_day="5") == []


ROUTE: dict[str, Any] = {"routes__r__models": "m", "upstreams__openai__key": KEY, "upstreams__b__base_url": URL}
ROUTE |= {"upstreams__b__models": "", "routes__r__groups": "openai,b"}


def test_a_route_as_it_should_be_needs_no_advice() -> None:
    """Nor does one that leads to one upstream alone, which is as without it."""
    assert advised(**ROUTE) == []
    assert advised(routes__r__models="m", routes__r__groups="openai", routes__r__required="true") == []


@pytest.mark.parametrize("key", ["retry.on_ambiguous", "routes.r.on_ambiguous"])
def test_what_may_be_billed_twice_is_pointed_out(key: str) -> None:
    """Where it was asked for."""
    said = "a request that an upstream may have acted on is sent again, and may be billed twice"
    assert advised(timeouts__first_byte="10", **ROUTE | {key.replace(".", "__"): "true"}) == [f"{key}: {said}"]


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("timeouts__first_byte", "timeouts.first_byte"),
        ("upstreams__b__timeouts__first_byte", "upstreams.b.timeouts.first_byte"),
        ("routes__r__timeouts__first_byte", "routes.r.timeouts.first_byte"),
    ],
)
def test_a_comment_that_goes_before_another_is_asked_is_pointed_out(setting: str, key: str) -> None:
    """After it a silent stream can't be sent again. It is said once, by the setting that is in force."""
    routed = {**ROUTE, "timeouts__first_byte": "14", "retry__on_ambiguous": "true"}
    said = f"{key}: no stream is sent again after it, because timeouts.comment (15 s) commits it before"
    assert advised(**routed | {setting: "15"})[1:] == [said]
    assert advised(**routed | {setting: "14.9"})[1:] == []
    assert advised(**routed | {setting: "15", "timeouts__comment": "16"})[1:] == []
    assert advised(**routed | {setting: "15", "retry__on_ambiguous": "false"}) == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"routes__r__sticky": "prefix"}, "routes.r.sticky: has no effect, because no group balances several"),
        (
            {"routes__r__sticky": "prefix", "routes__r__strategy": "weighted"},
            "routes.r.sticky: has no effect, because no group balances several",
        ),
        (
            {"routes__r__required": "true", "breaker__enabled": "false"},
            "routes.r.required: has no effect, because breaker.enabled is false",
        ),
        ({"routes__r__models": "*", "routes__r__groups": "b"}, "upstreams.openai: is never asked, because routes that"),
        ({"aliases__m": "x"}, "aliases.m: hides the model of that name, x is asked in its place"),
        (
            {"upstreams__b__slots": "1", "server__workers": "2"},
            "upstreams.b.slots: each of 2 workers has one, which makes",
        ),
        (
            {"upstreams__b__base_url": "http://127.0.0.1:9/openai/deployments/{model}"},
            "upstreams.b.api_version: is not set, and Azure's deployments want one",
        ),
    ],
)
def test_settings_of_routes_without_effect_are_pointed_out(settings: dict[str, Any], line: str) -> None:
    """One line, by the key."""
    (said,) = advised(**ROUTE | settings)
    assert said.startswith(line)


def test_sticky_has_an_effect_where_there_is_a_choice() -> None:
    """Between the upstreams of a group."""
    balanced = {"routes__r__groups": "openai b", "routes__r__strategy": "weighted", "routes__r__sticky": "prefix"}
    assert advised(**ROUTE | balanced) == []


def test_a_clients_key_that_goes_to_several_is_pointed_out() -> None:
    """Who answers for one upstream is told another's key; a server on this machine does not count."""
    routed = ROUTE | {"upstreams__b__base_url": "https://b.example/v1", "upstreams__openai__key": ""}
    balanced = routed | {"routes__r__groups": "openai b", "routes__r__strategy": "weighted"}
    assert advised(**balanced) == ["routes.r.groups: a client's own key goes to openai and b alike"]
    assert advised(**ROUTE | {"upstreams__openai__key": ""}) == []
    assert advised(**balanced | {"upstreams__b__keys": KEY}) == []


@pytest.mark.parametrize("groups", ["openai,b", "openai b"])
def test_a_fallback_without_a_key_is_pointed_out(groups: str) -> None:
    """A client's own key goes to the first; whoever is asked after it refuses who has none."""
    routed = ROUTE | {"upstreams__b__base_url": "https://b.example/v1", "routes__r__groups": groups}
    line = "routes.r.groups: b is asked without any key, because a client's own goes to the first"
    assert advised(**routed) == [line]
    assert advised(**routed | {"upstreams__b__keys": KEY}) == []
