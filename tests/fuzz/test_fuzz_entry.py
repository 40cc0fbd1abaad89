"""Envelopes: what went in comes out, and no accident to the bytes goes unnoticed."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from cache.entry import Entry, EntryKind, Unreadable, meta_end, pack, unpack, unpack_meta
from tests.fakes.entries import json_entry

TEXT = st.text(max_size=20).filter(lambda text: text.isascii() or text.encode("utf-8", "ignore").decode() == text)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(EntryKind))
    most = 6 if kind is EntryKind.STREAM else 1
    frames = tuple(draw(st.lists(st.binary(max_size=80), min_size=1, max_size=most)))
    gaps = st.lists(st.integers(0, (1 << 32) - 1), min_size=len(frames), max_size=len(frames)).map(tuple)
    created, expires, stale_until = sorted(draw(st.tuples(*[st.floats(0, 1e11)] * 3)))
    names = ("endpoint", "model", "served_model", "upstream", "scope", "team")
    return json_entry(
        draw(st.integers()),
        kind=kind,
        frames=frames,
        gaps=draw(gaps) if kind is EntryKind.STREAM and draw(st.booleans()) else (),
        tags=tuple(draw(st.lists(TEXT, max_size=3))),
        usage=draw(st.binary(max_size=30)),
        content_type=draw(st.binary(max_size=30)),
        status=draw(st.integers(100, 599)),
        spent_ms=draw(st.integers(0, (1 << 31) - 1)),
        created=created,
        expires=expires,
        stale_until=stale_until,
        **{name: draw(TEXT) for name in names},
    )


@given(entries(), st.sampled_from([0, 1 << 30]))
def test_round_trip(entry: Entry, compress_over: int) -> None:
    """Packed and unpacked, compressed or not, an entry is itself; so is its metadata, from any prefix that has it."""
    data = pack(entry, compress_over)
    assert unpack(data, entry.key) == entry
    assert unpack_meta(data[: meta_end(data)]).tags == entry.tags


@given(entries(), st.data(), st.sampled_from([0, 1 << 30]))
def test_an_accident(entry: Entry, choice: st.DataObject, compress_over: int) -> None:
    """A byte that changed, bytes that are missing, bytes too many: Unreadable, and no other exception."""
    data = pack(entry, compress_over)
    place = choice.draw(st.integers(0, len(data) - 1)) * choice.draw(st.sampled_from([1, -1])) % len(data)
    flipped = bytearray(data)
    flipped[place] ^= choice.draw(st.integers(1, 255))
    other = choice.draw(st.binary(min_size=1, max_size=40))
    for spoiled in (bytes(flipped), data[:place], data + other, other + data, data[:place] + other + data[place:]):
        with contextlib.suppress(Unreadable):
            unpack(spoiled, entry.key)
            raise AssertionError(spoiled)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(data: bytes, ours: bool) -> None:  # noqa: FBT001
    """Whatever is found under a key, reading it ends in Unreadable."""
    with contextlib.suppress(Unreadable):
        unpack(b"\xa5ask\x02" + data if ours else data, "0" * 64)
        raise AssertionError(data)
