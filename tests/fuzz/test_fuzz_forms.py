"""Forms: equal digests where they ask the same, and nowhere else."""

from contextlib import suppress

from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy.openai.forms import DENIED, Form, MalformedForm, read_form

NAMES = st.sampled_from(["file", "prompt", "language", "x[]", "temperature"])
FILES = st.none() | st.sampled_from(["a.mp3", "b.wav", "c", ""])
PARTS = st.lists(st.tuples(NAMES, FILES, st.binary(max_size=12)), max_size=6)
Parts = list[tuple[str, str | None, bytes]]


def read(parts: Parts, boundary: bytes = b"xYx") -> Form:
    body = b""
    for name, file, value in parts:
        known = f'form-data; name="{name}"' + (f'; filename="{file}"' if file is not None else "")
        body += b"--%b\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (boundary, known.encode(), value)
    return read_form(body + b"--%b--\r\n" % boundary, b"multipart/form-data; boundary=" + boundary)


def meaning(parts: Parts) -> dict[str, list[tuple[str | None, bytes]]]:
    found: dict[str, list[tuple[str | None, bytes]]] = {}
    for name, file, value in parts:
        extension = None if file is None else file.rpartition(".")[2] if "." in file else f"?{file}"
        found.setdefault(name, []).append((extension, value))
    return found


@given(PARTS, PARTS)
@example([("x[]", None, b"a"), ("x[]", None, b"b")], [("x[]", None, b"ab")])
@example([("prompt", None, b"a")], [("prompt", "a", b"a")])
def test_a_digest_is_a_meaning(one: Parts, other: Parts) -> None:
    """Two forms have the same digest if and only if they ask the same."""
    assert (read(one).digest == read(other).digest) == (meaning(one) == meaning(other))


@given(PARTS, st.permutations(range(6)), st.sampled_from(sorted(DENIED)))
def test_order_and_boundary_do_not_count(parts: Parts, order: list[int], denied: str) -> None:
    """Nor do fields that are denied."""
    assume(len({name for name, _, _ in parts}) == len(parts))
    moved = [parts[place] for place in order if place < len(parts)]
    moved.append((denied, None, b"true"))
    assert read(parts).digest == read(moved, b"----0123456789").digest


@given(
    st.binary(max_size=200) | st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"b", b'name="a"', b"x"])).map(b"".join)
)
@example(b"--b--")
@example(b"--b\r\n\r\n\r\n--b--")
def test_any_bytes_are_a_form_or_malformed(body: bytes) -> None:
    """No other exception."""
    with suppress(MalformedForm):
        assert len(read_form(body, b"multipart/form-data; boundary=b").digest) == 32


@given(st.binary(max_size=80))
def test_any_type_has_a_boundary_or_not(kind: bytes) -> None:
    """No other exception."""
    with suppress(MalformedForm):
        read_form(b"--b--", kind)
        read_form(b"--b--", b"multipart/form-data; boundary=" + kind)
