"""Pictures and sounds by the official SDK."""

import base64
import io
import tempfile
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.wire.sdk.parity import both_ways, done, each, entered

PNG = b"\x89PNG\r\n\x1a\n"
SOUND = bytes(range(256)) * 400


@both_ways
async def test_image_generation(client: Any) -> Any:
    """Pictures come as base64 and as addresses."""
    coded = await done(client.images.generate(model="gpt-image-1", prompt="a lighthouse", n=2))
    linked = await done(client.images.generate(model="dall-e-3", prompt="a lighthouse", response_format="url"))
    assert base64.b64decode(coded.data[0].b64_json).startswith(PNG)
    return [coded, linked]


@both_ways
async def test_image_stream(client: Any) -> Any:
    """A streamed picture has its partial pictures and its end."""
    stream = await done(client.images.generate(model="gpt-image-1", prompt="a tower", stream=True, partial_images=2))
    events = [event async for event in each(stream)]
    assert [event.type.rpartition(".")[2] for event in events] == ["partial_image", "partial_image", "completed"]
    return events


@both_ways
async def test_image_edit(client: Any) -> Any:
    """Pictures go up: one with a mask, and several."""
    picture, mask = ("a.png", PNG + b"a" * 5_000, "image/png"), ("m.png", PNG + b"m", "image/png")
    edit = client.images.edit
    edited = await done(edit(model="gpt-image-1", image=picture, mask=mask, prompt="brighter", n=2))
    several = await done(edit(model="gpt-image-1", image=[picture, mask], prompt="together"))
    return [edited, several]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@both_ways
async def test_image_variation(client: Any) -> Any:
    """A variation of a picture works as long as the SDK has it."""
    picture = ("a.png", PNG + b"a" * 5_000, "image/png")
    return await done(client.images.create_variation(image=picture, response_format="b64_json"))


@both_ways
async def test_speech(client: Any) -> Any:
    """Speech is a real sound, byte for byte the upstream's."""
    said = {"model": "tts-1", "voice": "alloy", "input": "The quick brown fox jumps. " * 20}
    tone = await done(client.audio.speech.create(**said, response_format="wav"))
    packed = await done(client.audio.speech.create(**said))
    with wave.open(io.BytesIO(tone.content)) as read:
        assert read.getnframes() > 10_000
    return [tone.content, packed.content, packed.response.headers["content-type"]]


@both_ways
async def test_streamed_speech(client: Any) -> Any:
    """Speech that streams arrives in pieces that make the whole."""
    said = {"model": "tts-1", "voice": "alloy", "input": "The quick brown fox. " * 50, "response_format": "pcm"}
    async with entered(client.audio.speech.with_streaming_response.create(**said)) as response:
        pieces = [piece async for piece in each(response.iter_bytes(4_096))]
    assert len(pieces) > 10
    return b"".join(pieces)


@both_ways
async def test_speech_to_file(client: Any) -> Any:
    """Speech is written to a file by the SDK's helper."""
    said = {"model": "tts-1", "voice": "alloy", "input": "To a file.", "response_format": "wav"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        async with entered(client.audio.speech.with_streaming_response.create(**said)) as response:
            await done(response.stream_to_file(path))
        return path.read_bytes()


@both_ways
async def test_transcription(client: Any) -> Any:
    """A recording goes up and its words come back in every form."""
    recording = ("talk.wav", SOUND, "audio/wav")
    create = client.audio.transcriptions.create
    plainly = await done(create(model="gpt-4o-transcribe", file=recording))
    forms = [
        await done(create(model="whisper-1", file=recording, response_format=form))
        for form in ("text", "srt", "vtt", "json")
    ]
    verbose = await done(
        create(
            model="whisper-1",
            file=recording,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            language="de",
            prompt="Grüezi",
        )
    )
    assert verbose.language == "de"
    assert verbose.words
    return [plainly, *forms, verbose]


@both_ways
async def test_streamed_transcription(client: Any) -> Any:
    """A transcription streams."""
    recording = ("talk.wav", SOUND, "audio/wav")
    stream = await done(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=recording, stream=True))
    events = [event async for event in each(stream)]
    assert events[-1].type == "transcript.text.done"
    return events


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@both_ways
async def test_translation(client: Any) -> Any:
    """A translation works as a transcription does, as long as the SDK has it."""
    return await done(client.audio.translations.create(model="whisper-1", file=("talk.wav", SOUND)))
