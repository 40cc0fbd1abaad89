"""Entries and their envelopes."""

import gc
import hashlib
import random
import struct
import tracemalloc
import zlib

import msgspec
import pytest

from cache import entry as envelopes
from cache.entry import (
    MAX_PREFIX,
    PREFIX,
    Entry,
    EntryKind,
    Meta,
    OutOfBounds,
    Reason,
    Unreadable,
    meta_end,
    pack,
    unpack,
    unpack_meta,
)
from tests.fakes.entries import NOW, json_entry, key, stream_entry


def reason(data: bytes, name: object = 1) -> Reason:
    with pytest.raises(Unreadable) as caught:
        unpack(data, key(name))
    return caught.value.reason


def sealed(entry: Entry, meta: bytes, body: bytes, size: int, flags: int = 0) -> bytes:
    """An envelope with the right digests around whatever a buggy writer put into it."""
    head = envelopes.HEAD.pack(
        envelopes.MAGIC,
        envelopes.VERSION,
        flags,
        len(meta),
        len(entry.frames),
        size,
        entry.created,
        envelopes._digest(body),
        bytes(16),
    )[:-16]
    return head + envelopes._digest(head + meta) + meta + body


def parts(entry: Entry) -> tuple[bytes, bytes]:
    data = pack(entry)
    return data[envelopes.HEAD.size : meta_end(data)], data[meta_end(data) :]


@pytest.mark.parametrize("kind", EntryKind)
def test_what_is_packed_is_unpacked(kind: EntryKind) -> None:
    """Every field comes back."""
    entry = stream_entry() if kind is EntryKind.STREAM else json_entry(kind=kind, tags=(), usage=b"")
    assert unpack(pack(entry), entry.key) == entry


def test_foreign_bytes() -> None:
    """Another program's value, and another version's, are told from torn ones."""
    data = pack(json_entry())
    assert reason(b"{}") is Reason.FOREIGN
    assert reason(b"PNG" + data) is Reason.FOREIGN
    assert reason(data[:4] + b"\0" + data[5:]) is Reason.VERSION
    assert reason(data[:4] + b"\3" + data[5:]) is Reason.VERSION
    assert reason(b"") is Reason.TORN
    assert reason(data[:3]) is Reason.TORN


def test_an_entry_under_another_key() -> None:
    """It is not served: two names for one value are somebody's mistake."""
    assert reason(pack(json_entry(2)), 1) is Reason.KEY


def test_right_digests_do_not_make_an_entry() -> None:
    """What another writer sealed must still have the fields, their types, their bounds and its frames."""
    entry = stream_entry(frames=2)
    meta, body = parts(entry)
    fields = msgspec.msgpack.decode(meta)
    assert unpack(sealed(entry, meta, body, len(body), envelopes.PACED), entry.key) == entry
    for place, value in [
        (0, 7),
        (3, "200"),
        (3, 99),
        (11, ["x"] * 33),
        (12, NOW + 1e9),
        (6, b"\xff"),
        (1, "xml"),
    ]:
        changed = msgspec.msgpack.encode([*fields[:place], value, *fields[place + 1 :]])
        assert reason(sealed(entry, changed, body, len(body), envelopes.PACED)) is Reason.TORN, (place, value)
    assert reason(sealed(entry, meta.replace(b"openai", b"open\xff\xff"), body, len(body))) is Reason.TORN
    assert reason(sealed(entry, meta, body[:15], 15, envelopes.PACED)) is Reason.TORN
    assert reason(sealed(entry, meta, body + b"x", len(body) + 1, envelopes.PACED)) is Reason.TORN
    assert reason(sealed(entry, meta, body, len(body) + 1, envelopes.PACED)) is Reason.TORN
    assert reason(sealed(entry, meta, body[:-1], len(body), envelopes.PACED)) is Reason.TORN
    assert reason(sealed(entry, meta, b"", 0)) is Reason.TORN
    assert reason(sealed(entry, meta, body, len(body), envelopes.PACED | 8)) is Reason.TORN
    assert reason(sealed(entry, meta, body, len(body), envelopes.PACED | envelopes.RENAMED)) is Reason.TORN
    more = msgspec.msgpack.encode([*fields, "m"])
    assert reason(sealed(entry, more, body, len(body), envelopes.PACED)) is Reason.TORN
    binary = msgspec.msgpack.encode([fields[0], "binary", *fields[2:]])
    assert reason(sealed(entry, binary, body, len(body), envelopes.PACED)) is Reason.TORN


def test_frames_are_compressed_if_it_pays() -> None:
    """Repetition shrinks; noise stays as it is; small ones are left alone."""
    repeated = stream_entry(frames=200)
    assert len(pack(repeated)) < repeated.size / 10
    assert len(pack(repeated, compress_over=1 << 20)) > 200 * 200
    assert unpack(pack(repeated), repeated.key) == repeated
    noise = json_entry(kind=EntryKind.BINARY, frames=(random.Random(1).randbytes(40_000),))
    assert pack(noise) == pack(noise, compress_over=1 << 30)


def test_a_bomb() -> None:
    """A few kilobytes never unpack to more than the bound, nor to more than they say."""
    entry = json_entry(kind=EntryKind.BINARY, frames=(bytes(1 << 22),))
    data = pack(entry)
    assert len(data) < 1 << 15
    with pytest.raises(Unreadable) as caught:
        unpack(data, entry.key, max_bytes=1 << 22)
    assert caught.value.reason is Reason.LARGE
    assert unpack(data, entry.key, max_bytes=(1 << 22) + 4) == entry
    meta, _ = parts(json_entry())
    bomb = zlib.compress(bytes(1 << 26), 9)
    tracemalloc.start()
    try:
        assert reason(sealed(entry, meta, bomb, 100, envelopes.COMPRESSED)) is Reason.TORN
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_what_was_compressed_must_be_all_there() -> None:
    """A stream of zlib that ends early, late, or is none, and one that is not as long as it should be."""
    entry = json_entry()
    meta, plain = parts(entry)
    body, flag = zlib.compress(plain), envelopes.COMPRESSED
    assert unpack(sealed(entry, meta, body, len(plain), flag), entry.key) == entry
    for spoiled in (body + b"x", body[:-1], plain, b"", zlib.compress(plain + b"x"), zlib.compress(plain[:-1])):
        assert reason(sealed(entry, meta, spoiled, len(plain), flag)) is Reason.TORN


@pytest.mark.parametrize("compress_over", [0, 1 << 30])
def test_each_byte_counts(compress_over: int) -> None:
    """An envelope with one other byte, or cut anywhere, is unreadable."""
    entry = stream_entry(frames=3, size=30)
    data = pack(entry, compress_over)
    for place in range(len(data)):
        for other in (1, 0x80, 0xFF):
            reason(data[:place] + bytes([data[place] ^ other]) + data[place + 1 :])
        reason(data[:place])


def test_what_no_envelope_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused when it is packed, not when it is needed."""
    with pytest.raises(OutOfBounds, match="gaps"):
        pack(stream_entry(frames=1, gaps=(-1,)))
    monkeypatch.setattr(envelopes, "MAX_UNPACKED", 2_000)
    with pytest.raises(OutOfBounds, match="frames"):
        pack(stream_entry(frames=10))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "0" * 63), ("key", "A" * 64), ("tags", ("t",) * 33), ("tags", ("t" * 129,)), ("model", "m" * 513),
        ("served_model", "m" * 513), ("team", "t" * 257), ("scope", "s" * 129), ("upstream", "u" * 257),
        ("endpoint", "e" * 129), ("model", "\ud800"), ("tags", ("\udfff",)), ("usage", bytes((1 << 13) + 1)),
        ("content_type", b"a" * 257), ("created", float("nan")), ("created", NOW + 61), ("expires", NOW + 121),
        ("stale_until", float("inf")), ("created", -1.0), ("status", 99), ("spent_ms", -1), ("spent_ms", 1 << 31),
        ("frames", ()), ("frames", (b"a", b"b")), ("gaps", (1,)),
    ],
)  # fmt: skip
def test_an_entry_out_of_bounds(field: str, value: object) -> None:
    """It can't be made, and what stands in the way is named, not shown."""
    with pytest.raises(OutOfBounds) as caught:
        json_entry(**{field: value})
    assert field in caught.value.field
    assert str(caught.value) == caught.value.field


def test_the_largest_metadata() -> None:
    """All bounds together fit into the prefix that is promised to suffice."""
    wide = "\U0001f600"
    texts = {name: wide * limit for name, limit in envelopes.TEXTS}
    entry = json_entry(
        **texts, tags=(wide * 128,) * 32, usage=bytes(1 << 13), content_type=bytes(256), spent_ms=(1 << 31) - 1
    )
    data = pack(entry)
    assert PREFIX < meta_end(data) <= MAX_PREFIX
    assert unpack(data, entry.key) == entry


def test_a_listing_reads_the_metadata_alone() -> None:
    """A prefix is enough; one that is too short says how long it must be."""
    entry = stream_entry(frames=100)
    data = pack(entry, compress_over=1 << 30)
    end = meta_end(data[:PREFIX])
    assert end < PREFIX < len(data)
    meta = unpack_meta(data[:PREFIX])
    assert type(meta) is Meta
    assert {name: getattr(meta, name) for name in Meta.__struct_fields__} == {
        name: getattr(entry, name) for name in Meta.__struct_fields__
    }
    assert unpack_meta(data[:end]) == meta
    with pytest.raises(Unreadable):
        unpack_meta(data[: end - 1])
    with pytest.raises(Unreadable):
        meta_end(data[:6] + b"\x90\x01" + data[8:])


def test_nothing_of_an_answer_is_shown() -> None:
    """A repr is an entry's name, for pretty printers too."""
    entry = json_entry(frames=(b"a secret",))
    assert repr(entry) == f"<Entry {entry.key[:12]} json chat/completions>"
    assert entry.__rich_repr__() == [("key", entry.key)]


@pytest.mark.alone
@pytest.mark.parametrize(("frames", "size"), [(0, 0), (1, 60), (30, 60), (30, 250), (500, 230), (3, 40_000)])
def test_the_size_is_real(frames: int, size: int) -> None:
    """Within a fifth of what the interpreter says it allocated."""
    entry = stream_entry(frames=frames, size=size) if frames else json_entry()
    data = pack(entry)
    gc.collect()
    tracemalloc.start()
    try:
        kept = [unpack(data, entry.key) for _ in range(50)]
        each = tracemalloc.get_traced_memory()[0] / len(kept)
    finally:
        tracemalloc.stop()
    assert 0.8 < entry.size / each < 1.2


def test_the_head_is_as_long_as_it_was() -> None:
    """Another layout is another version."""
    assert (envelopes.VERSION, envelopes.HEAD.size, struct.calcsize("!4sBBHIId16s16s")) == (2, 56, 56)
    assert len(Meta.__struct_fields__) == 18


BEFORE = "1a62d327b4e8fa528a982d1efe9c8526a8159752e5d0b0d6f4ddd494e8a98f95"
"""SHA-256 of this entry's envelope as it was before a model could have another name at its upstream."""


def test_what_was_kept_before_models_had_other_names_is_still_read() -> None:
    """And written: who keeps no such answers has the same bytes as ever, in files and in Redis."""
    data = pack(json_entry())
    assert hashlib.sha256(data).hexdigest() == BEFORE
    assert (unpack(data, key(1)), unpack_meta(data).sent_model) == (json_entry(), "")


@pytest.mark.parametrize("kind", [EntryKind.JSON, EntryKind.STREAM])
def test_another_name_of_a_model_is_kept(kind: EntryKind) -> None:
    """Whole, and from the start alone; one that is too long is out of bounds."""
    entry = (stream_entry if kind is EntryKind.STREAM else json_entry)(sent_model="Qwen/Qwen3-8B")
    data = pack(entry)
    assert unpack(data, entry.key) == entry
    assert unpack_meta(data[: meta_end(data)]).sent_model == "Qwen/Qwen3-8B"
    with pytest.raises(OutOfBounds):
        json_entry(sent_model="m" * 513)


@pytest.mark.parametrize("sent_model", ["", "Qwen/Qwen3-8B"])
@pytest.mark.parametrize("kind", [EntryKind.JSON, EntryKind.STREAM])
def test_a_tier_is_kept(kind: EntryKind, sent_model: str) -> None:
    """Beside another name or without one; whole, and from the start alone; one that is too long is out of bounds."""
    entry = (stream_entry if kind is EntryKind.STREAM else json_entry)(sent_model=sent_model, tier="priority")
    data = pack(entry)
    assert unpack(data, entry.key) == entry
    meta = unpack_meta(data[: meta_end(data)])
    assert (meta.sent_model, meta.tier) == (sent_model, "priority")
    with pytest.raises(OutOfBounds):
        json_entry(tier="t" * 33)
