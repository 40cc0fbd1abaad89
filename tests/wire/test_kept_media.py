"""Uploads, sounds and pictures that are kept where they are given a lifetime, by the official SDK."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from cache.entry import EntryKind
from tests.fakes.admin import TOKEN, Operator
from tests.fakes.answers import Answer, Framing, event_stream, json_answer
from tests.fakes.asking import herd, status_of
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.redis_server import RedisServer
from tests.fakes.sdk import asynchronous
from tests.fakes.uploads import ANSWERS, HEADERS, HEARD, LIFETIMES, SOUND, TRANSCRIPTIONS, detail, send, upload
from tests.fakes.upstream import ScriptedUpstream

FORM = upload(("model", "whisper-1"))
SAID: Any = {"model": "tts-1", "voice": "alloy", "input": "Hello."}


@pytest.fixture
async def kept(start: StartGateway) -> Gateway:
    return await start(**LIFETIMES, admin__token=TOKEN)


@pytest.fixture
async def sdk(kept: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with asynchronous(kept.url) as client:
        yield client


async def transcribed(sdk: openai.AsyncOpenAI, **changes: Any) -> tuple[str, bytes, str, Any]:
    """What the cache did, the bytes of the answer, its type, and what the SDK makes of it."""
    asked = {"model": "whisper-1", "file": ("talk.mp3", SOUND), **changes}
    raw = await sdk.audio.transcriptions.with_raw_response.create(**asked)
    return raw.headers["x-cache-status"], raw.content, raw.headers["content-type"], raw.parse()


@pytest.mark.parametrize("form", ANSWERS)
async def test_a_transcript_in_every_form(upstream: ScriptedUpstream, sdk: openai.AsyncOpenAI, form: str) -> None:
    """The same upload, with another boundary each time, is heard once; bytes and type are the first answer's."""
    upstream.script(ANSWERS[form])
    first = await transcribed(sdk, response_format=form)
    again = await transcribed(sdk, response_format=form)
    assert (first[0], again[0]) == ("MISS", "HIT")
    assert again[1:] == first[1:]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"file": ("/home/me/other.MP3", SOUND)}, "HIT"),
        ({"extra_body": {"user": "u"}}, "HIT"),
        ({"file": ("talk.mp3", SOUND[:-1] + b"?")}, "MISS"),
        ({"file": ("talk.wav", SOUND)}, "MISS"),
        ({"model": "whisper-2"}, "MISS"),
        ({"language": "de"}, "MISS"),
        ({"temperature": 0.2}, "MISS"),
        ({"timestamp_granularities": ["word"]}, "MISS"),
        ({"extra_body": {"unheard_of": "1"}}, "MISS"),
        ({"extra_query": {"api-version": "2"}}, "MISS"),
        ({"extra_headers": {"openai-project": "p"}}, "MISS"),
        ({"extra_headers": {"authorization": "Bearer sk-two"}}, "MISS"),
    ],
    ids=str,
)
async def test_what_makes_another_upload(
    upstream: ScriptedUpstream, sdk: openai.AsyncOpenAI, changes: dict[str, Any], status: str
) -> None:
    """A byte, a field, a format or another client; not where the file lies, nor who is named as its user."""
    upstream.script(ANSWERS["json"])
    await transcribed(sdk)
    assert (await transcribed(sdk, **changes))[0] == status
    assert len(upstream.requests) == (1 if status == "HIT" else 2)


async def test_the_order_of_fields_does_not_count(upstream: ScriptedUpstream, kept: Gateway) -> None:
    """But the path does: a translation is no transcript."""
    upstream.script(ANSWERS["json"])
    model, language = ("model", "whisper-1"), ("language", "de")
    assert status_of(await send(kept, upload(model, language))) == "MISS"
    assert status_of(await send(kept, upload(language, last=(model,)))) == "HIT"
    assert status_of(await send(kept, upload(model, language), path="/v1/audio/translations")) == "MISS"


async def test_a_streamed_transcript(upstream: ScriptedUpstream, sdk: openai.AsyncOpenAI) -> None:
    """Kept by its last event, and apart from the plain one."""
    upstream.script(event_stream(HEARD), ANSWERS["json"])
    asked: Any = {"model": "gpt-4o-transcribe", "file": ("talk.mp3", SOUND)}
    seen = []
    for _ in range(2):
        raw = await sdk.audio.transcriptions.with_raw_response.create(**asked, stream=True)
        seen.append((raw.headers["x-cache-status"], [event async for event in raw.parse()]))
    assert [status for status, _ in seen] == ["MISS", "HIT"]
    assert seen[0][1] == seen[1][1]
    assert [event.type for event in seen[1][1]] == [*["transcript.text.delta"] * 2, "transcript.text.done"]
    assert (await transcribed(sdk, **asked))[0] == "MISS"


async def test_a_plain_answer_to_who_wanted_a_stream(upstream: ScriptedUpstream, kept: Gateway) -> None:
    """whisper-1 does not stream: what it says instead is kept as it is."""
    upstream.script(ANSWERS["json"])
    body = upload(("model", "whisper-1"), ("stream", "true"))
    seen = [await send(kept, body), await send(kept, body)]
    assert [status_of(response) for response in seen] == ["MISS", "HIT"]
    assert len({response.body for response in seen}) == 1


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
async def test_speech(upstream: ScriptedUpstream, sdk: openai.AsyncOpenAI, kept: Gateway, framing: Framing) -> None:
    """Sound, with a length or without, is the first answer's to the byte, and of its type."""
    upstream.script(Answer(200, [("content-type", "audio/mpeg")], SOUND * 20, framing))
    seen = [await sdk.audio.speech.with_raw_response.create(**SAID) for _ in range(2)]
    assert [raw.headers["x-cache-status"] for raw in seen] == ["MISS", "HIT"]
    assert [raw.content for raw in seen] == [SOUND * 20] * 2
    assert [raw.headers["content-type"] for raw in seen] == ["audio/mpeg"] * 2
    (entry,) = await kept.app._caches.tiers.memory.entries(0.0)
    assert entry.kind is EntryKind.BINARY


async def test_streamed_speech(upstream: ScriptedUpstream, sdk: openai.AsyncOpenAI) -> None:
    """Events, kept by the last one."""
    frames = [b'data: {"type":"speech.audio.delta","audio":"UklG"}\n\n', b'data: {"type":"speech.audio.done"}\n\n']
    upstream.script(event_stream(frames))
    seen = [await sdk.audio.speech.with_raw_response.create(**SAID, stream_format="sse") for _ in range(2)]
    assert [raw.headers["x-cache-status"] for raw in seen] == ["MISS", "HIT"]
    assert [raw.content for raw in seen] == [b"".join(frames)] * 2


async def test_images(upstream: ScriptedUpstream, sdk: openai.AsyncOpenAI) -> None:
    """Pictures, in JSON."""
    upstream.script(json_answer({"created": 1, "data": [{"b64_json": "iVBO" * 50_000}]}))
    seen = [await sdk.images.with_raw_response.generate(prompt="a lighthouse") for _ in range(2)]
    assert [raw.headers["x-cache-status"] for raw in seen] == ["MISS", "HIT"]
    assert seen[0].content == seen[1].content


async def test_edited_images_are_not_kept(upstream: ScriptedUpstream, kept: Gateway) -> None:
    """Nor is anything said of a cache."""
    upstream.script(json_answer({"created": 1, "data": [{"b64_json": "iVBO"}]}))
    for _ in range(2):
        assert status_of(await send(kept, upload(("prompt", "brighter")), path="/v1/images/edits")) == ""
    assert len(upstream.requests) == 2


async def test_what_the_client_asks_of_the_cache(upstream: ScriptedUpstream, kept: Gateway) -> None:
    """As everywhere: by headers. A field called cache is the upstream's."""
    upstream.script(ANSWERS["json"])
    absent = await send(kept, FORM, ("cache-control", "only-if-cached"))
    assert (absent.status, absent.error_code) == (504, "cache_miss")
    seen = [status_of(await send(kept, FORM, ("cache-control", asked))) for asked in ("no-store", "no-cache")]
    seen += [status_of(await send(kept, FORM)), status_of(await send(kept, FORM, ("cache-control", "only-if-cached")))]
    assert seen == ["BYPASS", "REFRESH", "HIT", "HIT"]
    body = upload(("cache", '{"no-store": true}'), ("model", "whisper-1"))
    said = [await send(kept, body, ("cache-control", "no-store")), await send(kept, body), await send(kept, body)]
    assert [status_of(response) for response in said] == ["BYPASS", "MISS", "HIT"]
    assert upstream.requests[-1].body == upstream.requests[-2].body == body
    assert "<Meanings 0 known" in repr(kept.app._pipeline._cache[0]._meanings)  # type: ignore[index]


async def test_the_model_is_the_one_in_the_form(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """Wherever it stands: it decides on the lifetime, and is what entries are found by."""
    upstream.script(ANSWERS["json"])
    gateway = await start(**LIFETIMES, cache__models=["fickle*=0"], admin__token=TOKEN)
    fickle = await send(gateway, upload(file=bytes(1 << 20), last=(("model", "fickle-1"),)))
    assert (status_of(fickle), detail(fickle)) == ("BYPASS", "model-off")
    body = upload(last=(("model", "whisper-1"),))
    operator = Operator(gateway)
    for asked in ({"model": "whisper-1"}, {"endpoint": "audio/transcriptions"}):
        assert [status_of(await send(gateway, body)) for _ in range(2)] == ["MISS", "HIT"]
        assert len((await operator.get("cache/entries?model=whisper-1"))["entries"]) == 1
        await operator.purge(**asked)


async def test_a_herd_of_uploads_is_heard_once(upstream: ScriptedUpstream, kept: Gateway) -> None:
    """Text is given to all when it is whole, a stream to each as it comes."""
    gate, body = asyncio.Event(), upload(("model", "m"), ("stream", "true"))
    upstream.script(event_stream([HEARD[0], gate, *HEARD[1:]]))
    waiting = asyncio.Task(herd(kept, 5, body, HEADERS, TRANSCRIPTIONS))
    await until(lambda: len(kept.app.clients.crew.serving) == 5)
    async with kept.client() as client:
        await client.send(compose("POST", TRANSCRIPTIONS, body, [*HEADERS]))
        late = await client.start()
        assert (status_of(late), await client.chunk(late)) == ("COALESCED", HEARD[0])
        gate.set()
        assert {response.body for response in await waiting} == {b"".join(HEARD)}
    upstream.script(Answer(200, [("content-type", "text/plain")], b"Hello\n", before=0.03))
    assert {response.body for response in await herd(kept, 5, FORM, HEADERS, TRANSCRIPTIONS)} == {b"Hello\n"}
    assert len(upstream.requests) == 2


async def test_uploads_share_redis(upstream: ScriptedUpstream, start: StartGateway, redis_server: RedisServer) -> None:
    """What one gateway heard, another knows."""
    upstream.script(ANSWERS["srt"])
    one, other = [await start(**LIFETIMES, redis__url=redis_server.url) for _ in range(2)]
    first = await send(one, FORM)
    await until(lambda: redis_server.tell("KEYS", "askonce:e:*"))
    again = await send(other, FORM)
    assert (status_of(first), status_of(again)) == ("MISS", "HIT")
    assert (again.body, again.header(b"content-type")) == (first.body, first.header(b"content-type"))
