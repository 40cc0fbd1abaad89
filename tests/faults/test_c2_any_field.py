"""C2: whatever changes in a request, its key changes; J8: also where nobody knows the field."""

import importlib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from openai.types.audio import transcription_create_params
from typing_extensions import is_typeddict

from cache.fingerprint import DENIED, digest
from proxy.openai.forms import DENIED as FORM_DENIED
from proxy.openai.forms import read_form

SCHEMAS = {
    "chat/completions": ("chat.completion_create_params", "CompletionCreateParams"),
    "completions": ("completion_create_params", "CompletionCreateParams"),
    "responses": ("responses.response_create_params", "ResponseCreateParams"),
    "embeddings": ("embedding_create_params", "EmbeddingCreateParams"),
    "moderations": ("moderation_create_params", "ModerationCreateParams"),
    "images/generations": ("image_generate_params", "ImageGenerateParams"),
    "audio/speech": ("audio.speech_create_params", "SpeechCreateParams"),
}


def variants_of(hint: Any) -> Iterable[Any]:
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)


def fields_of(endpoint: str) -> dict[str, Any]:
    """The SDK's request type, all of its variants in one."""
    module, name = SCHEMAS[endpoint]
    schema = getattr(importlib.import_module(f"openai.types.{module}"), name)
    return {field: hint for variant in variants_of(schema) for field, hint in get_type_hints(variant).items()}


def samples(hint: Any, inside: tuple[Any, ...] = ()) -> Iterator[Any]:
    """A value of every variant of a type, and of all that is in it. What contains itself does so once."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        for variant in arguments:
            yield from samples(variant, inside)
    elif origin is Literal:
        yield from arguments
    elif is_typeddict(hint):
        yield from [{}] if hint in inside else objects(get_type_hints(hint), (*inside, hint))
    elif arguments and isinstance(origin, type) and issubclass(origin, Mapping):
        yield from ({"name": value} for value in samples(arguments[-1], inside))
    elif arguments and isinstance(origin, type) and issubclass(origin, Iterable):
        yield from ([value] for value in samples(arguments[0], inside))
    else:
        yield {int: 1, float: 0.5, bool: True, type(None): None}.get(hint, "text")


def objects(fields: Mapping[str, Any], inside: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    choices = {name: list(samples(hint, inside)) for name, hint in fields.items()}
    first = {name: values[0] for name, values in choices.items()}
    yield first
    for name, values in choices.items():
        yield from ({**first, name: value} for value in values[1:])


def flips(value: Any) -> Iterator[Any]:
    """The value with one thing changed, for every thing in it: a leaf, a member's name, a member or item gone."""
    match value:
        case dict():
            for name, member in value.items():
                rest = {key: kept for key, kept in value.items() if key != name}
                yield rest
                yield {**rest, f"{name}_": member}
                yield from ({**value, name: flipped} for flipped in flips(member))
        case list():
            yield from (value[1:], [*value, None], [*value, *value])
            for place, item in enumerate(value):
                yield from ([*value[:place], flipped, *value[place + 1 :]] for flipped in flips(item))
        case bool():
            yield from (not value, int(value), None)
        case None:
            yield from (False, 0, "")
        case str():
            yield from (f"{value} ", value.upper(), None)
        case _:
            yield from (value + 1, str(value), -value)


def key(body: dict[str, Any]) -> bytes:
    return digest(msgspec.json.encode(body))


FIELDS = [(endpoint, field) for endpoint in SCHEMAS for field in fields_of(endpoint)]


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(("endpoint", "field"), FIELDS)
def test_c2_each_field_counts_unless_it_is_denied(endpoint: str, field: str) -> None:
    """Given or not, and with any of its values: another key; and the same one where DENIED names it."""
    values = list(samples(fields_of(endpoint)[field]))
    bodies = [{field: value} for value in (*values, *(flipped for value in values for flipped in flips(value)))]
    distinct = {msgspec.json.encode(body, order="sorted") for body in bodies}
    other = {"temperature_": 1}
    keys = {key({**other, **body}) for body in bodies}
    assert (key(other) in keys) is (field in DENIED)
    assert len(keys) == (1 if field in DENIED else len(distinct))


@pytest.mark.parametrize("endpoint", SCHEMAS)
def test_c2_the_schema_is_read_whole(endpoint: str) -> None:
    """This test looks at what the SDK sends: it found the fields that everybody knows."""
    fields = fields_of(endpoint)
    assert "model" in fields
    assert len(fields) >= {"moderations": 2, "embeddings": 5, "audio/speech": 6}.get(endpoint, 10)


UPLOADED = get_type_hints(get_args(transcription_create_params.TranscriptionCreateParams)[0])


@pytest.mark.parametrize("field", [*UPLOADED, "unheard_of"])
def test_c2_each_field_of_a_form_counts(field: str) -> None:
    """Of a transcription: given or not, its value, and each of a list's; and none that is denied."""

    def form(*fields: tuple[str, str]) -> bytes:
        parts = "".join(
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
        )
        return read_form(f"{parts}--b--\r\n".encode(), b"multipart/form-data; boundary=b").digest

    other = ("temperature_", "1")
    bodies = [[other], [other, (field, "true")], [other, (field, "false")]]
    bodies += [[other, (f"{field}[]", "true")], [other, (f"{field}[]", "true"), (f"{field}[]", "false")]]
    known = len({form(*body) for body in bodies})
    assert known == (3 if field in FORM_DENIED else 5)


@pytest.mark.parametrize(
    "field", ["top_k", "min_p", "chat_template_kwargs", "guided_json", "Stream", "cache", "stream ", "", "кэш"]
)
@pytest.mark.parametrize("value", [None, False, 0, "", [], {}], ids=repr)
def test_j8_unknown_fields_count(field: str, value: object) -> None:
    """Whatever they are called and even if their value is nothing."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert key(body) != key({**body, field: value})


@pytest.mark.parametrize("field", DENIED)
def test_c2_what_is_denied_counts_below_the_top(field: str) -> None:
    """A message with a `user`, a tool with a `stream` or a schema with `metadata` says something."""
    assert key({"messages": [{"content": "x", field: 1}]}) != key({"messages": [{"content": "x", field: 2}]})
