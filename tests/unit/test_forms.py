"""Digests of uploaded forms."""

import httpx2
import pytest

from proxy.openai.forms import MalformedForm, read_form

KIND = b"multipart/form-data; boundary=b"
SOUND = b"ID3\x04\x00\r\n--\r\n\r\n\r\n-b--\xff" * 50

Part = tuple[str, bytes]
MODEL: Part = ('name="model"', b"whisper-1")
FILE: Part = ('name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg', SOUND)
PROMPT: Part = ('name="prompt"', b"ums")


def form(*parts: Part, boundary: bytes = b"b") -> bytes:
    lines = [
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (boundary, p[0].encode(), p[1]) for p in parts
    ]
    return b"".join(lines) + b"--%b--\r\n" % boundary


def digest(*parts: Part, boundary: bytes = b"b") -> bytes:
    return read_form(form(*parts, boundary=boundary), b"multipart/form-data; boundary=" + boundary).digest


PLAIN = digest(MODEL, FILE, PROMPT)


def test_what_a_real_client_sends() -> None:
    """The SDK's own HTTP client: its boundaries are random, and its file may come from any folder."""
    found = set()
    for path in ("talk.mp3", "/home/other name.MP3", "ünï.mp3"):
        data = {"model": "whisper-1", "timestamp_granularities[]": ["word", "segment"], "stream": True}
        request = httpx2.Request("POST", "http://x/", data=data, files={"file": (path, SOUND)})
        sent = read_form(request.read(), request.headers["content-type"].encode())
        assert sent.model == "whisper-1"
        found.add(sent.digest)
    assert len(found) == 1


def test_what_does_not_count() -> None:
    """Boundary, order of names, quotes, the name of a file, an empty type, and who asks."""
    assert digest(PROMPT, FILE, MODEL) == PLAIN
    assert digest(MODEL, FILE, PROMPT, boundary=b"----WebKitFormBoundaryx") == PLAIN
    assert digest(("name=model", b"whisper-1"), FILE, PROMPT) == PLAIN
    assert digest(MODEL, (FILE[0].replace("a.mp3", "/home/B.MP3"), SOUND), PROMPT) == PLAIN
    assert digest(MODEL, (FILE[0] + f"\r\nContent-Length: {len(SOUND)}", SOUND), PROMPT) == PLAIN
    for name, value in (("user", b"u"), ("metadata", b"{}"), ("safety_identifier", b"s")):
        assert digest(MODEL, FILE, PROMPT, (f'name="{name}"', value)) == PLAIN
    bare = ('name="file"; filename="a.mp3"', SOUND)
    assert digest((bare[0] + "\r\ncontent-type: application/octet-stream", SOUND)) == digest(bare)


@pytest.mark.parametrize(
    "parts",
    [
        (MODEL, FILE),
        (MODEL, FILE, PROMPT, PROMPT),
        (MODEL, FILE, ('name="prompt"', b"ums ")),
        (MODEL, FILE, ('name="prompts"', b"ums")),
        (MODEL, FILE, ('name="prompt"; filename="p"', b"ums")),
        (MODEL, FILE, ('name="prompt"\r\nContent-Type: text/plain; charset=utf-16', b"ums")),
        (MODEL, FILE, PROMPT, ('name="x"', b"")),
        (MODEL, FILE, PROMPT, ('name="user"; filename="u"', b"a file")),
        (MODEL, FILE, PROMPT, ('name="stream"', b"true")),
        (MODEL, (FILE[0], SOUND + b"x"), PROMPT),
        (MODEL, (FILE[0].replace(".mp3", ".wav"), SOUND), PROMPT),
        (MODEL, (FILE[0].replace(".mp3", ""), SOUND), PROMPT),
        (MODEL, (FILE[0].replace("audio/mpeg", "audio/L16;rate=8000"), SOUND), PROMPT),
        (('name="model"', b"whisper-2"), FILE, PROMPT),
    ],
    ids=range(14),
)
def test_what_counts(parts: tuple[Part, ...]) -> None:
    """Every part, its name, its kind, its type, its content, and a file's extension."""
    assert digest(*parts) != PLAIN


def test_the_order_within_a_name_counts() -> None:
    """It is a list."""
    one, two = ('name="t[]"', b"word"), ('name="t[]"', b"segment")
    assert digest(one, two, MODEL) == digest(one, MODEL, two) != digest(two, one, MODEL)


def test_the_model() -> None:
    """It is read where it is a field of a sane size."""
    kind = b'Multipart/Form-Data; charset=utf-8; boundary="b"'
    assert read_form(form(FILE, MODEL), kind).model == "whisper-1"
    for other in (PROMPT, ('name="model"; filename="m"', b"whisper-1"), ('name="model"', b"x" * 257)):
        assert read_form(form(FILE, other), KIND).model == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        form(MODEL)[:-5],
        form(MODEL) + b"epilogue",
        form(MODEL) + form(MODEL),
        b"preamble\r\n" + form(MODEL),
        form(MODEL).replace(b"\r\n", b"\n"),
        form(MODEL).replace(b"--b--", b"--c--"),
        form(MODEL).replace(b"form-data", b"attachment"),
        form(MODEL, MODEL),
        form(("filename=x", b"")),
        form(('name="model"; name="prompt"', b"m")),
        form(("name=\"model\"; filename*=utf-8''x.mp3", b"m")),
        form(('name="model"; size=5', b"m")),
        form(('name="mo\\"del"', b"m")),
        form(('name="model%22"', b"m")),
        form(('name="model"\r\nContent-Disposition: form-data; name="prompt"', b"m")),
        form(('name="model"\r\nContent-Type: text/plain;\r\n charset=utf-8', b"m")),
        form(('name="model"\r\nno header', b"m")),
        form(("name=\xff".encode("latin-1").decode("latin-1"), b"m")),
        form(('name="model"\r\nContent-Length: 5', b"m")),
        form(*[(f'name="f{n}"', b"") for n in range(65)]),
        form(('name="model"' + "".join(f"\r\nx-{n}: 1" for n in range(6)), b"m")),
        form((f'name="{"n" * 5_000}"', b"m")),
    ],
    ids=range(24),
)
def test_a_form_that_is_read_in_two_ways(body: bytes) -> None:
    """Torn, odd or oversized: it has no digest."""
    with pytest.raises(MalformedForm):
        read_form(body, KIND)


@pytest.mark.parametrize(
    "kind",
    [
        b"",
        b"multipart/form-data",
        b"multipart/mixed; boundary=b",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=c; boundary=b",
        b"multipart/form-data; boundary=c",
        b"multipart/form-data; boundary=" + b"b" * 71,
    ],
)
def test_a_type_without_a_boundary(kind: bytes) -> None:
    """Or with two, or another."""
    with pytest.raises(MalformedForm):
        read_form(form(MODEL), kind)
