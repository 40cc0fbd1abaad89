"""Model → upstream."""

import pytest

from proxy.errors import Failure, Kind
from proxy.upstream.router import Router


@pytest.mark.parametrize(
    ("model", "upstream"),
    [
        ("gpt-4o", "exact"),
        ("gpt-4o-mini", "family"),
        ("gpt-5", "wide"),
        ("text-embedding-3-small", "embeddings"),
        ("anything", "rest"),
        ("GPT-4o", "rest"),
        ("llama3", "local"),
        ("llama4", "rest"),
        ("", "rest"),
        ("gpt-4o\n", "family"),
    ],
)
def test_the_most_specific_pattern_wins(model: str, upstream: str) -> None:
    """An exact name before the longest literal prefix before `*`, whatever the order in the file."""
    router = Router([
        (("*",), "rest"),
        (("gpt-*",), "wide"),
        (("gpt-4o*",), "family"),
        (("text-embedding-?-small", "gpt-4o"), "embeddings"),
        (("llama[123]",), "local"),
    ])  # fmt: skip
    if upstream == "exact":
        upstream = "embeddings"
    assert router.pick(model) == upstream


def test_no_pattern() -> None:
    """404 model_not_found, naming the parameter."""
    with pytest.raises(Failure) as refused:
        Router([(("gpt-*",), "a")]).pick("claude")
    assert (refused.value.kind, refused.value.status, refused.value.param) == (Kind.MODEL_NOT_FOUND, 404, "model")


def test_no_model_goes_to_the_first() -> None:
    """A request without a model goes to the first upstream where none serves `*`."""
    assert Router([(("a",), "first"), (("b",), "second")]).pick("") == "first"


def test_no_upstream() -> None:
    """A router of nothing is a mistake in the code."""
    with pytest.raises(ValueError, match="upstream"):
        Router([])


@pytest.mark.parametrize("patterns", [("*", "*-mini"), ("gpt-*", "gpt-*-mini")])
def test_what_stands_behind_a_wildcard_counts(patterns: tuple[str, str]) -> None:
    """More literal characters are more specific, wherever they stand and whatever comes first in the file."""
    router = Router([((pattern,), pattern) for pattern in patterns])
    assert router.pick("gpt-4o-mini") == patterns[1]
    assert router.pick("gpt-4o") == patterns[0]


@pytest.mark.parametrize("pattern", ["gpt-4o", "gpt-*", "*"])
def test_the_first_of_equal_patterns_wins(pattern: str) -> None:
    """Routes that are written down come before those that follow from what upstreams serve."""
    router = Router([(("x",), "none"), ((pattern,), "first"), ((pattern,), "second")])
    assert router.pick("gpt-4o") == "first"
    assert router.pick("") == ("first" if pattern == "*" else "none")


def test_an_alias_stands_for_a_model() -> None:
    """For one, by its exact name; every other name is meant as it is."""
    router = Router([(("gpt-*",), "a"), (("*",), "b")], {"fast": "gpt-4o-mini", "gpt-4o": "fast"})
    assert [router.resolve(name) for name in ("fast", "gpt-4o", "Fast", "fas*", "")] == [
        *("gpt-4o-mini", "fast", "Fast", "fas*", "")
    ]
    assert router.pick(router.resolve("fast")) == "a"
    assert repr(router) == "<Router 0 models, 2 patterns, 2 aliases>"
