"""Whose request it is, and what of that an upstream sees."""

import pytest

from proxy.auth import Auth, without_credentials
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
    Auth(required=required).identify(exchange)
    assert exchange.credential == KEY


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
    Auth(required=False).identify(exchange)
    assert exchange.credential == b""
    with pytest.raises(Failure) as refused:
        Auth(required=True).identify(exchange)
    assert (refused.value.kind, refused.value.status) == (Kind.INVALID_API_KEY, 401)


def test_a_refusal_echoes_nothing() -> None:
    """A header that is no key is not shown to anybody."""
    with pytest.raises(Failure) as refused:
        Auth(required=True).identify(_exchange([(b"authorization", b"Basic " + KEY)]))
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


def test_a_field_that_was_nothing_but_a_key_is_gone() -> None:
    """No empty field is sent, which would be no list of protocols."""
    assert without_credentials([(b"sec-websocket-protocol", b"openai-insecure-api-key." + KEY)]) == []


def test_the_given_headers_are_not_changed() -> None:
    """The exchange keeps what its client sent."""
    headers = [(b"authorization", KEY)]
    without_credentials(headers).append((b"x", b"y"))
    assert headers == [(b"authorization", KEY)]
