"""Embeddings, one input at a time."""

import base64
import json
import struct

import pytest
from openai.types import CreateEmbeddingResponse

from cache.fingerprint import DENIED, canonical_value, digest
from proxy.openai.embeddings import Batch, Format, NotVectors, Single, add, merge, missing, read, split

A, B, C = [0.1, -0.25], [1.0, 0.0], [-0.5, 3e-05]


def text(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def answer(*vectors: object, tokens: int = 6, **changes: object) -> bytes:
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "model": "m-1", "usage": usage} | changes).encode()


def batch(value: object, **members: object) -> Batch:
    found = split(json.dumps({"model": "m", "input": value} | members).encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("abc", [b'"abc"']),
        (["abc"], [b'"abc"']),
        (["a", "b,]", 'c"'], [b'"a"', b'"b,]"', b'"c\\""']),
        ([1, 2, 3], [b"[1, 2, 3]"]),
        ([[1, 2], [3]], [b"[1, 2]", b"[3]"]),
        ("", [b'""']),
    ],
)
def test_inputs(value: object, inputs: list[bytes]) -> None:
    """A text, texts, tokens, or arrays of tokens: each as it is written."""
    assert list(batch(value).inputs) == inputs


def test_one_input_however_it_comes() -> None:
    """A text alone or in a list is one input, as are tokens; a text of digits is no token."""
    values = [canonical_value(batch(value).inputs[0]) for value in ("1", ["1"], [1, 2], [[1, 2]], "[1, 2]")]
    assert [values.index(value) for value in values] == [0, 0, 2, 2, 4]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"input":null}',
        b'{"input":[]}',
        b'{"input":[[]]}',
        b'{"input":5}',
        b'{"input":{"text":"a"}}',
        b'{"input":["a",1]}',
        b'{"input":["a",[1]]}',
        b'{"input":[1.5]}',
        b'{"input":[-1]}',
        b'{"input":[[1],[[2]]]}',
        b'{"input":[{"image":"x"}]}',
        b'{"input":"a","input":"b"}',
        b'{"input":"a","encoding_format":"int8"}',
        b'{"input":"a","encoding_format":["float"]}',
        b'{"input":[%b]}' % b",".join([b'"a"'] * 2_049),
    ],
)
def test_what_is_no_batch(body: bytes) -> None:
    """Shapes that are not OpenAI's, and more inputs than it takes."""
    assert split(body) is None


def test_the_form_that_is_asked_for() -> None:
    """Decimals, unless base64 is named."""
    assert batch("a").format is batch("a", encoding_format=None).format is Format.FLOAT
    assert batch("a", encoding_format="float").format is Format.FLOAT
    assert batch("a", encoding_format="base64").format is Format.BASE64


def test_what_counts_in_the_key_of_an_input() -> None:
    """All of the body but its inputs and their form; the form too, where an unknown member could make it no float32."""

    def key(**members: object) -> bytes:
        body = json.dumps({"model": "m", "input": "a"} | members).encode()
        found = split(body)
        assert found is not None
        return digest(body, DENIED.keys() | found.apart)

    assert key() == key(encoding_format="base64") == key(input=["b", "c"], user="u")
    assert key() != key(dimensions=2) != key(dimensions=3)
    assert key(output_dtype="int8") != key(output_dtype="int8", encoding_format="base64")


def test_nothing_of_an_input_is_shown() -> None:
    """Batches come into tracebacks."""
    assert "secret" not in repr(batch(["secret"]))


def test_asking_for_the_rest() -> None:
    """The inputs that are wanted, each once, and every other byte as it was."""
    body = b'{ "input" : ["a", "b" ,"a","c"] , "dimensions":2e0,"x":"\\u0061" }'
    found = split(body)
    assert found is not None
    assert missing(["1", "2", "1", "3"], {"2"}) == [0, 3]
    assert found.ask([0, 3]) == b'{ "input" : ["a","c"] , "dimensions":2e0,"x":"\\u0061" }'
    assert found.ask([0, 1, 2, 3]) == body
    assert batch([[1, 2], [3]]).ask([1]) == b'{"model": "m", "input": [[3]]}'


def test_an_answer_to_one_input_is_kept_as_it_is() -> None:
    """And given again to the byte."""
    first = b' {"usage":{"total_tokens":3},"data":[ {"embedding":[1e0,0.10],"index":0} ]}\n'
    (kept,) = read(first, [b'"a"'], Format.FLOAT)
    assert kept == (first, b'{"total_tokens":3}')
    assert merge([kept], Format.FLOAT, kept.usage) == first


def test_the_index_decides() -> None:
    """Not the place."""
    shuffled = json.loads(answer(A, B, C))
    shuffled["data"].reverse()
    kept = read(json.dumps(shuffled).encode(), [b'"a"', b'"b"', b'"c"'], Format.FLOAT)
    assert [json.loads(each.answer)["data"][0]["embedding"] for each in kept] == [A, B, C]


@pytest.mark.parametrize(
    "answered",
    [
        b"",
        b"{}",
        b"[]",
        answer(A, B)[:-1],
        answer(A),
        answer(A, B, C),
        answer(A, B, data=None),
        answer(A, B, data={}),
        answer(A, B, data=[A, B]),
        answer(data=[{"index": 0, "embedding": A}, {"index": 0, "embedding": B}]),
        answer(data=[{"index": 1, "embedding": A}, {"index": 2, "embedding": B}]),
        answer(data=[{"index": 0, "embedding": A}, {"index": -1, "embedding": B}]),
        answer(data=[{"index": 0, "embedding": A}, {"index": "1", "embedding": B}]),
        answer(data=[{"index": 0, "embedding": A}, {"embedding": B}]),
        answer(data=[{"index": 0, "embedding": A}, {"index": 1}]),
        answer(A, []),
        answer(A, None),
        answer(A, [None]),
        answer(A, "AAA="),
        answer(A, text([float("nan")])),
        answer(A, text([float("inf")])),
        answer(A, [1e39]),
        answer(A, [*B, 1.0]),
        answer(A, text([1.0])),
        answer(A, B).replace(b'"m-1"', b'"\xff"'),
        answer(A, B).replace(b'"index": 1', b'"index": 1, "index": 1'),
    ],
    ids=range(26),
)
def test_what_is_no_vector_for_each_input(answered: bytes) -> None:
    """Torn, short, twice, or no numbers: nothing of it is kept."""
    with pytest.raises(NotVectors):
        read(answered, [b'"a"', b'"b"'], Format.FLOAT)


@pytest.mark.parametrize(
    "answered",
    [
        b'{"x":{"embedding":[1]},"data":[{"index":0,"embedding":[2]}]}',
        b'{"data":[{"x":{"embedding":"A"},"index":0,"embedding":[2]}]}',
    ],
)
def test_another_embedding_before_the_one_that_counts(answered: bytes) -> None:
    """It would be taken for that."""
    with pytest.raises(NotVectors):
        read(answered, [b'"a"'], Format.FLOAT)


def test_shares() -> None:
    """By tokens where inputs are tokens, by bytes where they are text: an estimate, which the answer does not tell."""
    kept = read(answer(A, B, tokens=5), [b"[70000,80000]", b"[7,8,9]"], Format.FLOAT)
    assert [each.usage for each in kept] == [
        b'{"prompt_tokens": 2, "total_tokens": 2,"estimated":true}',
        b'{"prompt_tokens": 3, "total_tokens": 3,"estimated":true}',
    ]
    assert json.loads(kept[1].answer)["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert json.loads(add(each.usage for each in kept)) == {"prompt_tokens": 5, "total_tokens": 5}
    kept = read(answer(A, B, tokens=9), [b'"aa"', b'"aaaaa"'], Format.FLOAT)
    assert [json.loads(each.usage)["total_tokens"] for each in kept] == [3, 6]


@pytest.mark.parametrize("usage", [None, 5, {}, {"prompt_tokens": "5"}, {"cost": 0.5}])
def test_an_upstream_that_counts_nothing(usage: object) -> None:
    """What it says is kept, and nothing is made up."""
    kept = read(answer(A, B, usage=usage), [b'"a"', b'"b"'], Format.FLOAT)
    assert json.loads(kept[1].answer)["usage"] == usage
    assert merge(kept, Format.FLOAT, add(each.usage for each in kept)) == answer(A, B, usage=usage)
    assert add(each.usage for each in kept) == b"{}"
    assert kept[0].usage == (json.dumps(usage).encode() if isinstance(usage, dict) else b"")


def test_a_merged_answer() -> None:
    """In order, in the form that was asked, with the usage of what was asked now; the SDK takes it for an answer."""
    (a,) = read(answer(A), [b'"a"'], Format.FLOAT)
    (b,) = read(answer(text(B), tokens=2), [b'"b"'], Format.BASE64)
    for form, shown in ((Format.FLOAT, [B, A, B]), (Format.BASE64, [text(B), text(A), text(B)])):
        merged = merge([b, a, b], form, b.usage)
        assert json.loads(merged) == json.loads(answer(*shown, tokens=2))
    found = CreateEmbeddingResponse.model_validate_json(merge([a, b], Format.FLOAT, a.usage))
    assert [each.embedding for each in found.data] == [A, B]


@pytest.mark.parametrize("vectors", [[A], [A, B]])
def test_an_upstream_that_has_one_form(vectors: list[list[float]]) -> None:
    """Ollama, for one, answers decimals whatever it is asked: so does the cache, and with the same bytes."""
    first = answer(*vectors)
    kept = read(first, [b'"a"', b'"b"'][: len(vectors)], Format.BASE64)
    assert all(json.loads(each.usage)["unheeded"] for each in kept)
    assert merge(kept, Format.BASE64, add(each.usage for each in kept)) == first
    assert merge(kept, Format.FLOAT, add(each.usage for each in kept)) == first
    assert read(answer(A, usage=None), [b'"a"'], Format.BASE64)[0].usage == b'{"unheeded":true}'


def test_the_same_form_is_given_to_the_byte() -> None:
    """However odd its spelling."""
    for odd, form in ((b"[1E0 , 0.100]", Format.FLOAT), (b'"\\/\\/\\/\\/PQ=="', Format.BASE64)):
        (kept,) = read(b'{"data":[{"index":0,"embedding":%b}]}' % odd, [b'"a"'], form)
        assert merge([kept] * 2, form, b"").count(odd) == 2


def test_what_was_not_kept_by_this_module() -> None:
    """Is no vector."""
    for odd in (b"", b"{}", b'{"embedding":[1', b'{"embedding":[1]}', b'{"embedding":["a"]}'):
        with pytest.raises(NotVectors):
            merge([Single(odd, b""), Single(odd, b"")], Format.BASE64, b"{}")
