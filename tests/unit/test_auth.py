"""Whose request it is, and what of that an upstream sees."""

import re

import pytest

from proxy.auth import MAX_GIVEN, PassThrough, tells_who, without_credentials
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Headers
from tests.fakes.seams import FakeBody, FakeClient

KEY = b"sk-canary"


def _exchange(headers: Headers) -> Exchange:
    return Exchange(
        method="GET", path="/v1/models", query=b"", headers=headers, body=FakeBody(), client=FakeClient(),
        peer="", call_id="c", started_at=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        (b"authorization", b"Bearer " + KEY),
        (b"authorization", b"bearer   " + KEY + b" "),
        (b"authorization", b"BEARER " + KEY),
        (b"api-key", KEY),
        (b"x-api-key", KEY),
        (b"sec-websocket-protocol", b"realtime, openai-insecure-api-key." + KEY + b", openai-beta.realtime-v1"),
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_where_keys_are_found(line: tuple[bytes, bytes], *, required: bool) -> None:
    """Every form in which SDKs and browsers send a key."""
    exchange = _exchange([(b"x", b"y"), line])
    PassThrough(required=required).identify(exchange)
    assert exchange.credential == KEY


def test_no_virtual_key_is_called_as_a_clients_own_is() -> None:
    """By a digest of it, and what no id begins with; who brings none has no name."""
    exchange = _exchange([(b"authorization", b"Bearer " + KEY)])
    PassThrough(required=False).identify(exchange)
    assert re.fullmatch("~[0-9a-f]{16}", exchange.account)
    PassThrough(required=False).identify(nobody := _exchange([]))
    assert nobody.account == ""


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Basic dTpw")],
        [(b"x-api-key", b"")],
        [(b"cookie", b"api-key=" + KEY)],
        [(b"sec-websocket-protocol", b"realtime")],
    ],
    ids=str,
)
def test_no_key(headers: Headers) -> None:
    """Refused where a key is required, and nobody's elsewhere."""
    exchange = _exchange(headers)
    PassThrough(required=False).identify(exchange)
    assert exchange.credential == b""
    with pytest.raises(Failure) as refused:
        PassThrough(required=True).identify(exchange)
    assert (refused.value.kind, refused.value.status) == (Kind.INVALID_API_KEY, 401)


def test_a_refusal_echoes_nothing() -> None:
    """A header that is no key is not shown to anybody."""
    with pytest.raises(Failure) as refused:
        PassThrough(required=True).identify(_exchange([(b"authorization", b"Basic " + KEY)]))
    assert KEY not in refused.value.body()
    assert KEY.decode() not in f"{refused.value!r}{refused.value}{refused.value.detail}"


def test_no_credential_is_left() -> None:
    """Of all fields that may hold a key none remains; the others keep their order."""
    headers = [
        (b"a", b"1"),
        (b"authorization", KEY),
        (b"api-key", KEY),
        (b"x-api-key", KEY),
        (b"authorization", KEY),
        (b"sec-websocket-protocol", b"realtime, openai-insecure-api-key." + KEY + b",openai-beta.realtime-v1"),
        (b"b", b"2"),
    ]
    assert without_credentials(headers) == [
        (b"a", b"1"),
        (b"sec-websocket-protocol", b"realtime, openai-beta.realtime-v1"),
        (b"b", b"2"),
    ]


@pytest.mark.parametrize("name", [b"x-goog-api-key", b"cookie", b"openai-api-key", b"sec-websocket-protocol", b"x"])
@pytest.mark.parametrize("value", [b"%b", b"a=b; k=%b; c=d", b"Bearer %b", b"sk%%2d%b"], ids=repr)
def test_no_other_field_repeats_it(name: bytes, value: bytes) -> None:
    """As it is, among other things, or with some of it encoded; what does not is kept."""
    key = b"sk-canary-of-a-fair-length"
    line = (name, value % (key[3:] if b"%%" in value else key))
    headers = [(b"authorization", b"Bearer " + key), line, (b"x-other", key[:-1]), (b"b", b"2%")]
    assert without_credentials(headers, key) == [(b"x-other", key[:-1]), (b"b", b"2%")]
    assert line in without_credentials(headers, b"")


def test_what_is_in_everything_tells_no_key() -> None:
    """A client's own key may be a word, as "none" and "x" are for upstreams that want none."""
    headers = [(b"content-type", b"application/json"), (b"x", b"none")]
    for key in (b"", b"x", b"json", b"none"):
        assert without_credentials(headers, key) == headers


def test_a_field_that_was_nothing_but_a_key_is_gone() -> None:
    """No empty field is sent, which would be no list of protocols."""
    assert without_credentials([(b"sec-websocket-protocol", b"openai-insecure-api-key." + KEY)]) == []


def test_whom_the_key_bills_is_gone_with_it() -> None:
    """Organisation and project, also where browsers send them."""
    protocols = b"realtime, openai-insecure-api-key.k, openai-organization.org-1, openai-project.proj-1"
    headers = [(b"openai-organization", b"org-1"), (b"openai-project", b"p"), (b"sec-websocket-protocol", protocols)]
    assert without_credentials(headers) == [(b"sec-websocket-protocol", b"realtime")]


def test_the_given_headers_are_not_changed() -> None:
    """The exchange keeps what its client sent."""
    headers = [(b"authorization", KEY)]
    without_credentials(headers).append((b"x", b"y"))
    assert headers == [(b"authorization", KEY)]


def _scope(*headers: tuple[bytes, bytes], auth: PassThrough | None = None) -> bytes:
    exchange = _exchange([*headers])
    (auth or PassThrough(required=False)).identify(exchange)
    return exchange.scope


CREDENTIALS = re.findall(
    r"\S+",
    """authorization api-key x-api-key x-goog-api-key ocp-apim-subscription-key x-auth-token cookie
    x-portkey-api-key x-portkey-virtual-key x-litellm-api-key cf-aig-authorization helicone-auth x-api-token
    x-access-token x-amz-security-token proxy-authorization apikey x_api_key cf-access-client-id dpop-token
    cf-access-jwt-assertion x-forwarded-client-cert x-ms-client-principal x-forwarded-user x-forwarded-email
    x-openwebui-user-id x-user x-tenant x-account-id x-org-id x-team-id x-goog-user-project session_id
    x-signature helicone-user-id x-client-secret x-workspace-id""",
)


@pytest.mark.parametrize("name", CREDENTIALS)
def test_who_asks_is_told_by_any_field_that_says_so(name: str) -> None:
    """Of whatever gateway behind: two clients that differ in it alone share nothing."""
    assert len({_scope((name.encode(), value)) for value in (b"a", b"b")} | {_scope()}) == 3


NOBODY = re.findall(
    r"\S+",
    """accept accept-encoding accept-language baggage cache-control connection content-length content-type host
    http-referer idempotency-key x-idempotency-key keep-alive openai-beta openai-organization openai-project origin
    pragma sec-websocket-key sec-ch-ua sec-fetch-mode sentry-trace traceparent tracestate user-agent
    x-amzn-trace-id x-b3-traceid x-client-request-id x-client-user-agent x-cloud-trace-context x-datadog-trace-id
    x-forwarded-for x-goog-api-client x-ms-client-request-id x-ms-useragent x-portkey-trace-id x-real-ip x-request-id
    x-stainless-arch x-stainless-async x-stainless-helper-method x-stainless-lang x-stainless-os
    x-stainless-package-version x-stainless-read-timeout x-stainless-retry-count x-stainless-runtime
    x-stainless-runtime-version x-title helicone-session-id helicone-session-path""",
)


@pytest.mark.parametrize("name", NOBODY)
def test_what_differs_by_request_tells_nobody_apart(name: str) -> None:
    """What SDKs, browsers, proxies and tracers send with each request."""
    assert _scope((name.encode(), b"a")) == _scope((name.encode(), b"b")) == _scope()


def test_everybody_is_everybody() -> None:
    """Where all share, no field tells."""
    auth = PassThrough(required=False, scope="global")
    assert len({_scope((name.encode(), b"a"), auth=auth) for name in CREDENTIALS}) == 1


def test_long_credentials_are_told_apart_and_not_remembered() -> None:
    """What is remembered of a client is bounded; who it is does not depend on that."""
    auth = PassThrough(required=False)
    long = [(b"cookie", b"c" * MAX_GIVEN + each) for each in (b"1", b"2", b"1")]
    first, second, again = [_scope(line, auth=auth) for line in long]
    assert first == again != second
    assert not auth._known
    assert _scope((b"cookie", b"c"), auth=auth) == _scope((b"cookie", b"c"), auth=auth)
    assert len(auth._known) == 1


def test_long_names_are_read_too() -> None:
    """They are no way around it."""
    name = b"x-" + b"y" * 10_000 + b"-token"
    assert tells_who(name)
    assert _scope((name, b"a")) != _scope((name, b"b"))
