"""What the official SDK raises, and when it asks again."""

import time
from typing import Any

import openai
import pytest

from tests.fakes.polling import until
from tests.wire.sdk.parity import Pair, both_ways, client_of, done, each, entered, plain, seen

ASK: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Well?"}]}
STATUSES = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    413: openai.APIStatusError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
}
LISTS = [("sync", "direct"), ("async", "direct"), ("sync", "gateway"), ("async", "gateway")]
eachway = pytest.mark.parametrize(("kind", "way"), LISTS)


async def raised(call: Any) -> openai.APIError:
    """The error that a call ends with."""
    try:
        await done(call())
    except openai.APIError as error:
        return error
    raise AssertionError("no error was raised")


@both_ways
async def test_error_classes(client: Any) -> Any:
    """Every status raises its class, with the upstream's message, code, param and request id."""
    errors = []
    for status, kind in STATUSES.items():
        headers = {"x-demo-error": str(status)}
        error = await raised(lambda headers=headers: client.chat.completions.create(**ASK, extra_headers=headers))
        assert isinstance(error, kind)
        assert error.request_id
        errors.append(error)
    return errors


@both_ways
async def test_refused_requests(client: Any) -> Any:
    """A request that the upstream finds wrong raises what the upstream says of it, naming the field."""
    create = client.chat.completions.create
    wrong = [
        {"messages": "text"},
        {"messages": []},
        {"n": -1},
        {"temperature": 9},
        {"response_format": {"type": "xml"}},
    ]
    errors = [await raised(lambda one=one: create(**ASK | one)) for one in wrong]
    assert [error.param for error in errors] == ["messages", "messages", "n", "temperature", "response_format.type"]
    missing = await raised(lambda: client.post("/chat/completions", cast_to=object, body={"model": "gpt-4o"}))
    unknown = await raised(lambda: create(**ASK | {"model": "gpt-nonexistent"}))
    assert (missing.param, unknown.code) == ("messages", "model_not_found")
    return [*errors, missing, unknown]


@both_ways
async def test_error_before_a_stream(client: Any) -> Any:
    """A stream that is refused raises the same as a call that is."""
    return await raised(lambda: client.chat.completions.create(**ASK | {"model": "demo-error-429"}, stream=True))


@both_ways
async def test_invalid_key(client: Any) -> Any:
    """The upstream's word on a bad key is what the client hears."""
    other = client.with_options(api_key="sk-invalid-0000")
    error = await raised(lambda: other.models.list())
    assert isinstance(error, openai.AuthenticationError)
    assert error.code == "invalid_api_key"
    return error


@both_ways
async def test_error_frame(client: Any) -> Any:
    """An error inside a stream is raised after what came before it."""
    stream = await done(client.chat.completions.create(**ASK | {"model": "demo-error-frame"}, stream=True))
    read: list[Any] = []
    with pytest.raises(openai.APIError) as error:
        read.extend([chunk async for chunk in each(stream)])
    return plain(error.value)


@both_ways
async def test_error_event_of_responses(client: Any) -> Any:
    """An error event inside a streamed response arrives as an event."""
    asked: Any = {"model": "gpt-5", "input": "Well?", "stream": True}
    headers = {"x-demo-fault": "error-frame", "x-demo-after": "4"}
    stream = await done(client.responses.create(**asked, extra_headers=headers))
    events = [event async for event in each(stream)]
    assert events[-1].type == "error"
    return events


@both_ways
async def test_retry_after_429(client: Any) -> Any:
    """The SDK asks again after a 429 and gets the answer, having waited as long as it was told."""
    headers = {"x-demo-error": "429", "x-demo-fail-first": "2", "x-demo-retry-after-ms": "60"}
    began = time.monotonic()
    raw = await done(
        client.with_options(max_retries=3).chat.completions.with_raw_response.create(**ASK, extra_headers=headers)
    )
    assert time.monotonic() - began > 0.1
    return [raw.retries_taken, raw.parse()]


@eachway
@pytest.mark.parametrize(("status", "failures", "retries", "arrived"), [(429, 2, 3, 3), (500, 1, 2, 2), (503, 9, 1, 2)])
async def test_attempts(
    pair: Pair, kind: str, way: str, status: int, failures: int, retries: int, arrived: int
) -> None:
    """The upstream sees exactly the attempts that the SDK makes: none is added, none is lost."""
    tag = f"attempts-{kind}-{way}-{status}"
    headers = {"x-demo-error": str(status), "x-demo-fail-first": str(failures), "x-demo-tag": tag}
    headers["x-demo-retry-after-ms"] = "10"
    async with entered(client_of(kind, getattr(pair, way), "sk-attempts")) as client:
        call = client.with_options(max_retries=retries).chat.completions.create
        if failures > retries:
            assert (await raised(lambda: call(**ASK, extra_headers=headers))).code == "overloaded"
        else:
            assert (await done(call(**ASK, extra_headers=headers))).choices
    assert (await seen(pair, tag))["count"] == arrived


@eachway
async def test_no_retry_of_400(pair: Pair, kind: str, way: str) -> None:
    """A refused request is sent once, whatever the SDK's retries."""
    tag = f"no-retry-{kind}-{way}"
    headers = {"x-demo-error": "400", "x-demo-tag": tag}
    async with entered(client_of(kind, getattr(pair, way), "sk-attempts")) as client:
        await raised(lambda: client.with_options(max_retries=3).chat.completions.create(**ASK, extra_headers=headers))
    assert (await seen(pair, tag))["count"] == 1


@eachway
async def test_timeout(pair: Pair, kind: str, way: str) -> None:
    """The SDK's own time-out is raised as such, and the upstream's work ends with it."""
    tag = f"timeout-{kind}-{way}"
    # The gateway is told of a longer one: it would answer at the moment at which the SDK gives up.
    headers = {"x-demo-latency-ms": "30000", "x-demo-tag": tag, "x-stainless-read-timeout": "30"}
    async with entered(client_of(kind, getattr(pair, way), "sk-timeouts")) as client:
        error = await raised(lambda: client.chat.completions.create(**ASK, extra_headers=headers, timeout=0.5))
    assert isinstance(error, openai.APITimeoutError)
    await aborted(pair, tag)


@eachway
async def test_timeout_in_a_stream(pair: Pair, kind: str, way: str) -> None:
    """A stream that stalls runs into the SDK's time-out after what came, and the upstream's work ends."""
    tag = f"stall-{kind}-{way}"
    headers = {"x-demo-fault": "stall", "x-demo-after": "3", "x-demo-tag": tag, "x-stainless-read-timeout": "30"}
    async with entered(client_of(kind, getattr(pair, way), "sk-timeouts")) as client:
        stream = await done(client.chat.completions.create(**ASK, stream=True, extra_headers=headers, timeout=1.0))
        read: list[Any] = []
        with pytest.raises(openai.APITimeoutError):
            async for chunk in each(stream):
                read.append(chunk)  # noqa: PERF401  (what came before the error counts)
        await done(stream.close())
    assert len(read) == 3
    await aborted(pair, tag)


async def aborted(pair: Pair, tag: str) -> None:
    """Until the upstream has noticed that its client is gone."""
    counts: list[int] = [0]

    async def look() -> None:
        counts.append((await seen(pair, tag))["aborted"])

    for _ in range(100):
        await look()
        if counts[-1]:
            return
        await until(lambda: True)
    assert counts[-1] == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_broken_stream(pair: Pair, kind: str, fault: str) -> None:
    """A stream that the upstream breaks off raises an error that says so, after what came; it never ends quietly."""
    async with entered(client_of(kind, pair.gateway, "sk-broken")) as client:
        stream = await done(client.chat.completions.create(**ASK | {"model": f"demo-{fault}"}, stream=True))
        read: list[Any] = []
        with pytest.raises(openai.APIError) as error:
            async for chunk in each(stream):
                read.append(chunk)  # noqa: PERF401  (what came before the error counts)
    assert len(read) == 2
    assert error.value.code == "upstream_disconnected"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_reset_before_the_answer(pair: Pair, kind: str) -> None:
    """An upstream that resets the connection after it got the request is asked once, whatever the SDK's retries."""
    tag = f"reset-{kind}"
    headers = {"x-demo-fault": "reset-early", "x-demo-tag": tag}
    async with entered(client_of(kind, pair.gateway, "sk-broken")) as client:
        error = await raised(
            lambda: client.with_options(max_retries=3).chat.completions.create(**ASK, extra_headers=headers)
        )
    assert isinstance(error, openai.InternalServerError)
    assert error.status_code == 502
    assert (await seen(pair, tag))["count"] == 1
