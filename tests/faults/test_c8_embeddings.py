"""C8: embeddings are kept input by input, and a batch says what the upstream alone would have said."""

import asyncio
import base64
import gzip
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import openai
import pytest

from proxy.demo.checks import Embeddings
from proxy.demo.model.embeddings import embed, vector
from tests.fakes.answers import Answer, Framing, json_answer
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.sdk import asynchronous
from tests.fakes.upstream import Request, ScriptedUpstream

SIZE = 8


def _embedded(request: Request) -> Answer:
    """What an upstream says that has no cache."""

    def said() -> Iterator[bytes]:
        yield msgspec.json.encode(embed(msgspec.json.decode(request.body, type=Embeddings)))

    return Answer(200, [("content-type", "application/json"), ("x-request-id", "req_1")], said(), Framing.CHUNKED)


def _asked(upstream: ScriptedUpstream) -> list[list[Any]]:
    """The inputs of every request that came."""
    given = [request.json()["input"] for request in upstream.requests]
    return [each if isinstance(each, list) and not isinstance(each[0], int) else [each] for each in given]


@pytest.fixture
async def cached(upstream: ScriptedUpstream, start: StartGateway) -> Gateway:
    upstream.script(_embedded)
    return await start(cache__enabled=True)


async def _ask(
    gateway: Gateway, given: Any, form: str = "float", fields: Sequence[tuple[str, str]] = (), **more: Any
) -> Response:
    body = {"model": "m", "input": given, "encoding_format": form, "dimensions": SIZE, **more}
    async with gateway.client() as client:
        return await client.ask(target="/v1/embeddings", body=body, headers=[("authorization", "Bearer sk-t"), *fields])


def _status(response: Response) -> bytes:
    return response.header(b"x-cache-status") or b""


async def test_only_what_is_not_known_is_asked_for(upstream: ScriptedUpstream, cached: Gateway) -> None:
    """In one call, and the answer has every input in its place."""
    assert _status(await _ask(cached, ["one", "two"])) == b"MISS"
    partial = await _ask(cached, ["three", "two", "four", "one"])
    assert _asked(upstream) == [["one", "two"], ["three", "four"]]
    assert _status(partial) == b"PARTIAL-HIT"
    assert b"fwd=partial" in (partial.header(b"cache-status") or b"")
    data = partial.json()["data"]
    assert [item["index"] for item in data] == [0, 1, 2, 3]
    assert [item["embedding"] for item in data] == [vector(text, SIZE, "m") for text in ("three", "two", "four", "one")]


async def test_what_is_known_is_answered_byte_for_byte(upstream: ScriptedUpstream, cached: Gateway) -> None:
    """As the first time, and with the batch's age; the upstream hears nothing of it."""
    first = await _ask(cached, ["one", "two", "three"])
    again = await _ask(cached, ["one", "two", "three"])
    assert (_status(first), _status(again)) == (b"MISS", b"HIT")
    assert again.body == first.body
    assert again.header(b"age") == b"0"
    assert len(upstream.requests) == 1


async def test_an_input_is_known_from_any_batch(upstream: ScriptedUpstream, cached: Gateway) -> None:
    """Also alone, and from alone in a batch; written as a string or as a list of one."""
    await _ask(cached, ["one", "two"])
    alone, listed = await _ask(cached, "one"), await _ask(cached, ["two"])
    await _ask(cached, "three")
    batch = await _ask(cached, ["three", "one"])
    assert [_status(each) for each in (alone, listed, batch)] == [b"HIT", b"HIT", b"HIT"]
    assert _asked(upstream) == [["one", "two"], ["three"]]
    assert alone.json()["data"][0]["embedding"] == vector("one", SIZE, "m")


async def test_what_stands_twice_is_asked_for_once(upstream: ScriptedUpstream, cached: Gateway) -> None:
    """And answered in each place."""
    response = await _ask(cached, ["one", "two", "one", "one"])
    assert _asked(upstream) == [["one", "two"]]
    assert _status(response) == b"MISS"
    assert [item["index"] for item in response.json()["data"]] == [0, 1, 2, 3]
    assert response.json()["data"][3]["embedding"] == vector("one", SIZE, "m")
    assert (await _ask(cached, ["one", "two", "one", "one"])).body == response.body


async def test_tokens_are_inputs_like_text(upstream: ScriptedUpstream, cached: Gateway) -> None:
    """One array is one input, and several are a batch."""
    await _ask(cached, [1, 2, 3])
    response = await _ask(cached, [[4, 5], [1, 2, 3]])
    assert _asked(upstream) == [[[1, 2, 3]], [[4, 5]]]
    assert [item["embedding"] for item in response.json()["data"]] == [
        vector(text, SIZE, "m") for text in ("4 5", "1 2 3")
    ]


@pytest.mark.parametrize("given", ["one", ["one", "two"]], ids=["alone", "batch"])
@pytest.mark.parametrize("kept", ["float", "base64"])
async def test_either_form_from_either(
    upstream: ScriptedUpstream, cached: Gateway, given: str | list[str], kept: str
) -> None:
    """An embedding that came as decimals is given as base64, and the other way round, to the bit."""
    wanted = "base64" if kept == "float" else "float"
    await _ask(cached, given, kept)
    response = await _ask(cached, given, wanted)
    assert _status(response) == b"HIT"
    assert len(upstream.requests) == 1
    for item, text in zip(response.json()["data"], ["one", "two"], strict=False):
        packed = struct.pack(f"<{SIZE}f", *vector(text, SIZE, "m"))
        told = item["embedding"]
        assert (base64.b64decode(told) if wanted == "base64" else struct.pack(f"<{SIZE}f", *told)) == packed


async def test_the_official_client_sees_no_difference(upstream: ScriptedUpstream, cached: Gateway) -> None:
    """It asks for base64 and reads decimals, from the upstream and from here."""
    upstream.script(_embedded)
    clients = [asynchronous(url) for url in (upstream.url, cached.url)]
    try:
        for texts in (["a", "b"], ["c", "a", "b", "c"], ["c"], ["b", "a"]):
            answers = [
                await client.embeddings.create(model="m", input=texts, dimensions=SIZE, encoding_format=form)
                for form in (openai.omit, "float")
                for client in clients
            ]
            packed = [[struct.pack(f"<{SIZE}f", *item.embedding) for item in answer.data] for answer in answers]
            assert packed == [packed[0]] * 4
    finally:
        for client in clients:
            await client.close()


@pytest.mark.parametrize(
    "more", [{"dimensions": 4}, {"model": "n"}, {"input_type": "query"}], ids=["dimensions", "model", "input type"]
)
async def test_what_makes_another_embedding(upstream: ScriptedUpstream, cached: Gateway, more: dict[str, Any]) -> None:
    """Is another question, for each input."""
    await _ask(cached, ["one", "two"])
    assert _status(await _ask(cached, ["one", "two"], **more)) == b"MISS"
    assert len(upstream.requests) == 2


async def test_nobody_has_what_others_asked(upstream: ScriptedUpstream, cached: Gateway) -> None:
    """Another key is another scope."""
    await _ask(cached, ["one", "two"])
    body = {"model": "m", "input": ["one", "two"], "encoding_format": "float", "dimensions": SIZE}
    async with cached.client() as client:
        other = await client.ask(target="/v1/embeddings", body=body, headers=[("authorization", "Bearer sk-other")])
    assert _status(other) == b"MISS"
    assert len(upstream.requests) == 2


async def test_usage_is_what_was_asked_for_now(cached: Gateway) -> None:
    """The field `x-askonce-saved-tokens` tells the rest: with the usage it adds up to what the upstream would count."""
    texts = ["one " * 9, "two " * 5, "three " * 7]
    whole = (await _ask(cached, texts)).json()["usage"]
    again = await _ask(cached, texts)
    assert again.json()["usage"] == whole
    assert again.header(b"x-askonce-saved-tokens") == b"%d" % whole["total_tokens"]
    alone = (await _ask(cached, "four")).json()["usage"]["total_tokens"]
    partial = await _ask(cached, ["five " * 3, *texts, "four"])
    saved = int(partial.header(b"x-askonce-saved-tokens") or b"0")
    assert saved == whole["total_tokens"] + alone
    assert 0 < partial.json()["usage"]["total_tokens"] < saved


async def test_identical_batches_in_flight_share_a_call(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """What is missing of them is asked for once, and each has the whole."""
    gate = asyncio.Event()

    def gated(request: Request) -> Answer:
        return replace(_embedded(request), before=gate)

    gateway = await start(cache__enabled=True)
    upstream.script(_embedded, gated)
    await _ask(gateway, "one")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asking = [group.create_task(_ask(gateway, ["one", "two", "three"])) for _ in range(20)]
        while await gateway.sample("askonce_in_flight") < 20:
            await asyncio.sleep(0.01)
        gate.set()
    answers = [each.result() for each in asking]
    assert _asked(upstream) == [["one"], ["two", "three"]]
    assert len({answer.body for answer in answers}) == 1
    assert sorted(map(_status, answers)) == [b"COALESCED"] * 19 + [b"PARTIAL-HIT"]


async def test_who_shares_a_batch_that_failed_is_told_whose_word_it_is(
    upstream: ScriptedUpstream, start: StartGateway
) -> None:
    """One of those who waited asks once more, and the rest have its answer, with the name of its upstream."""
    gate = asyncio.Event()
    gateway = await start(cache__enabled=True, retry__attempts=1)
    upstream.script(replace(json_answer({}, 500), before=gate))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asking = [group.create_task(_ask(gateway, ["one", "two"])) for _ in range(3)]
        while await gateway.sample("askonce_in_flight") < 3:
            await asyncio.sleep(0.01)
        gate.set()
    answers = [each.result() for each in asking]
    told = [(answer.header(b"x-askonce-upstream"), answer.header(b"x-askonce-model")) for answer in answers]
    assert told == [(b"test", b"m")] * 3
    assert sorted(map(_status, answers)) == [b"COALESCED", b"MISS", b"MISS"]
    assert len(upstream.requests) == 2


async def test_a_compressed_batch_is_of_the_form_that_was_asked_for(cached: Gateway) -> None:
    """What was compressed of the same vectors in another form, or with what another call used, is another body."""
    zipped = [("accept-encoding", "gzip")]
    texts = [f"text {number}" for number in range(24)]
    await _ask(cached, texts)
    for form in ("float", "base64", "float"):
        plain = await _ask(cached, texts, form)
        packed = await _ask(cached, texts, form, zipped)
        assert (_status(packed), packed.header(b"content-encoding")) == (b"HIT", b"gzip")
        assert gzip.decompress(packed.body) == plain.body


async def test_a_compressed_batch_tells_what_it_would_have_used(upstream: ScriptedUpstream, cached: Gateway) -> None:
    """Not what the call for a part of it used, whose answer was compressed for somebody who shared it."""
    zipped = [("accept-encoding", "gzip")]
    texts = [f"text {number}" for number in range(24)]
    await _ask(cached, texts[1:])
    gate = asyncio.Event()
    upstream.script(lambda request: replace(_embedded(request), before=gate))
    both = [asyncio.Task(_ask(cached, texts, "float", zipped)) for _ in range(2)]
    await until(lambda: cached.app._accounting.in_flight == 2 and len(upstream.requests) == 2)
    await asyncio.sleep(0.02)
    gate.set()
    assert {_status(each) for each in await asyncio.gather(*both)} == {b"PARTIAL-HIT", b"COALESCED"}
    packed, plain = await _ask(cached, texts, "float", zipped), await _ask(cached, texts)
    assert gzip.decompress(packed.body) == plain.body


async def test_c5_a_batch_that_only_ends_with_its_connection_is_not_kept(
    upstream: ScriptedUpstream, cached: Gateway
) -> None:
    """Nobody can tell whether it was whole."""

    def unframed(request: Request) -> Answer:
        return replace(_embedded(request), framing=Framing.CLOSE)

    upstream.script(unframed)
    for count in (1, 2):
        response = await _ask(cached, ["one", "two"])
        assert (response.status, len(response.json()["data"])) == (200, 2)
        assert (_status(response), len(upstream.requests)) == (b"MISS", count)
        assert b"detail=incomplete" in (response.header(b"cache-status") or b"")
