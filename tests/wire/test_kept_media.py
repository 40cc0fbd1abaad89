"""Uploads, sounds and pictures that are kept where they are given a lifetime, by the official SDK."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest

from tests.fakes.answers import Answer, Framing, event_stream, json_answer
from tests.fakes.asking import KEY, herd, status_of
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import ScriptedUpstream

LIFETIMES = {
    "cache__enabled": True,
    "cache__ttl__audio_transcriptions": 60,
    "cache__ttl__audio_translations": 60,
    "cache__ttl__audio_speech": 60,
    "cache__ttl__images_generations": 60,
}
SOUND = b"RIFF" + bytes(range(256)) * 20
TRANSCRIPTIONS = "/v1/audio/transcriptions"
BOUNDARY = "----a boundary"
KIND = ("content-type", f'multipart/form-data; boundary="{BOUNDARY}"')
SAID = {"model": "tts-1", "voice": "alloy", "input": "Hello."}
PLAIN = {"content-type": "text/plain; charset=utf-8"}
SUBTITLES = "1\n00:00:00,000 --> 00:00:01,000\nHello\n\n"
VERBOSE = {"text": "Hello", "task": "transcribe", "language": "english", "duration": 1.5, "segments": [], "words": None}
ANSWERS = {
    "json": json_answer({"text": "Hello", "usage": {"type": "duration", "seconds": 2}}),
    "verbose_json": json_answer(VERBOSE),
    "text": Answer(200, [*PLAIN.items()], b"Hello\n"),
    "srt": Answer(200, [*PLAIN.items()], SUBTITLES.encode(), Framing.CHUNKED),
    "vtt": Answer(200, [("content-type", "text/vtt")], b"WEBVTT\n\n" + SUBTITLES.encode()),
}
HEARD = [
    b'data: {"type":"transcript.text.delta","delta":"Hel"}\n\n',
    b'data: {"type":"transcript.text.delta","delta":"lo"}\n\n',
    b'data: {"type":"transcript.text.done","text":"Hello","usage":{"type":"tokens","input_tokens":9,'
    b'"output_tokens":2,"total_tokens":11}}\n\n',
]


@pytest.fixture
async def kept(start: StartGateway) -> Gateway:
    return await start(**LIFETIMES)


@pytest.fixture
async def sdk(kept: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=kept.url, api_key="sk-one", max_retries=0) as client:
        yield client


def upload(*fields: tuple[str, str], file: bytes = SOUND, name: str = "talk.mp3") -> bytes:
    """A form as curl would send it, the file last."""
    parts = [f'Content-Disposition: form-data; name="{field}"\r\n\r\n{value}'.encode() for field, value in fields]
    parts.append(b'Content-Disposition: form-data; name="file"; filename="%b"\r\n\r\n%b' % (name.encode(), file))
    return b"".join(b"--%b\r\n%b\r\n" % (BOUNDARY.encode(), part) for part in parts) + f"--{BOUNDARY}--\r\n".encode()


FORM = upload(("model", "whisper-1"))


async def ask(gateway: Gateway, body: bytes = FORM, *headers: tuple[str, str], path: str = TRANSCRIPTIONS) -> Response:
    async with gateway.client() as client:
        return await client.ask("POST", path, body, [KEY, KIND, *headers])


def detail(response: Response) -> str:
    return (response.header(b"cache-status") or b"").decode().rpartition("detail=")[2]


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
    fields = [("model", "whisper-1"), ("language", "de")]
    assert status_of(await ask(kept, upload(*fields))) == "MISS"
    assert status_of(await ask(kept, upload(*reversed(fields)))) == "HIT"
    assert status_of(await ask(kept, upload(*fields), path="/v1/audio/translations")) == "MISS"


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
    seen = [await ask(kept, body), await ask(kept, body)]
    assert [status_of(response) for response in seen] == ["MISS", "HIT"]
    assert len({response.body for response in seen}) == 1
