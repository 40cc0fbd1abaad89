"""Embeddings: no bit changes between the forms, and a batch is what its inputs are."""

import json
import math
import struct
from contextlib import suppress
from itertools import accumulate

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.embeddings import Format, NotVectors, Single, add, merge, missing, read, split
from proxy.openai.float32 import NotFloat32, shortest, to_base64, to_decimals, unpack

FINITE = st.integers(0, 0xFFFFFFFF).filter(lambda bits: bits & 0x7F800000 != 0x7F800000)
"""Bits of every class: zeros, subnormals, normals, of both signs."""
EDGES = [0, 1 << 31, 1, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0x3F7FFFFF, 0x3F800001]


def numbers_of(bits: list[int]) -> tuple[float, ...]:
    return struct.unpack(f"<{len(bits)}f", struct.pack(f"<{len(bits)}I", *bits))


def bits_of(numbers: tuple[float, ...]) -> list[int]:
    return list(struct.unpack(f"<{len(numbers)}I", struct.pack(f"<{len(numbers)}f", *numbers)))


@given(st.lists(FINITE, min_size=1, max_size=20))
@example(EDGES)
@example([(exponent << 23) + near for exponent in range(1, 255) for near in (0, 1, 0x7FFFFF)])
@example([1 << place for place in range(23)])
def test_forms_keep_every_bit(bits: list[int]) -> None:
    """Decimals → base64 → decimals → base64, as this module and as the standard library read them."""
    numbers = numbers_of(bits)
    text = b"[%b]" % ",".join(map(repr, numbers)).encode()
    packed = to_base64(text)
    assert bits_of(unpack(packed)) == bits
    decimals = to_decimals(packed)
    assert to_base64(decimals) == packed
    assert to_decimals(to_base64(decimals)) == decimals
    assert bits_of(tuple(json.loads(decimals))) == bits
    assert all(isinstance(number, float) for number in json.loads(decimals))


@given(st.lists(FINITE, min_size=1, max_size=20))
@example(EDGES)
def test_decimals_are_short(bits: list[int]) -> None:
    """With one digit less, another number is read. At most nine are needed."""
    for text, number in zip(shortest(numbers_of(bits)), numbers_of(bits), strict=True):
        digits = len(text.partition("e")[0].replace(".", "").lstrip("-0").rstrip("0"))
        assert digits <= 9
        if digits > 1:
            less = float(f"{number:.{digits - 1}g}")
            try:
                assert struct.pack("<f", less) != struct.pack("<f", number)
            except OverflowError:
                assert abs(less) > abs(number)


@given(st.binary(max_size=40) | st.text('[]0123456789.,-eE"/+=A', max_size=40).map(str.encode))
def test_any_embedding_is_read_or_refused(embedding: bytes) -> None:
    """What is read is finite, and has both forms."""
    with suppress(NotFloat32):
        numbers = unpack(embedding)
        assert numbers
        assert all(map(math.isfinite, numbers))
        for convert in (to_base64, to_decimals):
            assert bits_of(unpack(convert(embedding))) == bits_of(numbers)


STYLES = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"indent": 1, "separators": (",", " : ")}])
MEMBERS = st.permutations(["object", "data", "model", "usage", "x"])
ITEM = st.permutations(["object", "index", "embedding", "y"])
TEXTS = st.lists(st.text(max_size=5), min_size=1, max_size=5)
TOKENS = st.lists(st.lists(st.integers(0, 99_999), min_size=1, max_size=4), min_size=1, max_size=5)


def answer(vectors: list[object], tokens: int, members: list[str], item: list[str], style: dict[str, object]) -> bytes:
    data = [
        {name: {"object": "embedding", "index": i, "embedding": vector, "y": {"index": 9}}[name] for name in item}
        for i, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "d": {"prompt_tokens": 1}, "total_tokens": tokens}
    whole = {"object": "list", "data": data, "model": "m", "usage": usage, "x": '"embedding"'}
    return json.dumps({name: whole[name] for name in members}, **style).encode()  # type: ignore[arg-type]  # keywords


def vectors_for(count: int, *, packed: bool) -> list[object]:
    lists = [[round(math.sin(7 * i + j), 6) for j in range(3)] for i in range(count)]
    return [json.loads(to_base64(json.dumps(each).encode())) for each in lists] if packed else [*lists]


@given(TEXTS | TOKENS, st.booleans(), st.integers(0, 500), MEMBERS, ITEM, STYLES)
def test_a_batch_comes_back_to_the_byte(
    inputs: list[object],
    packed: bool,  # noqa: FBT001  (drawn)
    tokens: int,
    members: list[str],
    item: list[str],
    style: dict[str, object],
) -> None:
    """What is kept of its inputs is put together to the bytes that the upstream sent, in any uniform style."""
    batch = split(
        json.dumps({"model": "m", "input": inputs, "encoding_format": "base64" if packed else "float"}).encode()
    )
    assert batch is not None
    first = answer(vectors_for(len(inputs), packed=packed), tokens, members, item, style)
    kept = read(first, batch.inputs, batch.format)
    assert merge(kept, batch.format, add(each.usage for each in kept)) == first
    alone = [json.loads(each.answer) for each in kept]
    assert [each["data"][0]["embedding"] for each in alone] == vectors_for(len(inputs), packed=packed)
    assert {each["data"][0]["index"] for each in alone} == {0}
    assert sum(each["usage"]["total_tokens"] for each in alone) == tokens


VECTORS = {form: vectors_for(5, packed=form is Format.BASE64) for form in Format}
ORDER = ["object", "data", "usage"], ["index", "embedding"]
FORMS = st.sampled_from(Format)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.sets(st.integers(0, 4)), FORMS, FORMS)
def test_a_batch_known_in_part(wants: list[int], known: set[int], form: Format, kept: Format) -> None:
    """Each input is asked once and answered in its place, in the form that was asked, whatever form was kept."""
    body = json.dumps({"input": [f"t{n}" for n in wants], "encoding_format": form.value}).encode()
    batch = split(body)
    assert batch is not None
    keys = [str(n) for n in wants]
    store = {str(n): read(answer([VECTORS[kept][n]], 2, *ORDER, {}), [b'"x"'], kept)[0] for n in known}
    asked = missing(keys, store)
    if asked:
        sent = split(batch.ask(asked))
        assert sent is not None
        assert [*map(json.loads, sent.inputs)] == list(dict.fromkeys(f"t{n}" for n in wants if n not in known))
        fresh = read(answer([VECTORS[form][wants[place]] for place in asked], 7, *ORDER, {}), sent.inputs, form)
        store |= {keys[place]: single for place, single in zip(asked, fresh, strict=True)}
    usage = b'{"prompt_tokens":7,"total_tokens":8}'
    merged = json.loads(merge([store[key] for key in keys], batch.format, usage))
    assert [each["index"] for each in merged["data"]] == list(range(len(wants)))
    assert [each["embedding"] for each in merged["data"]] == [VECTORS[form][n] for n in wants]


@given(st.binary(max_size=60) | st.text('{}[]":,1data inex mbg', max_size=60).map(str.encode), st.integers(1, 3))
def test_any_bytes_are_vectors_or_not(answered: bytes, count: int) -> None:
    """No other exception, of requests, answers and what is kept."""
    split(answered)
    with suppress(NotVectors):
        assert len(read(answered, [b'"x"'] * count, Format.FLOAT)) == count
    with suppress(NotVectors):
        merge([Single(answered, answered)] * count, Format.FLOAT, answered)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(0, 10_000))
def test_shares_sum_to_the_whole(lengths: list[int], tokens: int) -> None:
    """Divided by length, none is off by a token, nor is any sum of the first of them."""
    inputs = [b'"%b"' % (b"x" * (length - 1)) for length in lengths]
    answered = answer(vectors_for(len(lengths), packed=False), tokens, *ORDER, {})
    kept = read(answered, inputs, Format.FLOAT)
    shares = [json.loads(each.usage)["prompt_tokens"] for each in kept]
    for share, marked, length in zip(accumulate(shares), kept, accumulate(lengths), strict=True):
        assert abs(share - tokens * length / sum(lengths)) < 1
        assert json.loads(marked.usage).get("estimated", False) is (len(lengths) > 1)
