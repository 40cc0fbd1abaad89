"""Pictures and sounds: small, real, and a function of what was asked."""

import base64
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from proxy.demo.checks import Image, Refusal, Speech
from proxy.demo.model.answers import CREATED, Json, digest, estimate, tokens
from proxy.demo.model.chat import frame

__all__ = ["Recording", "image_events", "images", "png", "speech", "speech_events", "transcript", "transcript_events"]

SIDE = 16
RATE = 24_000


def png(seed: str) -> bytes:
    """A picture of 16 by 16 pixels whose colours come from `seed`."""
    colours = [bytes.fromhex(seed[n : n + 6]) for n in range(0, 24, 6)]
    rows = b"".join(b"\0" + b"".join(colours[(x // 4 + y // 4) % 4] for x in range(SIDE)) for y in range(SIDE))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def images(request: Image, seed: str, origin: str) -> Json:
    """The answer of /v1/images/*; `origin` is where the pictures of a `url` answer are served."""
    seeds = [digest(seed.encode(), salt=f"image {n}") for n in range(request.n or 1)]
    model = request.model or "dall-e-2"
    if model.startswith("gpt-image"):
        data: list[Json] = [{"b64_json": _base64(png(one))} for one in seeds]
        return {"created": CREATED, **_picture(request), "data": data, "usage": _image_usage(request)}
    revised: Json = {"revised_prompt": f"{request.prompt}, seen from afar"} if model == "dall-e-3" else {}
    if request.response_format == "b64_json":
        return {"created": CREATED, "data": [{"b64_json": _base64(png(one)), **revised} for one in seeds]}
    return {"created": CREATED, "data": [{"url": f"{origin}/demo/images/{one}.png", **revised} for one in seeds]}


def image_events(request: Image, seed: str, verb: str) -> Iterator[bytes]:
    """The events of a streamed picture; `verb` is image_generation or image_edit."""
    shape = {**_picture(request), "created_at": CREATED}
    for n in range(request.partial_images or 0):
        part = _base64(png(digest(seed.encode(), salt=f"partial {n}")))
        event: Json = {"type": f"{verb}.partial_image", "b64_json": part, "partial_image_index": n, **shape}
        yield _named(event)
    last = _base64(png(digest(seed.encode(), salt="image 0")))
    yield _named({"type": f"{verb}.completed", "b64_json": last, **shape, "usage": _image_usage(request)})


def _named(event: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event))


def _picture(request: Image) -> Json:
    size = "1024x1024" if request.size in (None, "auto") else request.size
    quality = "low" if request.quality in (None, "auto") else request.quality
    return {"background": "opaque", "output_format": "png", "quality": quality, "size": size}


def _image_usage(request: Image) -> Json:
    asked, made = estimate(request.prompt), 272 * (request.n or 1)
    details = {"text_tokens": asked, "image_tokens": 0}
    return {"input_tokens": asked, "input_tokens_details": details, "output_tokens": made, "total_tokens": asked + made}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


_SILENT_FRAME = b"\xff\xfb\x90\xc4" + bytes(413)
"""One frame of MPEG-1 layer III at 128 kbit/s and 44.1 kHz that decodes to silence."""


def speech(request: Speech) -> tuple[str, bytes]:
    """Content type and sound: a tone of 60 ms a word; for mp3, so much silence. Raises Refusal."""
    words = max(1, min(len(request.input.split()), 500))
    match request.response_format or "mp3":
        case "mp3":
            return "audio/mpeg", _SILENT_FRAME * (1 + int(words * 0.06 * 44_100 / 1_152))
        case "wav":
            return "audio/wav", _wav(_tone(request.input, words))
        case "pcm":
            return "audio/pcm", _tone(request.input, words)
        case other:
            message = f"The demo does not encode '{other}'. Supported values are: 'mp3', 'wav' and 'pcm'."
            raise Refusal(400, message, param="response_format", code="invalid_value")


def speech_events(request: Speech) -> Iterator[bytes]:
    """The same sound as server-sent events."""
    _, sound = speech(request)
    for start in range(0, len(sound), 4_096):
        yield frame({"type": "speech.audio.delta", "audio": _base64(sound[start : start + 4_096])})
    asked, made = estimate(request.input), len(request.input.split())
    usage = {"input_tokens": asked, "output_tokens": made, "total_tokens": asked + made}
    yield frame({"type": "speech.audio.done", "usage": usage})


def _tone(text: str, words: int) -> bytes:
    pitch = 220 + int(digest(text)[:4], 16) % 440
    samples = int(words * 0.06 * RATE)
    return struct.pack(f"<{samples}h", *(int(9_000 * math.sin(math.tau * pitch * n / RATE)) for n in range(samples)))


def _wav(sound: bytes) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + len(sound), b"WAVE")
        + form
        + struct.pack("<4sI", b"data", len(sound))
        + sound
    )


@dataclass(frozen=True, slots=True)
class Recording:
    """What is kept of an uploaded sound."""

    filename: str
    size: int
    sha256: str

    @property
    def seconds(self) -> float:
        return round(max(0.1, self.size / (2 * RATE)), 2)

    @property
    def text(self) -> str:
        return f"This is a recording called {self.filename} of {self.size} bytes, number {int(self.sha256[:6], 16)}."


def transcript(
    recording: Recording, form: str, *, language: str, task: str, words: bool, tokenised: bool
) -> Json | str:
    """The answer of a transcription or translation in the form asked for."""
    match form:
        case "text":
            return f"{recording.text}\n"
        case "srt":
            return f"1\n{_clock(0, ',')} --> {_clock(recording.seconds, ',')}\n{recording.text}\n\n"
        case "vtt":
            return f"WEBVTT\n\n{_clock(0, '.')} --> {_clock(recording.seconds, '.')}\n{recording.text}\n\n"
        case "verbose_json":
            return _verbose(recording, language, task, words=words)
        case _:
            return {"text": recording.text, "usage": _heard(recording, tokenised=tokenised)}


def transcript_events(recording: Recording) -> Iterator[bytes]:
    """The events of a streamed transcription."""
    for piece in tokens(recording.text):
        yield frame({"type": "transcript.text.delta", "delta": piece})
    yield frame({"type": "transcript.text.done", "text": recording.text, "usage": _heard(recording, tokenised=True)})


def _heard(recording: Recording, *, tokenised: bool) -> Json:
    if not tokenised:
        return {"type": "duration", "seconds": math.ceil(recording.seconds)}
    asked, written = max(1, recording.size // 4_800), len(tokens(recording.text))
    details = {"text_tokens": 0, "audio_tokens": asked}
    counts = {"input_tokens": asked, "output_tokens": written, "total_tokens": asked + written}
    return {"type": "tokens", **counts, "input_token_details": details}


def _verbose(recording: Recording, language: str, task: str, *, words: bool) -> Json:
    spoken = recording.text.split()
    step = recording.seconds / len(spoken)
    segment: Json = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": recording.seconds,
        "text": recording.text,
        "tokens": [int(digest(word)[:4], 16) for word in spoken],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.2,
        "no_speech_prob": 0.01,
    }
    answer: Json = {
        "task": task,
        "language": language,
        "duration": recording.seconds,
        "text": recording.text,
        "segments": [segment],
        "usage": _heard(recording, tokenised=False),
    }
    if words:
        places = [(round(n * step, 2), round((n + 1) * step, 2)) for n in range(len(spoken))]
        answer["words"] = [{"word": w, "start": a, "end": b} for w, (a, b) in zip(spoken, places, strict=True)]
    return answer


def _clock(seconds: float, point: str) -> str:
    whole, rest = divmod(round(seconds * 1_000), 1_000)
    return f"{whole // 3_600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{rest:03}"
