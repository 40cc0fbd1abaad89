"""Another model's name in a request."""

import json

import pytest

from proxy.openai.rename import Edit, edited, form_with_model, query_with_model, with_model

KIND = b"multipart/form-data; boundary=b"
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="language"\r\n\r\nen\r\n'
    b'--b\r\ncontent-type: text/plain\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n\r\n--bx\r\nRIFF\r\n--b--\r\n'
)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","messages":[]}',
        b'\r\n { "x" : 1.50 ,\t"model" :\n"a" } ',
        b'{"mod\\u0065l":"a","metadata":{"model":"a"}}',
        b'{"user":"model","model":"a"}',
        b'{"user":"say \\"model\\":","model":"a\\"b"}',
        b'{"input":[{"model":"a"},"model"],"model":"\xc3\xbc"}',
        b'{"model":null}',
        b'{"model":{"model":"a"}}',
    ],
)
@pytest.mark.parametrize("model", ["gpt-4o", 'a "b"\\\n', "模型"])
def test_the_model_alone_is_replaced(body: bytes, model: str) -> None:
    """Wherever and however it is named, and whatever it is; of the other bytes none changes."""
    renamed = with_model(body, model)
    assert json.loads(renamed) == json.loads(body) | {"model": model}
    value = json.dumps(model, ensure_ascii=False).encode()
    start = renamed.index(value, renamed.index(b"l", renamed.index(b'"mod') + 4))
    assert body.startswith(renamed[:start])
    assert body.endswith(renamed[start + len(value) :])


@pytest.mark.parametrize(
    "body", [b'{"messages":[{"model":"a"}]}', b'{"x":"\\"model\\":"}', b'["model"]', b"{}", b"", b'{"model":', b"\xff"]
)
def test_what_names_no_model_stays(body: bytes) -> None:
    """Also what is no object: it is for the upstream to say what is missing."""
    assert with_model(body, "m") == body


def test_what_cannot_be_read_stays() -> None:
    """A name that is no UTF-8 makes it no JSON."""
    body = b'{"model":"a","\xff":"model","model":"a"}'
    assert with_model(body, "m") == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b","n":2.50}',
        b'{"model":"a","mod\\u0065l":"b","n":2.50}',
        b'{"n":1,"model":"model","n":2.50}',
    ],
)
def test_of_two_models_neither_is_left(body: bytes) -> None:
    """Some upstreams take the first and some the last; afterwards there is one of each member."""
    pairs = json.loads(with_model(body, "m"), object_pairs_hook=list)
    assert sorted(pairs) == [("model", "m"), ("n", 2.5)]
    assert b"2.50" in with_model(body, "m")


@pytest.mark.parametrize(
    ("query", "renamed"),
    [
        (b"model=a", b"model=m%2Fa%20%C3%BC"),
        (b"x=1&model=a+b&model", b"x=1&model=m%2Fa%20%C3%BC&model=m%2Fa%20%C3%BC"),
        (b"mod%65l=a=b&intent=model", b"mod%65l=m%2Fa%20%C3%BC&intent=model"),
        (b"models=a&x=model=1", b"models=a&x=model=1"),
        (b"", b""),
    ],
)
def test_a_query_is_renamed(query: bytes, renamed: bytes) -> None:
    """Each parameter that is the model, however its name is spelled, and no other."""
    assert query_with_model(query, "m/a ü") == renamed


def test_a_form_is_renamed() -> None:
    """The content of the field, with no other byte of the form."""
    edits = form_with_model(FORM, KIND, "gpt-4o-transcribe-ü")
    assert edited(FORM, edits) == FORM.replace(b"whisper-1", "gpt-4o-transcribe-ü".encode())
    assert form_with_model(b"preamble\r\n" + FORM, b'Multipart/Form-Data; boundary="b"', "m")
    empty = FORM.replace(b"whisper-1", b"")
    assert edited(empty, form_with_model(empty, KIND, "whisper-1")) == FORM


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (FORM[: FORM.index(b"whisper-1") + 11], KIND),
        (FORM.replace(b'"model"\r', b'"models"\r'), KIND),
        (FORM, b"multipart/form-data; boundary=c"),
        (FORM, b"multipart/form-data"),
        (FORM, b"application/json"),
        (FORM.replace(b"--b\r\n", b"--b--\r\n", 1), KIND),
        (b"", KIND),
    ],
)
def test_a_form_without_a_place_for_it(head: bytes, kind: bytes) -> None:
    """The field has not ended, has another name, or there is no form: nothing is guessed."""
    assert form_with_model(head, kind, "m") == ()


def test_both_models_of_a_form_are_renamed() -> None:
    """Some upstreams take the first and some the last."""
    field = b"--b\r\ncontent-disposition: form-data; name=model\r\n\r\na\r\n"
    assert edited(field + FORM, form_with_model(field + FORM, KIND, "m")).count(b"\r\n\r\nm\r\n") == 2


def test_edits_of_a_part() -> None:
    """An edit is made where it begins, and what it takes away is gone wherever it stands."""
    edits = [Edit(1, 3, b"X"), Edit(5, 5, b"Y"), Edit(6, 8, b"")]
    assert edited(b"0123456789", edits) == b"0X34Y589"
    assert [edited(b"0123456789"[at : at + 2], edits, at) for at in range(0, 10, 2)] == [
        b"0X",
        b"3",
        b"4Y5",
        b"",
        b"89",
    ]
