"""Every kind of failure, as the contract says it."""

import msgspec
import pytest

from proxy.errors import Failure, Kind, Source, error_body

REQUEST, SERVER, UPSTREAM = "invalid_request_error", "server_error", "upstream_error"
CONTRACT = {
    "invalid_request": (400, REQUEST),
    "invalid_json": (400, REQUEST),
    "invalid_api_key": (401, REQUEST),
    "endpoint_not_allowed": (403, REQUEST),
    "model_not_found": (404, REQUEST),
    "unknown_route": (404, REQUEST),
    "method_not_allowed": (405, REQUEST),
    "request_timeout": (408, REQUEST),
    "request_too_large": (413, REQUEST),
    "unsupported_content_encoding": (415, REQUEST),
    "request_headers_too_large": (431, REQUEST),
    "client_closed_request": (499, REQUEST),
    "client_too_slow": (408, REQUEST),
    "cache_miss": (504, REQUEST),
    "rate_limit_exceeded": (429, "requests"),
    "insufficient_quota": (429, "insufficient_quota"),
    "too_many_tokens": (400, REQUEST),
    "limits_unavailable": (503, SERVER),
    "keys_unavailable": (503, SERVER),
    "internal_error": (500, SERVER),
    "overloaded": (503, SERVER),
    "draining": (503, SERVER),
    "upstream_unreachable": (502, UPSTREAM),
    "upstream_error": (502, UPSTREAM),
    "upstream_disconnected": (502, UPSTREAM),
    "upstream_timeout": (504, UPSTREAM),
    "upstream_unavailable": (503, "upstream_error"),
}


def test_every_kind_is_in_the_contract() -> None:
    """No code is told to clients that this table does not know."""
    assert {kind.value for kind in Kind} == set(CONTRACT)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_what_the_client_is_told(kind: Kind) -> None:
    """Status, and exactly message, type, param and code."""
    status, type_ = CONTRACT[kind.value]
    failure = Failure(kind)
    error = msgspec.json.decode(failure.body())
    assert (failure.status, kind.status) == (status, status)
    message = error["error"].pop("message")
    assert error == {"error": {"type": type_, "param": None, "code": kind.value}}
    assert message.endswith(".")
    assert message == str(failure)
    assert (b"content-type", b"application/json") in failure.headers(safe_method=False)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("unprocessed", [True, False])
def test_who_may_not_retry(kind: Kind, *, safe: bool, unprocessed: bool) -> None:
    """`x-should-retry: false` where an upstream may have acted on what is not safe to repeat, or nobody would act."""
    headers = Failure(kind, unprocessed=unprocessed).headers(safe_method=safe)
    told = (b"x-should-retry", b"false") in headers
    bills = kind.source is Source.UPSTREAM and not safe and not unprocessed
    assert told is (bills or kind in (Kind.CACHE_MISS, Kind.INSUFFICIENT_QUOTA, Kind.RATE_LIMITED))


def test_who_may_retry_later() -> None:
    """A limit that says when it has room is worth another try."""
    assert (b"x-should-retry", b"false") not in Failure(Kind.RATE_LIMITED, retry_after=0.2).headers(safe_method=False)


def test_when_to_come_back() -> None:
    """Both spellings of Retry-After, or none."""
    headers = Failure(Kind.OVERLOADED, retry_after=2).headers(safe_method=True)
    assert (b"retry-after", b"2") in headers
    assert (b"retry-after-ms", b"2000") in headers
    early = Failure(Kind.RATE_LIMITED, retry_after=1.0205).headers(safe_method=True)
    assert [value for name, value in early if name.startswith(b"retry")] == [b"2", b"1021"]
    assert not any(name.startswith(b"retry") for name, _ in Failure(Kind.OVERLOADED).headers(safe_method=True))


def test_a_frame() -> None:
    """In a stream: one event, which says the same."""
    failure = Failure(Kind.UPSTREAM_TIMEOUT, "Too slow.\nReally.", param="x")
    frame = failure.frame()
    assert frame == b"data: " + failure.body() + b"\n\n"
    assert frame.count(b"\n") == 2
    assert msgspec.json.decode(failure.body())["error"]["param"] == "x"


def test_details_are_for_the_log() -> None:
    """What went wrong inside is in no answer and no repr."""
    failure = Failure(Kind.UPSTREAM_ERROR, detail="canary at 10.0.0.7")
    said = repr((failure, str(failure), failure.body(), failure.headers(safe_method=False)))
    assert "canary" not in said


def test_any_text_is_json() -> None:
    """Messages with quotes, controls and characters of all kinds stay one JSON object."""
    text = 'a "quote" \\ \u2028 \x00 🦊'
    assert msgspec.json.decode(error_body(text, "t", None, "c"))["error"]["message"] == text
