"""Which models the events of a WebSocket session name."""

from typing import Any

import msgspec
import pytest

from proxy.openai import sessions
from proxy.openai.members import Span, members
from proxy.openai.requests import Ambiguous
from proxy.openai.sessions import models_asked


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many members each object had that was looked into."""
    found: list[int] = []

    def counted(text: bytes, most: float) -> dict[str, Span]:
        spans = members(text, most)
        found.append(len(spans))
        return spans

    monkeypatch.setattr(sessions, "members", counted)
    return found


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
    with pytest.raises(Ambiguous):
        models_asked(event)


WIDE: list[bytes] = [
    b"{%b}" % b",".join(b'"%x":{}' % i for i in range(5_000)),
    b"{%b}" % b",".join(b'"%x":{%b}' % (i, b",".join(b'"%x":1' % j for j in range(50))) for i in range(50)),
    b'{"a":[%b]}' % b",".join([b'{"b":1}'] * (sessions.MAX_COLONS + 1)),
]


@pytest.mark.parametrize("event", WIDE, ids=["objects", "members", "elements"])
def test_an_event_is_read_in_a_bounded_number_of_steps(event: bytes, steps: list[int]) -> None:
    """Whatever it is made of; what would take more can't be told."""
    with pytest.raises(Ambiguous):
        models_asked(event)
    assert len(steps) <= 50
    assert sum(steps) <= sessions.MAX_MEMBERS


def test_an_event_of_many_members_is_read(steps: list[int]) -> None:
    """Up to the bound, and each once; what is in lists and in other people's objects does not count."""
    few = b",".join(b'"%x":{}' % i for i in range(1_000))
    said = b",".join(b'{"b":"%x"}' % i for i in range(10_000))
    event = b'{"list":[%b],"item":{%b},"model":"a","session":{"model":"b"},%b}' % (said, few, few)
    assert models_asked(event) == {"a", "b"}
    assert len(steps) <= 1_002


def test_a_long_event_is_read_once_for_each_object_around(steps: list[int]) -> None:
    """However deep it lies."""
    sound = b'{"audio":"%b"}' % (b"A" * 100_000)
    models_asked(sound)
    assert steps == [1]
    models_asked(b'{"a":' * 50 + sound + b"}" * 50)
    assert steps == [1] * (1 + sessions.DEPTH)


def test_what_is_nested_for_ever() -> None:
    """Is read no deeper than anything means."""
    assert models_asked(b'{"a":' * 200 + b'{"model":"a"}' + b"}" * 200) == set()
