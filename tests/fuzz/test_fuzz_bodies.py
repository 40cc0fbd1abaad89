"""Request bodies: what reads them is total. A value, or the one named error."""

import gzip
import json
import zlib

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.requests import FREE_RATIO, MAX_MODEL, Inflated, InvalidJson, form_model, inflate, read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
PACKED = st.binary(max_size=60).map(gzip.compress)
BODIES = st.dictionaries(st.sampled_from(["model", "stream", "messages", "Model", "n"]), JSON, max_size=4)


def reads(body: bytes) -> bool:
    try:
        read_json(body)
    except InvalidJson:
        return False
    return True


@given(BODIES)
@example({"model": "m", "stream": True})
@example({"model": 5, "stream": "true"})
def test_every_object_is_read(value: dict[str, object]) -> None:
    """The model if it is a string, the stream if it is true."""
    asked = read_json(json.dumps(value).encode())
    model = value.get("model")
    assert asked[0] == (model[:MAX_MODEL] if isinstance(model, str) else "")
    assert asked[1] is (value.get("stream") is True)


@given(st.one_of(st.binary(max_size=60), st.text('{}[]":,\\u0123dd8model stream-.eE', max_size=60).map(str.encode)))
@example(b'{"model":"\\ud83d"}')
@example(b'{"model":"\xff"}')
@example(b"[" * 10_000)
@example(b'{"a":' * 10_000)
@example(b'{"model":"a","model":5}')
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_an_object_or_invalid(body: bytes) -> None:
    """What is read, the standard library reads too, as an object."""
    if reads(body):
        assert isinstance(json.loads(body.decode("utf-8", "surrogatepass")), dict)


@given(BODIES, st.integers(0, 200), st.binary(min_size=1, max_size=2))
def test_a_damaged_object_is_no_crash(value: dict[str, object], place: int, junk: bytes) -> None:
    """Read or refused."""
    text = json.dumps(value, ensure_ascii=False).encode()
    place %= len(text) + 1
    reads(text[:place] + junk + text[place:])
    assert not reads(text[: max(0, len(text) - 1)])


@given(st.binary(max_size=300))
@example(b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n')
def test_any_bytes_are_searched_for_a_model(prefix: bytes) -> None:
    """A name of bounded length, or none."""
    assert len(form_model(prefix)) <= MAX_MODEL


@given(st.binary(max_size=2_000), st.integers(0, 3_000), st.booleans())
def test_what_was_compressed_comes_back(plain: bytes, limit: int, zipped: bool) -> None:  # noqa: FBT001  (drawn)
    """Whole if it fits the limit; otherwise it is too large."""
    packed = gzip.compress(plain) if zipped else zlib.compress(plain)
    try:
        assert inflate(packed, limit) == plain
    except Inflated:
        assert len(plain) > limit
    else:
        assert len(plain) <= limit


@given(st.one_of(st.binary(max_size=60), PACKED), st.integers(0, 80), st.integers(0, 255))
def test_torn_and_damaged_bodies_are_refused(packed: bytes, place: int, byte: int) -> None:
    """ValueError or Inflated for anything that is not one whole compressed body."""
    damaged = packed[:place] + bytes([byte]) + packed[place + 1 :]
    for body in (damaged, packed[:place], packed + b"x"):
        try:
            plain = inflate(body, FREE_RATIO)
        except (ValueError, Inflated):
            continue
        assert zlib.decompress(body, wbits=zlib.MAX_WBITS | 32) == plain
