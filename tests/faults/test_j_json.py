"""J1 to J9: JSON that is none, and JSON that only looks dangerous."""

import time

import msgspec
import pytest

from tests.fakes.answers import json_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import RawClient, Response, compose
from tests.fakes.upstream import ScriptedUpstream

JSON = [("content-type", "application/json")]
ROUTES = ["chat/completions", "completions", "embeddings", "responses", "moderations", "images/generations"]


def _assert_invalid(response: Response, upstream: ScriptedUpstream) -> None:
    assert (response.status, response.error_code) == (400, "invalid_json")
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.header(b"content-type") == b"application/json"
    assert response.header(b"x-request-id")
    assert upstream.requests == []


NO_OBJECT = {
    "empty": b"",
    "white space": b" \n",
    "array": b"[]",
    "string": b'"x"',
    "null": b"null",
    "number": b"1",
    "truncated": b'{"model":"m","messages":[',
    "trailing": b'{"model":"m"} {}',
    "single quotes": b"{'model':'m'}",
    "comma": b'{"model":"m",}',
    "unquoted": b"{model:1}",
    "form": b"model=m",
    "BOM": b'\xef\xbb\xbf{"model":"m"}',
    "binary": bytes(range(256)),
    "control character": b'{"model":"a\x01b"}',
    "UTF-16": '{"model":"m"}'.encode("utf-16"),
}


@pytest.mark.parametrize("body", NO_OBJECT.values(), ids=NO_OBJECT.keys())
async def test_j1_no_json_object(upstream: ScriptedUpstream, client: RawClient, body: bytes) -> None:
    """What is not a JSON object is 400 invalid_json, and never reaches the upstream."""
    _assert_invalid(await client.ask(body=body, headers=JSON), upstream)


@pytest.mark.parametrize("route", ROUTES)
async def test_j1_on_every_json_route(upstream: ScriptedUpstream, client: RawClient, route: str) -> None:
    """Also on the other routes that take JSON."""
    _assert_invalid(await client.ask("POST", f"/v1/{route}", b"{", JSON), upstream)


async def test_j1_the_connection_goes_on(client: RawClient) -> None:
    """A client that sent nonsense can ask again on the same connection."""
    await client.ask(body=b"{", headers=JSON)
    assert (await client.ask(body=CHAT)).status == 200


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'], ids=["arrays", "objects", "both"])
@pytest.mark.parametrize("depth", [10_000, 1_000_000])
async def test_j2_nested_too_deep(upstream: ScriptedUpstream, client: RawClient, opening: bytes, depth: int) -> None:
    """Nesting of any depth is refused in no time, closed or not."""
    body = b'{"messages":' + opening * depth
    started = time.thread_time()
    response = await client.ask(body=body, headers=JSON)
    assert time.thread_time() - started < (0.05 if depth == 10_000 else 0.5)
    _assert_invalid(response, upstream)


async def test_j2_deep_and_closed(upstream: ScriptedUpstream, client: RawClient) -> None:
    """The same for valid JSON: nobody's parser is to be tried."""
    body = b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    _assert_invalid(await client.ask(body=body, headers=JSON), upstream)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"01", b"0x10", b".5", b"1."])
async def test_j4_no_numbers(upstream: ScriptedUpstream, client: RawClient, value: bytes) -> None:
    """What RFC 8259 calls no number is 400."""
    _assert_invalid(await client.ask(body=b'{"model":"m","seed":%b}' % value, headers=JSON), upstream)


@pytest.mark.parametrize("value", [b"1e999", b"-1E+999", b"9" * 5_000, b"1.0000000000000000000001", b"-0", b"1e-5"])
async def test_j4_any_number(upstream: ScriptedUpstream, client: RawClient, value: bytes) -> None:
    """What it calls a number is relayed byte for byte, also where no machine could hold it."""
    body = b'{"model":"m","seed":%b}' % value
    assert (await client.ask(body=body, headers=JSON)).status == 200
    assert upstream.request.body == body


@pytest.mark.parametrize("where", [b'{"model":%b}', b'{"model":"m","x":%b}', b'{%b:1,"model":"m"}'])
@pytest.mark.parametrize("text", [rb'"\ud83d"', rb'"\udd8a\ud83d"', rb'"a\ud83dz"', b'"\xff"', b'"\xed\xa0\xbd"'])
async def test_j5_half_a_character(
    upstream: ScriptedUpstream, gateway: Gateway, client: RawClient, where: bytes, text: bytes
) -> None:
    """Lone surrogates and bad UTF-8 are 400 or relayed as they are, never a 500; and the gateway goes on."""
    body = where % text
    response = await client.ask(body=body, headers=JSON)
    if response.status == 400:
        _assert_invalid(response, upstream)
    else:
        assert (response.status, upstream.request.body) == (200, body)
    await gateway.settled()
    assert (await client.ask(body=CHAT)).status == 200
    assert await gateway.samples()


WRONG = [
    {"messages": "x"},
    {"model": 1, "n": 1_000_000_000},
    {"model": None, "max_tokens": -1},
    {"model": ["m"], "stream": "yes"},
    {"model": {"a": 1}, "stream": 1},
    {"stream": None},
    {},
]


@pytest.mark.parametrize("body", WRONG, ids=str)
async def test_j7_wrong_types(upstream: ScriptedUpstream, client: RawClient, body: dict[str, object]) -> None:
    """Wrong types are the upstream's to refuse: it sees them as they are, and its words come back."""
    refusal = {"error": {"message": "bad", "type": "invalid_request_error", "param": "n", "code": None}}
    upstream.script(json_answer(refusal, 400))
    response = await client.ask(body=body)
    assert (response.status, response.json()) == (400, refusal)
    assert upstream.request.body == msgspec.json.encode(body)


async def test_j8_unknown_fields(upstream: ScriptedUpstream, client: RawClient) -> None:
    """Unknown fields, doubled keys, odd white space and escapes reach the upstream byte for byte."""
    body = b'{ "x-new" : {"a":[1 ,2]},\t"model":"m","model":"\\u006d", "caf\\u00e9":"caf\xc3\xa9",\r\n"x-new":null }\n'
    assert (await client.ask(body=body, headers=JSON)).status == 200
    assert upstream.request.body == body


async def test_j9_operators_fields_are_inert(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Fields that steer other gateways do nothing here: same upstream, same key, same bytes."""
    async with ScriptedUpstream() as trap:
        gateway = await start(upstreams__test__key="sk-operator")
        body = CHAT | {
            "api_base": trap.url,
            "base_url": trap.url,
            "api_key": "sk-evil",
            "custom_llm_provider": "azure",
            "organization": "x",
            "cache_key": "k",
            "namespace": "n",
            "timeout": 0.001,
            "num_retries": 9,
            "fallbacks": ["x"],
            "proxy": trap.origin,
        }
        async with gateway.client() as client:
            assert (await client.ask(body=body)).status == 200
        assert upstream.request.json() == body
        assert upstream.request.header(b"authorization") == b"Bearer sk-operator"
        assert trap.accepted == 0


async def test_j1_length_of_a_json_body_is_set_anew(upstream: ScriptedUpstream, client: RawClient) -> None:
    """A chunked JSON body goes upstream with its length, once."""
    await client.send(compose(body=b"", headers=[("transfer-encoding", "chunked"), *JSON]))
    await client.send(b'5\r\n{"mod\r\n8\r\nel":"m"}\r\n0\r\n\r\n')
    assert (await client.response()).status == 200
    assert upstream.request.header(b"content-length") == b"13"
    assert upstream.request.body == b'{"model":"m"}'
