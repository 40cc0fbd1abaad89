"""Which models the events of a WebSocket session name."""

from typing import Any

import msgspec
import pytest

from proxy.openai.requests import Ambiguous, InvalidJson
from proxy.openai.sessions import models_asked

NAMED: list[tuple[dict[str, Any], set[str]]] = [
    ({"type": "response.create"}, set()),
    ({"type": "response.create", "model": "a", "input": "model"}, {"a"}),
    ({"type": "response.create", "response": {"model": "a", "instructions": "b"}}, {"a"}),
    ({"type": "session.update", "session": {"type": "realtime", "model": "a"}}, {"a"}),
    ({"type": "session.update", "session": {"input_audio_transcription": {"model": "a"}}}, {"a"}),
    ({"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "a"}}}}}, {"a"}),
    ({"type": "transcription_session.update", "session": {"input_audio_transcription": {"model": "a"}}}, {"a"}),
    ({"model": "a", "response": {"model": "b"}, "session": {"models": ["c", "d"]}}, {"a", "b", "c", "d"}),
    ({"model": "a", "fallbacks": [{"a": ["b"]}]}, {"a", "b"}),
    ({"model": None, "response": {"model": ""}}, set()),
    ({"type": "conversation.item.create", "item": {"model": "a"}}, set()),
    ({"response": {"metadata": {"model": "a"}, "tools": [{"parameters": {"model": "a"}}]}}, set()),
    ({"text": {"format": {"schema": {"properties": {"Model": {"type": "string"}}}}}}, set()),
]


@pytest.mark.parametrize(("event", "models"), NAMED)
def test_a_model_is_found_wherever_it_is_named(event: dict[str, Any], models: set[str]) -> None:
    """And what is said, or somebody's own names, is none."""
    assert models_asked(msgspec.json.encode(event)) == models


def test_a_name_may_be_written_otherwise() -> None:
    """As JSON lets it."""
    assert models_asked(b'{"session":{"\\u006dodel":"\\u0061"}}') == {"a"}


@pytest.mark.parametrize(
    "event",
    [
        b'{"model":"a","model":"b"}',
        b'{"session":{"model":"a","model":"b"}}',
        b'{"session":{"Model":"b"}}',
        b'{"session":{"model":"b",}}',
        b'[{"model":"b"}]',
        b"\xff{}",
        b"",
    ],
)
def test_what_is_not_the_same_to_all_who_read_it(event: bytes) -> None:
    """Nobody can tell which model is meant."""
    with pytest.raises((Ambiguous, InvalidJson)):
        models_asked(event)


def test_what_is_nested_for_ever() -> None:
    """Is read no deeper than anything means."""
    assert models_asked(b'{"a":' * 200 + b'{"model":"a"}' + b"}" * 200) == set()
