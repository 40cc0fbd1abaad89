"""Recordings that go up in a form, and what is said of them."""

from typing import Any, Final

from tests.fakes.answers import Answer, Framing, json_answer
from tests.fakes.asking import KEY
from tests.fakes.gateway import Running
from tests.fakes.raw import Response

__all__ = [
    "ANSWERS",
    "BOUNDARY",
    "HEADERS",
    "HEARD",
    "LIFETIMES",
    "SOUND",
    "TRANSCRIPTIONS",
    "detail",
    "send",
    "upload",
]

LIFETIMES: Final[dict[str, Any]] = {
    "cache__enabled": True,
    "cache__ttl__audio_transcriptions": 60,
    "cache__ttl__audio_translations": 60,
    "cache__ttl__audio_speech": 60,
    "cache__ttl__images_generations": 60,
}
SOUND: Final = b"RIFF" + bytes(range(256)) * 20
TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
BOUNDARY: Final = b"----a boundary"
HEADERS: Final = (KEY, ("content-type", f'multipart/form-data; boundary="{BOUNDARY.decode()}"'))
SUBTITLES: Final = b"1\n00:00:00,000 --> 00:00:01,000\nHello\n\n"
VERBOSE: Final = {"text": "Hello", "task": "transcribe", "language": "english", "duration": 1.5, "segments": []}
PLAIN: Final = [("content-type", "text/plain; charset=utf-8")]
ANSWERS: Final = {
    "json": json_answer({"text": "Hello", "usage": {"type": "duration", "seconds": 2}}),
    "verbose_json": json_answer(VERBOSE),
    "text": Answer(200, PLAIN, b"Hello\n"),
    "srt": Answer(200, PLAIN, SUBTITLES, Framing.CHUNKED),
    "vtt": Answer(200, [("content-type", "text/vtt")], b"WEBVTT\n\n" + SUBTITLES),
}
"""By `response_format`."""
HEARD: Final = [
    b'data: {"type":"transcript.text.delta","delta":"Hel"}\n\n',
    b'data: {"type":"transcript.text.delta","delta":"lo"}\n\n',
    b'data: {"type":"transcript.text.done","text":"Hello","usage":{"type":"tokens","input_tokens":9}}\n\n',
]
"""The frames of a streamed transcript."""


def upload(*fields: tuple[str, str], file: bytes = SOUND, last: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A form with a recording between its fields."""
    parts = [*map(_field, fields), b'name="file"; filename="talk.mp3"\r\n\r\n' + file, *map(_field, last)]
    return b"".join(
        b"--%b\r\nContent-Disposition: form-data; %b\r\n" % (BOUNDARY, part) for part in parts
    ) + b"--%b--\r\n" % BOUNDARY  # fmt: skip


def _field(field: tuple[str, str]) -> bytes:
    name, value = field
    return f'name="{name}"\r\n\r\n{value}'.encode()


async def send(gateway: Running, body: bytes, *headers: tuple[str, str], path: str = TRANSCRIPTIONS) -> Response:
    async with gateway.client() as client:
        return await client.ask("POST", path, body, [*HEADERS, *headers])


def detail(response: Response) -> str:
    """Why the answer is not from the cache, or is not kept."""
    return (response.header(b"cache-status") or b"").decode().partition("detail=")[2]
