"""U8: upstreams that do not know what the gateway asks for beside what the client did."""

import msgspec
import pytest

from tests.fakes.answers import Answer, event_stream, json_answer
from tests.fakes.asking import KEY, status_of
from tests.fakes.frames import COUNTED, DONE, STREAM, USAGE
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import Response
from tests.fakes.streams.writing import chunk
from tests.fakes.team import StartTeam
from tests.fakes.upstream import Request, ScriptedUpstream

FRAMES = [chunk({"content": "one"}), chunk({}, "stop"), DONE]


async def _ask(gateway: Gateway, body: object) -> Response:
    async with gateway.client() as client:
        return await client.ask(body=body, headers=[KEY])


@pytest.mark.parametrize("status", [400, 422])
async def test_u8_an_upstream_that_takes_no_stream_options(
    start: StartGateway, upstream: ScriptedUpstream, status: int
) -> None:
    """Its answers are those to what the client asked, are kept, and are asked for in one call from then on."""

    def said(request: Request) -> Answer:
        if int(request.header(b"content-length") or 0) > len(msgspec.json.encode(STREAM | {"seed": 0})):
            return json_answer({"error": {"message": "Unrecognized argument: stream_options"}}, status)
        return event_stream(FRAMES)

    upstream.script(said)
    gateway = await start(cache__enabled=True)
    for seed in range(3):
        responses = [await _ask(gateway, STREAM | {"seed": seed}) for _ in range(2)]
        assert [(response.status, response.body) for response in responses] == [(200, b"".join(FRAMES))] * 2
        assert list(map(status_of, responses)) == ["MISS", "HIT"]
    assert len(upstream.requests) == 2 + 1 + 1


REFUSAL = json_answer({"error": {"message": "Your mistake"}}, 400)


async def test_u8_a_refusal_of_the_client_is_his(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """What is refused either way is told to the client, and nothing is learnt; his own words are sent once."""
    upstream.script(REFUSAL)
    gateway = await start(cache__enabled=True)
    for count in (2, 4):
        refused = await _ask(gateway, STREAM)
        assert (refused.status, b"Your mistake" in refused.body) == (400, True)
        assert len(upstream.requests) == count
    assert (await _ask(gateway, COUNTED)).status == 400
    assert len(upstream.requests) == 5


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize("cached", [False, True])
async def test_u8_who_takes_stream_options_is_asked_once(
    start_team: StartTeam,
    upstream: ScriptedUpstream,
    cached: bool,  # noqa: FBT001  (pytest gives it)
) -> None:
    """Once it has told what a stream of the model used, whatever it refuses is the client's own, and is relayed."""
    upstream.script(event_stream([*FRAMES[:2], USAGE, DONE]), REFUSAL)
    team = await start_team(cache__enabled=cached)
    alice = await team.key()
    told = await team.ask(alice, STREAM)
    assert (told.status, told.body) == (200, b"".join(FRAMES))
    for count in (2, 3):
        refused = await team.ask(alice, STREAM | {"seed": count})
        assert (refused.status, b"Your mistake" in refused.body) == (400, True)
        assert len(upstream.requests) == count
