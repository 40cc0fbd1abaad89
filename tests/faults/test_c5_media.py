"""C5 for sound, subtitles and streams of transcripts: what was cut anywhere is never given again."""

import dataclasses

import msgspec
import pytest

from tests.fakes.answers import Answer, End, Framing, event_stream, json_answer
from tests.fakes.asking import KEY, status_of
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.uploads import ANSWERS, HEARD, LIFETIMES, SOUND, TRANSCRIPTIONS, detail, send, upload
from tests.fakes.upstream import ScriptedUpstream

SPEECH = "/v1/audio/speech"
SPOKEN = [b'data: {"type":"speech.audio.delta","audio":"UklG"}\n\n', b'data: {"type":"speech.audio.done"}\n\n']
LENGTH, CHUNKED, CLOSE = Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE


async def ask(gateway: Gateway, target: str) -> Response:
    """About the recording, or for one."""
    if target == TRANSCRIPTIONS:
        return await send(gateway, upload(("model", "m")))
    async with gateway.client() as client:
        return await client.ask("POST", target, {"model": "m", "input": "Hello.", "voice": "alloy"}, [KEY])


async def settled(gateway: Gateway) -> None:
    """Nothing is on its way into the cache."""
    await until(lambda: not len(gateway.app._caches._flights[0]))


def media(target: str) -> Answer:
    if target == SPEECH:
        return Answer(200, [("content-type", "audio/wav")], SOUND[:30])
    return Answer(200, [("content-type", "text/plain")], b"Hello, this is a test.\n")


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED, CLOSE], ids=lambda framing: framing.value)
@pytest.mark.parametrize("target", [SPEECH, TRANSCRIPTIONS])
async def test_c5_a_file_cut_at_any_byte(
    upstream: ScriptedUpstream, start: StartGateway, target: str, framing: Framing
) -> None:
    """Only its framing tells; without any, not even the whole is known to be whole."""
    gateway = await start(**LIFETIMES)
    whole = dataclasses.replace(media(target), framing=framing)
    size = len(b"".join(piece for piece in whole.pieces() if isinstance(piece, bytes)))
    size += len(b"%x\r\n\r\n0\r\n\r\n" % size) if framing is CHUNKED else 0
    for cut in range(1, size):
        end = End.RESET if cut % 2 else End.CLOSE
        upstream.script(dataclasses.replace(whole, cut_at=cut, end=end, terminated=True))
        assert status_of(await ask(gateway, target)) == "MISS"
        await settled(gateway)
    assert len(gateway.app._caches.tiers.memory) == 0
    upstream.script(whole)
    seen = [status_of(await ask(gateway, target)) for _ in range(2)]
    assert seen == ["MISS", "MISS" if framing is CLOSE else "HIT"]


@pytest.mark.parametrize("framing", [CHUNKED, CLOSE], ids=lambda framing: framing.value)
@pytest.mark.parametrize(("target", "frames"), [(SPEECH, SPOKEN), (TRANSCRIPTIONS, HEARD)], ids=["speech", "heard"])
async def test_c5_a_stream_cut_at_any_byte(
    upstream: ScriptedUpstream, start: StartGateway, target: str, frames: list[bytes], framing: Framing
) -> None:
    """Its last event tells, whatever ends the connection."""
    gateway = await start(**LIFETIMES)
    stream = b"".join(frames)
    for cut in range(1, len(stream)):
        upstream.script(event_stream([stream[:cut]], framing=framing))
        assert status_of(await ask(gateway, target)) == "MISS"
        await settled(gateway)
    assert len(gateway.app._caches.tiers.memory) == 0
    upstream.script(event_stream([stream], framing=framing))
    assert [status_of(await ask(gateway, target)) for _ in range(2)] == ["MISS", "HIT"]


ERROR = {"error": {"message": "no", "type": "server_error"}}
NOT_KEPT = {
    "an error": (json_answer(ERROR), "error-in-answer"),
    "an error as text": (Answer(200, [("content-type", "text/plain")], msgspec.json.encode(ERROR)), "error-in-answer"),
    "nothing": (Answer(200, [("content-type", "text/plain")], b""), "empty"),
    "a page": (Answer(200, [("content-type", "text/html; charset=utf-8")], b"<html>"), "unreadable"),
    "no type": (Answer(200, [], b"Hello"), "unreadable"),
    "sound": (Answer(200, [("content-type", "audio/wav")], SOUND[:99]), "unreadable"),
    "other json": (json_answer({"words": []}), "empty"),
    "a refusal": (json_answer(ERROR, 400), "status"),
    "a torn body": (dataclasses.replace(ANSWERS["json"], body=b'{"text": "Hel'), "unreadable"),
    "no frame": (dataclasses.replace(ANSWERS["text"], framing=CLOSE), "incomplete"),
    "too much": (Answer(200, [("content-type", "text/plain")], b"x" * 5_000), "entry-too-large"),
}


@pytest.mark.parametrize("case", NOT_KEPT)
async def test_c6_what_is_no_transcript_is_not_kept(upstream: ScriptedUpstream, start: StartGateway, case: str) -> None:
    """It is relayed; why it is not kept is told and counted."""
    answer, reason = NOT_KEPT[case]
    upstream.script(answer)
    gateway = await start(**LIFETIMES, cache__max_entry_bytes=4_096)
    for count in (1, 2):
        response = await ask(gateway, TRANSCRIPTIONS)
        assert (status_of(response), response.body) == ("MISS", answer.body)
        assert detail(response) in {reason, ""}
        await settled(gateway)
        assert await gateway.sample("askonce_cache_refusals_total", reason=reason) == count


@pytest.mark.parametrize("kind", ["application/json", "text/html", "application/problem+json"])
async def test_c6_what_is_no_sound_is_not_kept(upstream: ScriptedUpstream, start: StartGateway, kind: str) -> None:
    """A status of 200 is no proof."""
    upstream.script(Answer(200, [("content-type", kind)], msgspec.json.encode(ERROR)))
    gateway = await start(**LIFETIMES)
    assert [status_of(await ask(gateway, SPEECH)) for _ in range(2)] == ["MISS", "MISS"]
