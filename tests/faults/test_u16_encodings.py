"""U16: encoded bodies cross untouched where nothing is kept of them; elsewhere identity is asked for."""

import gzip

import pytest

from tests.fakes.answers import Answer, Framing, compress
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.gateway import Gateway
from tests.fakes.raw import RawClient
from tests.fakes.upstream import ScriptedUpstream

BODY = b'{"data":[' + b'"x",' * 5_000 + b"1]}"


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
async def test_u16_relayed_untouched(
    upstream: ScriptedUpstream, client: RawClient, encoding: str, framing: Framing
) -> None:
    """Body, content-encoding and length agree, and are the upstream's."""
    upstream.script(Answer(200, [("vary", "accept-encoding")], BODY, framing, encoding=encoding))
    response = await client.ask("GET", "/v1/files/f/content", headers=[("accept-encoding", encoding)])
    assert response.body == compress(BODY, encoding)
    assert response.header(b"content-encoding") == encoding.encode()
    assert response.header(b"vary") == b"accept-encoding"
    assert response.whole
    assert upstream.request.header(b"accept-encoding") == encoding.encode()


@pytest.mark.parametrize("accepted", ["gzip, br;q=0.5", None])
@pytest.mark.parametrize("route", ["chat/completions", "embeddings", "responses", "moderations"])
async def test_u16_identity_where_answers_are_kept(
    upstream: ScriptedUpstream, client: RawClient, route: str, accepted: str | None
) -> None:
    """On routes whose answers can be served again the upstream is asked for identity, once."""
    headers = [("accept-encoding", accepted)] if accepted else []
    await client.ask("POST", f"/v1/{route}", CHAT, headers)
    assert upstream.request.all(b"accept-encoding") == [b"identity"]


@pytest.mark.parametrize("accepted", [[("accept-encoding", "gzip, br;q=0.5")], []], ids=["encoded", "plain"])
@pytest.mark.parametrize("path", ["messages", "images/edits", "responses/compact", "files"])
async def test_u16_identity_where_usage_is_read(
    upstream: ScriptedUpstream, client: RawClient, path: str, accepted: list[tuple[str, str]]
) -> None:
    """Of any POST; what else a client says there goes up as it is."""
    headers = [("cache-control", "no-cache"), *accepted]
    await client.ask("POST", f"/v1/{path}", CHAT, headers)
    assert upstream.request.all(b"accept-encoding") == [b"identity"]
    assert upstream.request.all(b"cache-control") == [b"no-cache"]


async def test_u16_an_upstream_that_encodes_all_the_same(
    upstream: ScriptedUpstream, gateway: Gateway, client: RawClient
) -> None:
    """It is relayed with its label; nothing of it is read."""
    upstream.script(Answer(200, [("content-type", "application/json")], BODY, encoding="gzip"))
    response = await client.ask(body=CHAT)
    assert response.header(b"content-encoding") == b"gzip"
    assert gzip.decompress(response.body) == BODY
    await gateway.settled()


async def test_u16_an_encoded_stream(upstream: ScriptedUpstream, client: RawClient) -> None:
    """So is an event stream: untouched to the end."""
    upstream.script(Answer(200, [("content-type", "text/event-stream")], b"data: x\n\n", encoding="gzip"))
    response = await client.ask(body=STREAM)
    assert gzip.decompress(response.body) == b"data: x\n\n"


async def test_u16_an_encoded_upload_crosses(upstream: ScriptedUpstream, client: RawClient) -> None:
    """A request body that is not read here keeps its encoding."""
    body = gzip.compress(b"x" * 1_000)
    await client.ask("POST", "/v1/files", body, [("content-encoding", "gzip")])
    assert upstream.request.body == body
    assert upstream.request.header(b"content-encoding") == b"gzip"
