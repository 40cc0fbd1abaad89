"""The list of models that a key sees, and what a path names."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.models import also, model_in, only


def allowed(model: str) -> bool:
    return model.startswith("open")


OPENAI = (
    b'{ "object":"list", "x" : [1.50, {}], "data": [{"id":"secret-1","object":"model"} ,'
    b' {"id" : "open/1" , "created":1.0e3, "name": "secret-2"}, {"id":"\\u006fpen-2"},{"id":"secret-3"}],'
    b' "more":null}\n'
)


def test_only_what_is_allowed_is_listed() -> None:
    """Entries that stay, and all that is said beside them, stay as they were to the byte."""
    expected = (
        b'{ "object":"list", "x" : [1.50, {}], "data":'
        b' [{"id" : "open/1" , "created":1.0e3, "name": "secret-2"},{"id":"\\u006fpen-2"}], "more":null}\n'
    )
    assert only(OPENAI, allowed) == expected


DIALECTS = {
    "no object": (b'{"data":[{"id":"secret"},{"id":"open"}]}', b'{"data":[{"id":"open"}]}'),
    "a bare list": (b' [{"id":"open","type":"chat"},\n{"id":"secret"}] ', b' [{"id":"open","type":"chat"}]'),
    "Ollama": (
        b'{"models":[{"name":"open:8b","model":"open:8b"},{"name":"secret","model":"secret"}]}',
        b'{"models":[{"name":"open:8b","model":"open:8b"}]}',
    ),
    "llama.cpp": (
        b'{"models":[{"name":"secret","model":"secret"}],"object":"list","data":[{"id":"secret"},{"id":"open"}]}',
        b'{"models":[],"object":"list","data":[{"id":"open"}]}',
    ),
    "Anthropic": (
        b'{"data":[{"id":"secret-1"},{"id":"open-1"},{"id":"open-2"}],"first_id":"secret-1","last_id":"open-2"}',
        b'{"data":[{"id":"open-1"},{"id":"open-2"}],"first_id":"open-1","last_id":"open-2"}',
    ),
    "Anthropic, none": (
        b'{"data":[{"id":"secret"}],"first_id":"secret","last_id":"secret"}',
        b'{"data":[],"first_id":null,"last_id":null}',
    ),
    "one list is null": (b'{"models":null,"data":[{"id":"secret"}]}', b'{"models":null,"data":[]}'),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(dialect: str) -> None:
    """Wherever an upstream names its models, in both places where it has two."""
    told, expected = DIALECTS[dialect]
    assert only(told, allowed) == expected
    assert b"secret" not in expected


UNREAD = [
    *(b"", b"null", b"7", b'"open"', b"{}", b"<html>", b"\xff", b"[" * 100_000, b'{"data":' * 100_000),
    b'{"data":{"open":{}}}',
    b'{"data":["open"]}',
    b'{"data":[{"title":"open"}]}',
    b'{"data":[{"id":7}]}',
    b'{"data":[{"id":""}]}',
    b'{"data":[{"id":null,"name":"open"}]}',
    b'{"data":[{"id":"open"}]} {"data":[{"id":"secret"}]}',
    b'{"data":[{"id":"secret"}],"data":[{"id":"open"}]}',
    b'[{"id":"open"}],[{"id":"secret"}]',
    b'{"id":"secret","object":"model"}',
    b'{"error":{"message":"no such model as secret"}}',
]


@pytest.mark.parametrize("body", UNREAD, ids=range(len(UNREAD)))
def test_what_is_not_understood_is_not_told(body: bytes) -> None:
    """Nothing, rather than a list that was read wrongly."""
    assert only(body, allowed) is None


NAMES = st.text(min_size=1, max_size=6)


@given(st.lists(NAMES), st.sets(NAMES), st.booleans(), st.sampled_from([None, 2]))
def test_the_order_stays(names: list[str], refused: set[str], ascii_only: bool, indent: int | None) -> None:  # noqa: FBT001
    """However it is written, those that are allowed are listed as they came; the same bytes where all are."""
    told = {"object": "list", "data": [{"id": name, "n": [place]} for place, name in enumerate(names)]}
    body = json.dumps(told, ensure_ascii=ascii_only, indent=indent).encode()
    left = only(body, lambda name: name not in refused)
    assert left is not None
    expected = [entry for entry in told["data"] if entry["id"] not in refused]  # type: ignore[index]
    assert json.loads(left) == told | {"data": expected}
    if len(expected) == len(names):
        assert left == body


@pytest.mark.parametrize("decide", [lambda _: True, lambda _: False])
@given(body=st.one_of(st.binary(max_size=40), st.text('{}[],:"idatmoels', max_size=30).map(str.encode)))
def test_any_bytes_are_read(decide: Callable[[str], bool], body: bytes) -> None:
    """Without an error; what is told where all is allowed is what came."""
    left = only(body, decide)
    if left is not None and decide("any"):
        assert left == body


PATHS = {
    "/v1/models": "",
    "/v1/models/": "",
    "/v1/models//": "",
    "/v1/models/gpt-4o": "gpt-4o",
    "/v1/models/gpt-4o/": "gpt-4o",
    "/v1/models/a/b:free": "a/b:free",
    "/v1/models/a%2Fb%3Afree": "a/b:free",
    "/v1/models/a%252Fb": "a%2Fb",
    "/v1/models/%C3%BC": "ü",
    "/v1/models/\xc3\xbc": "ü",
    "/v1/models/%ff%": "\ufffd%",
    "/v1/modelsx": "",
    "/v1/files/gpt-4o": "",
}


@pytest.mark.parametrize("path", PATHS)
def test_the_model_that_a_path_names(path: str) -> None:
    """As an upstream will read it."""
    assert model_in(path) == PATHS[path]


ENTRY = b'{"id":"fast","object":"model","created":0,"owned_by":"askonce"}'


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (b'{"data": [ {"id":"a"} ], "x":1}', b'{"data": [ {"id":"a"},%b ], "x":1}' % ENTRY),
        (b'{"object":"list","data":[]}', b'{"object":"list","data":[%b]}' % ENTRY),
        (b' [{"id":"a"}]', b' [{"id":"a"},%b]' % ENTRY),
        (b'{"data":[{"id":"fast"}]}', b'{"data":[{"id":"fast"}]}'),
        (b'{"data":[],"first_id":null}', b'{"data":[],"first_id":null}'),
        (b'{"models":[]}', b'{"models":[]}'),
        (b'{"data":[3]}', b'{"data":[3]}'),
        (b"[", b"["),
        (b"", b""),
    ],
)
def test_other_names_stand_at_the_end(told: bytes, expected: bytes) -> None:
    """Each once, in the shape of OpenAI; what has another shape, or is a page of several, stays as it is."""
    assert also(told, ["fast"]) == expected
