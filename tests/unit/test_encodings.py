"""Token counts are tiktoken's, of ranks that are tiktoken's."""

import base64
import hashlib
import inspect
import re
from importlib.resources import files

import pytest
import tiktoken_ext.openai_public as published  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.encodings import _WORDS, SLICE, Counter, Encodings, Family, _ranks, family_of

TEXTS = (
    "Hello, world! It's 12345 o'clock\n\n  and I'LL be späť.",
    "def f(x):\n    return {k: v for k, v in x.items() if v}\n",
    "日本語の文章です。Это русский текст. 안녕하세요 🎉👩‍👩‍👧",
    "   \t \r\n\r\n ... !!! /// ",
    "",
)


@pytest.fixture(scope="module")
def encodings() -> Encodings:
    loaded = Encodings()
    for family in Family:
        loaded.load(family)
    return loaded


@pytest.fixture(scope="module")
def count(encodings: Encodings) -> Counter:
    counter = encodings.counter("gpt-5")
    assert counter is not None
    return counter


@pytest.mark.parametrize("family", Family)
def test_the_ranks_are_those_that_tiktoken_would_download(family: Family) -> None:
    """Written as tiktoken's files are, they have the digest that tiktoken expects, which their README tells as well."""
    lines = (b"%b %d\n" % (base64.b64encode(token), rank) for token, rank in _ranks(family).items())
    digest = hashlib.sha256(b"".join(lines)).hexdigest()
    assert digest in inspect.getsource(getattr(published, family.value))
    assert digest in files("proxy.openai").joinpath("ranks/README.md").read_text()


@pytest.mark.parametrize("family", Family)
def test_words_are_cut_as_tiktoken_cuts_them(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pattern is the published one."""
    monkeypatch.setattr(published, "load_tiktoken_bpe", lambda *_args, **_kwargs: {})
    assert getattr(published, family.value)()["pat_str"] == _WORDS[family]


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("gpt-5", {"hello world": 2, "supercalifragilisticexpialidocious": 10, "1234567": 3, " ": 1, "": 0}),
        ("gpt-4", {"hello world": 2, "supercalifragilisticexpialidocious": 11, "1234567": 3, " ": 1, "": 0}),
    ],
)
def test_known_texts_have_known_counts(encodings: Encodings, model: str, counts: dict[str, int]) -> None:
    """Either encoding counts what OpenAI's tokenizer page shows."""
    counter = encodings.counter(model)
    assert counter is not None
    assert {text: counter(text) for text in counts} == counts


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("model", ["gpt-5", "gpt-4"])
def test_no_text_has_more_tokens_than_bytes(encodings: Encodings, model: str, text: str) -> None:
    """In any script, a token is a byte at least, and none is more than 128."""
    counter = encodings.counter(model)
    assert counter is not None
    assert len(text.encode()) / 128 <= counter(text) <= len(text.encode())


@given(text=st.text(st.characters(codec=None), max_size=40))
def test_any_text_is_counted(count: Counter, text: str) -> None:
    """Lone surrogates included, which no encoding of text has."""
    assert (count(text) == 0) is (text == "")


@pytest.mark.parametrize("times", [1, 2, 200])
def test_long_texts_are_counted_in_slices(count: Counter, times: int) -> None:
    """What is cut, or sampled past a megabyte, is within a percent of what it is."""
    words = re.findall(r"\S+\s*", inspect.getsource(published))
    text = " ".join(words * (1 + SLICE * times // sum(map(len, words))))
    whole = count(" ".join(words)) * (len(text) / len(" ".join(words)))
    assert abs(count(text) - whole) <= whole / 100 + 2


def test_nothing_is_counted_before_it_is_loaded() -> None:
    """Until then there is no counter, and it is known what is missing; one encoding does not load the other."""
    encodings = Encodings()
    assert (encodings.counter("gpt-4"), encodings.missing("gpt-4")) == (None, Family.CL100K)
    encodings.load(Family.CL100K)
    assert encodings.missing("gpt-4") is None
    assert encodings.missing("gpt-5") is Family.O200K
    assert repr(encodings) == "<Encodings cl100k_base>"


@pytest.mark.parametrize(
    ("family", "models"),
    [
        (Family.CL100K, "gpt-4 gpt-4-turbo gpt-4-0613 gpt-3.5-turbo gpt-35-turbo ft:gpt-4:acme text-embedding-3-small"),
        (Family.O200K, "gpt-4o gpt-4.1-mini gpt-4.5-preview gpt-5 o3 ft:gpt-4o-mini:acme openai/gpt-4o claude-x qwen"),
    ],
)
def test_models_have_their_encoding(family: Family, models: str) -> None:
    """OpenAI's older models keep theirs; every other counts with the newest."""
    assert {family_of(model) for model in models.split()} == {family}
