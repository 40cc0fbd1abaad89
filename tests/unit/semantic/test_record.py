"""What is kept of a question: within bounds, bit for bit, and nothing that was not kept."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.entry import OutOfBounds, Reason, Unreadable
from cache.select import Selector
from cache.semantic.store.record import (
    MAX_ALIASES,
    MAX_PACKED,
    MAX_REFUSED,
    MAX_TEXT,
    MAX_VECTOR,
    MAX_WRONG,
    Asked,
    Change,
    Record,
    _wrap,
    changed,
    mark,
    name_of,
    pack,
    pack_asked,
    place_of,
    refusal,
    unpack,
    unpack_asked,
)
from cache.semantic.store.vectors import pack_vector, unpack_vector
from tests.fakes.entries import NOW, key
from tests.fakes.records import asked, record, vector

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
RECORDS = st.builds(
    record,
    st.integers(),
    text=TEXTS,
    tags=st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=3).map(tuple),
    min_similarity=st.floats(0, 2),
    wrong=st.integers(0, MAX_WRONG),
    aliases=st.lists(st.builds(asked, TEXTS), max_size=MAX_ALIASES).map(tuple),
    refused=st.binary(max_size=MAX_REFUSED).map(lambda some: some * 16),
)
CHANGES = st.builds(
    Change,
    min_similarity=st.floats(0, 2),
    wrong=st.integers(0, 5),
    alias=st.none() | st.builds(asked, st.integers(0, 12)),
)


@given(kept=RECORDS)
def test_there_and_back(kept: Record) -> None:
    """Whatever it says."""
    assert unpack(pack(kept), kept.key) == kept


def test_a_family_is_called_after_an_answer() -> None:
    """Who is asked again and answers otherwise is of another; and a name is one that a record can have."""
    names = {record(1, answer=b"5 days").kin, record(1, answer=b"7 days").kin, record(2, answer=b"5 days").kin}
    assert len(names) == 3
    for name in names:
        assert unpack(pack(record(3, family=name))).kin == name
    assert record(1).kin != record(1).key


def test_the_largest_there_is_fits() -> None:
    """With all aliases that it can have, each as long as can be."""
    long = Asked("\N{GRINNING FACE}" * MAX_TEXT, bytes(MAX_VECTOR))
    kept = record(text=long.text, vector=long.vector, aliases=(long,) * MAX_ALIASES, tags=("t" * 128,) * 32)
    assert unpack(pack(kept)) == kept
    assert kept.size > len(pack(kept))


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("key", ["", "g" * 64, "a" * 63, "A" * 64]),
        ("partition", ["", "g" * 64, "a" * 65]),
        ("text", ["x" * (MAX_TEXT + 1), "\ud800"]),
        ("vector", [b"", b"odd", bytes(MAX_VECTOR + 2)]),
        ("created", [-1.0, float("nan"), NOW + 61]),
        ("expires", [1e300, float("inf")]),
        ("scope", ["s" * 129]),
        ("tags", [("t",) * 33, ("t" * 129,)]),
        ("min_similarity", [-0.1, 2.1, float("nan")]),
        ("wrong", [-1, MAX_WRONG + 1]),
        ("refused", [b"x", bytes(16 * MAX_REFUSED + 16)]),
        ("aliases", [(asked(1),) * 9, (Asked("short", bytes(8)),)]),
    ],
)
def test_nothing_is_out_of_bounds(field: str, values: list[Any]) -> None:
    """One that is can't be made, nor read where somebody else made it."""
    times = "created, expires, stale_until"
    for value in values:
        with pytest.raises(OutOfBounds) as caught:
            record(**{field: value})
        assert caught.value.field == (times if field in ("created", "expires") else field)


def test_a_change_has_bounds() -> None:
    """As what comes of it."""
    for change in ({"min_similarity": float("nan")}, {"min_similarity": 3.0}, {"wrong": -1}, {"refused": b"x"}):
        with pytest.raises(OutOfBounds):
            Change(**change)


def test_cut_or_altered_anywhere() -> None:
    """It is unreadable, and nothing else is raised."""
    data = pack(record(aliases=(asked(1),)))
    for place in range(len(data)):
        for wrong in (data[:place], data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :]):
            with pytest.raises(Unreadable):
                unpack(wrong)
    one = pack_asked(asked(1))
    for place in range(len(one)):
        for wrong in (one[:place], one[:place] + bytes([one[place] ^ 0x41]) + one[place + 1 :]):
            with pytest.raises(Unreadable):
                unpack_asked(wrong)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"question": 1}', Reason.FOREIGN),
        (b"", Reason.TORN),
        (pack(record())[:4] + b"\x02" + pack(record())[5:], Reason.VERSION),
        (pack(record(2)), Reason.KEY),
        (pack(record()) + bytes(MAX_PACKED), Reason.LARGE),
        (pack(record()) + b"x", Reason.TORN),
    ],
)
def test_every_no_has_a_name(data: bytes, reason: Reason) -> None:
    """Which says what became of the bytes."""
    with pytest.raises(Unreadable) as caught:
        unpack(data, key(1))
    assert caught.value.reason is reason


def test_a_digest_does_not_make_a_record() -> None:
    """Bytes that are whole, of another shape or out of bounds, are torn too."""
    for fields in ([1, 2], [*msgspec.structs.astuple(record())[:13], 9.0], ["a" * 64] * 13):
        with pytest.raises(Unreadable) as caught:
            unpack(_wrap(msgspec.msgpack.encode(fields)))
        assert caught.value.reason is Reason.TORN


def test_an_alias_of_the_version_before_is_read() -> None:
    """Which did not say whose it is; one that says so is read as it was written."""
    old = asked(1)
    assert unpack_asked(mark(old.text) + _wrap(msgspec.msgpack.encode([old.text, old.vector]))) == old
    new = msgspec.structs.replace(old, origin=record(2).origin)
    assert unpack_asked(pack_asked(new)) == new
    fields = [*msgspec.structs.astuple(record())]
    fields[16] = [[old.text, old.vector]]
    assert unpack(_wrap(msgspec.msgpack.encode(fields))) == record(aliases=(old,))


def test_nobody_sees_the_question() -> None:
    """Not in what is written of it in a log or a traceback."""
    secret = Asked("my secret", vector(1))
    shown = record(text="my secret", aliases=(secret,)), Change(alias=secret)
    assert "secret" not in repr(shown)
    assert "secret" not in repr([*shown[0].__rich_repr__(), *secret.__rich_repr__()])


@pytest.mark.parametrize(
    ("selector", "meant"),
    [
        (Selector(all=True), True),
        (Selector(key=key(1)), True),
        (Selector(key=key(2)), False),
        (Selector(tag="nightly"), True),
        (Selector(tag="daily"), False),
        (Selector(model="gpt-5"), True),
        (Selector(model="gpt-5-2026-08-01"), True),
        (Selector(team="search", scope=key("scope"), endpoint="chat/completions"), True),
        (Selector(team="another"), False),
        (Selector(all=True, before=NOW - 1), False),
    ],
)
def test_a_purge_means_the_record_with_its_entry(selector: Selector, meant: bool) -> None:  # noqa: FBT001
    """By whatever an entry can be meant."""
    assert selector.matches(record().meta, NOW) is meant


@given(changes=st.lists(CHANGES, max_size=20))
def test_what_is_learnt_adds_up(changes: list[Change]) -> None:
    """The largest similarity, the sum of wrong labels, and the first eight aliases, each once and in its place."""
    before = after = record()
    for change in changes:
        grown = changed(after, change)
        assert grown.asked[: len(after.asked)] == after.asked
        after = grown
    assert after.min_similarity == max([0.0, *[change.min_similarity for change in changes]])
    assert after.wrong == sum(change.wrong for change in changes)
    aliases = dict.fromkeys(change.alias.text for change in changes if change.alias is not None)
    assert [alias.text for alias in after.aliases] == [*aliases][:MAX_ALIASES]
    assert after.meta == before.meta


def test_names_in_an_index() -> None:
    """Each question of a record has one, from which the record is found again; nothing else has."""
    for place in range(MAX_ALIASES + 1):
        assert place_of(name_of(key(1), place)) == (key(1), place)
    assert name_of(key(1), 0) == key(1)
    for wrong in ("a.", "a.0", "a.9", "a.11", "a.x", "a.1.2", "a.\N{SUPERSCRIPT TWO}"):
        with pytest.raises(ValueError):
            place_of(wrong)


def test_what_is_refused_is_remembered_up_to_a_number() -> None:
    """The first of them; and what is not remembered counts each time."""
    known = record()
    for number in range(MAX_REFUSED + 2):
        known = changed(known, Change(wrong=1, refused=refusal(f"question {number}")))
    assert len(known.refused) == 16 * MAX_REFUSED
    assert known.wrong == MAX_REFUSED + 2
    assert changed(known, Change(wrong=1, refused=refusal("Question 3?"))) == known
    assert refusal("What is C++?") != refusal("What is C?")


def test_an_alias_is_known_by_its_text() -> None:
    """Sixteen bytes before the envelope, which have to be those of its text."""
    data = pack_asked(asked(1))
    assert data[:16] == mark(asked(1).text)
    with pytest.raises(Unreadable):
        unpack_asked(mark("another") + data[16:])


def test_half_the_bytes_lose_nothing() -> None:
    """Cosines of vectors that were kept differ from those before by less than 0.001, near ones as well as far ones."""
    draw = np.random.default_rng(17)
    one = draw.normal(size=(2_000, 384)).astype(np.float32)
    other = one * draw.random((2_000, 1), np.float32) + draw.normal(size=one.shape).astype(np.float32) / 4
    exact = _cosines(one, other)
    kept = [np.stack([unpack_vector(pack_vector(each), 384) for each in some]) for some in (one, other)]  # type: ignore[misc]
    assert np.abs(_cosines(*kept) - exact).max() < 0.001
    assert exact.max() > 0.95
    assert len(pack_vector(one[0])) == 768


def _cosines(one: Any, other: Any) -> Any:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def test_a_vector_of_either_width() -> None:
    """Which it is, its length says."""
    whole = np.arange(1, 17, dtype="<f4")
    for data in (whole.tobytes(), pack_vector(whole)):
        read = unpack_vector(data, 16)
        assert read is not None
        assert np.allclose(read, whole / np.linalg.norm(whole), atol=1e-3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(32),
        vector(1)[:-2],
        np.full(16, np.nan, "<f4").tobytes(),
        np.full(16, np.inf, "<f2").tobytes(),
    ],
    ids=["nothing", "zeros", "another dimension", "not numbers", "endless"],
)
def test_a_vector_without_direction_is_none(data: bytes) -> None:
    """An index that was given one would answer everybody with it, or nobody."""
    assert unpack_vector(data, 16) is None
    assert unpack_vector(data, 0) is None
