"""Event streams: any split gives the same events, and they are those of a reader that sees the whole text."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.sse import LIMIT, Event, EventReader
from tests.fuzz.http import cuts, streams
from tests.fuzz.recording import pieces


def read(blocks: list[bytes]) -> tuple[list[Event], bool]:
    reader = EventReader()
    events = [event for block in blocks for event in reader.feed(block)]
    return events, reader.at_boundary


def reference(text: bytes) -> list[Event]:
    """The specification's steps over the whole text; lines that never ended are no lines."""
    lines = re.split(rb"\r\n|\r|\n", text.removeprefix(b"\xef\xbb\xbf"))[:-1]
    events: list[Event] = []
    data: list[bytes] = []
    name = b""
    for line in lines:
        if not line:
            if data:
                events.append(Event(name, b"\n".join(data)))
            data, name = [], b""
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


@given(st.one_of(streams, st.binary(max_size=60)))
@example(b"data: a\r\n\r\n")
@example(b"\xef\xbb\xbfdata: a\n\n")
@example(b"\xef\xbb\xbf\n\ndata: a\n\n")
@example(b"data\n\n")
@example(b"event: e\n\ndata: a\n\n")
def test_events_are_those_of_the_specification(text: bytes) -> None:
    """A reader of the whole text finds the same."""
    assert read([text])[0] == reference(text)


@given(st.one_of(streams, st.binary(max_size=60)), cuts)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 9, 10, 11])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2, 3])
def test_cuts_do_not_matter(text: bytes, cuts: list[int]) -> None:
    """Events and boundary are the same wherever the network cut."""
    assert read(pieces(text, cuts)) == read([text])


@given(streams)
def test_single_bytes_are_enough(text: bytes) -> None:
    """Byte by byte the events are those of the whole."""
    assert read([text[i : i + 1] for i in range(len(text))]) == read([text])


@given(streams, st.integers(0, 3), st.sampled_from([b"data: ", b"", b": ", b"event: "]))
def test_an_event_over_the_bound_is_passed_over(text: bytes, cut: int, field: bytes) -> None:
    """It is not held, and the events behind it are read."""
    large = field + b"x" * LIMIT + b"\n"
    blocks = [large[: LIMIT // 2 + cut], large[LIMIT // 2 + cut :], b"\n\n", text]
    expected = reference(b"\n" + text)
    found = read(blocks)[0]
    assert found[-len(expected) :] == expected if expected else not any(len(e.data) > LIMIT for e in found)
    assert all(len(event.data) <= LIMIT for event in found)
