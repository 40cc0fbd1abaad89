"""What is read of a request's body."""

import gzip
import time
import zlib
from collections.abc import Callable

import pytest

from proxy.openai.requests import Asked, Inflated, InvalidJson, form_model, inflate, read_json


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b'{"model":"m"}', ("m", False)),
        (b' {"stream" : true , "model":"a/b:c"}\n', ("a/b:c", True)),
        (b'{"model":"\\u00fc\\n"}', ("ü\n", False)),
        (b'{"model":null,"stream":false}', ("", False)),
        (b'{"model":7,"stream":1}', ("", False)),
        (b'{"model":["m"],"stream":"true"}', ("", False)),
        (b"{}", ("", False)),
        (b'{"messages":[{"model":"inner","stream":true}]}', ("", False)),
        (b'{"model":"' + b"m" * 1_000 + b'"}', ("m" * 256, False)),
    ],
)  # fmt: skip
def test_model_and_stream(body: bytes, asked: Asked) -> None:
    """The model, if it is a string, and whether a stream is asked for, by exactly `true`."""
    assert read_json(body) == asked


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b'{"a":', b'{"a":1}}', b'{"a":NaN}', b"\xff", b'{"model":"\xff"}'])
def test_no_json_object(body: bytes) -> None:
    """Anything else is one error."""
    with pytest.raises(InvalidJson):
        read_json(body)


def _form(*parts: tuple[str, bytes], boundary: bytes = b"b") -> bytes:
    lines = [
        b"--%b\r\ncontent-disposition: form-data; %b\r\n\r\n%b\r\n" % (boundary, p[0].encode(), p[1]) for p in parts
    ]
    return b"".join(lines) + b"--%b--\r\n" % boundary


MODEL = ('name="model"', b"whisper-1")
FILE = ('name="file"; filename="a.mp3"\r\ncontent-type: audio/mpeg', b"\x00\r\n\r\n\xff" * 100)


@pytest.mark.parametrize(
    ("form", "model"),
    [
        (_form(MODEL), "whisper-1"),
        (_form(FILE, MODEL), "whisper-1"),
        (_form(("name=model", b"m")), "m"),
        (_form(('name="model"\r\ncontent-type: text/plain', b"m")), "m"),
        (_form(('name="model"; charset=utf-8', b"gr\xc3\xbcn")), "grün"),
        (_form(MODEL).replace(b"content-disposition", b"Content-Disposition"), "whisper-1"),
        (_form(('name="file"; filename="model"', b"wrong"), MODEL), "whisper-1"),
        (_form(('name="file"; filename=model', b"wrong")), ""),
        (_form(('name="x-model"', b"wrong")), ""),
        (_form(('name="model_name"', b"wrong")), ""),
        (_form(("name=models", b"wrong")), ""),
        (_form(('name="prompt"', b'name="model"\r\n\r\nwrong')), ""),
        (_form(('name="model"', b"m" * 257)), ""),
        (_form(FILE), ""),
        (_form(MODEL)[:-20], ""),
        (b"", ""),
        (b"model=whisper-1", ""),
    ],
)  # fmt: skip
def test_the_model_of_a_form(form: bytes, model: str) -> None:
    """The value of the part named `model`, and of no other; "" while it is not all there."""
    assert form_model(form) == model


@pytest.mark.parametrize(
    "form",
    [
        b"name=model" * 6_500,
        b'content-disposition: x; name="model"\r\n' * 1_700,
        b'content-disposition: x; name="model"\r\n\r\n' * 1_600,
        b"\r\n" * 32_000,
        b"content-disposition:" + b'; name="model"x' * 4_400,
    ],
    ids=["one line", "lines", "parts", "blank", "parameters"],
)
def test_forms_are_read_in_linear_time(form: bytes) -> None:
    """64 KiB of hints at a model cost milliseconds; each against each they would cost seconds."""
    took = []
    for _ in range(3):
        started = time.thread_time()
        form_model(form)
        took.append(time.thread_time() - started)
    assert min(took) < 0.25


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
def test_inflate(encode: Callable[[bytes], bytes]) -> None:
    """gzip and zlib, up to the limit."""
    assert inflate(encode(b"x" * 1_000), 1_000) == b"x" * 1_000
    with pytest.raises(Inflated):
        inflate(encode(b"x" * 1_001), 1_000)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", gzip.compress(b"x" * 100)[:-1], gzip.compress(b"x") + b"y", gzip.compress(b"x") * 2, b"\x1f\x8b\x08"],
)
def test_what_is_no_compressed_body(body: bytes) -> None:
    """Torn, doubled, or none: one error."""
    with pytest.raises(ValueError, match=r"."):
        inflate(body, 1_000)


def test_a_bomb() -> None:
    """Beyond a megabyte a body may be 200 times as large as what was sent, and no more is ever made of it."""
    bomb = gzip.compress(b"\0" * (64 << 20))
    started = time.thread_time()
    with pytest.raises(Inflated):
        inflate(bomb, 1 << 30)
    assert time.thread_time() - started < 0.5
    assert len(inflate(gzip.compress(b"\0" * (1 << 20)), 1 << 30)) == 1 << 20
