"""Raw and streaming response helpers of the official SDK: heads as well as bodies."""

from typing import Any

from tests.wire.sdk.parity import Pair, both_ways, client_of, done, each, entered, seen

ASK: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Well?"}]}
OF_THE_CONNECTION = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "date",
    "server",
    "server-timing",
}
SENT_BY_A_GATEWAY = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}


def end_to_end(headers: Any) -> dict[str, str]:
    """The fields that a gateway passes on."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() not in OF_THE_CONNECTION and not name.lower().startswith("x-askonce-")
    }


@both_ways
async def test_raw_response(client: Any) -> Any:
    """Status, headers, request id and body of a raw response are the upstream's."""
    raw = await done(client.chat.completions.with_raw_response.create(**ASK))
    headers = end_to_end(raw.headers)
    assert headers["x-ratelimit-remaining-requests"] == "9999"
    assert raw.request_id.startswith("req_")
    return [raw.status_code, headers, raw.request_id, raw.content, raw.parse()]


@both_ways
async def test_raw_stream(client: Any) -> Any:
    """A raw response that streams has its head and its chunks."""
    raw = await done(client.chat.completions.with_raw_response.create(**ASK, stream=True))
    chunks = [chunk async for chunk in each(raw.parse())]
    return [end_to_end(raw.headers), chunks]


@both_ways
async def test_streaming_response(client: Any) -> Any:
    """The lines of a streaming response are the upstream's, byte for byte."""
    async with entered(client.chat.completions.with_streaming_response.create(**ASK, stream=True)) as response:
        lines = [line async for line in each(response.iter_lines())]
    assert lines[-2:] == ["data: [DONE]", ""]
    return [end_to_end(response.headers), lines]


@both_ways
async def test_binary_body(client: Any) -> Any:
    """A download is read in pieces and has its headers."""
    file = await done(client.files.create(file=("a.bin", bytes(range(256)) * 64), purpose="user_data"))
    async with entered(client.files.with_streaming_response.content(file.id)) as response:
        body = b"".join([piece async for piece in each(response.iter_bytes(1_000))])
    headers = end_to_end(response.headers)
    assert headers["content-disposition"] == 'attachment; filename="a.bin"'
    return [headers, body]


@both_ways
async def test_unknown_path(client: Any) -> Any:
    """A path without special knowledge is forwarded with its method and query, and so is the upstream's answer."""
    from tests.wire.sdk.test_sdk_errors import raised

    options: Any = {"params": {"q": "ä b", "l": ["1", "2"]}}
    return [
        await raised(lambda: client.get("/some/new/thing", cast_to=object, options=options)),
        await raised(lambda: client.patch("/some/new/thing", cast_to=object, body={"a": 1})),
        await raised(lambda: client.put("/some/new/thing", cast_to=object, body={})),
    ]


async def test_request_as_sent(pair: Pair) -> None:
    """The request that arrives upstream is the one that was sent: target, body and end-to-end headers."""
    arrived = []
    for way in ("direct", "gateway"):
        async with entered(client_of("sync", getattr(pair, way), "sk-sent")) as client:
            await done(
                client.chat.completions.create(
                    **ASK,
                    extra_headers={
                        "x-demo-tag": f"sent-{way}",
                        "x-custom": "kept as it is",
                        "te": "trailers",
                    },
                    extra_query={"a": "1 2", "b": "%2F"},
                    extra_body={"unknown": {"b": 1, "a": [None, 1.0]}},
                )
            )
        arrived.append((await seen(pair, f"sent-{way}"))["requests"][0])
    direct, through = arrived
    assert [through[key] for key in ("method", "target", "body_sha256", "body_bytes")] == [
        direct[key] for key in ("method", "target", "body_sha256", "body_bytes")
    ]
    assert sent(through) == sent(direct)


def sent(request: dict[str, Any]) -> list[list[str]]:
    left_out = {*SENT_BY_A_GATEWAY, "x-demo-tag", "te"}
    return sorted([name, value] for name, value in request["headers"] if name not in left_out)
