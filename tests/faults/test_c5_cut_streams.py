"""C5: what was cut is never complete."""

import msgspec
import pytest

from proxy.openai.assemble import assemble
from proxy.openai.replies import Verdict, judge_body, judge_stream
from tests.fakes.frames import DONE
from tests.fakes.streams import STREAMS, Recording
from tests.fakes.streams.writing import chunk

ENDS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


def _complete(recording: Recording, frames: list[bytes]) -> bool:
    return judge_stream(recording.endpoint, frames).verdict is Verdict.COMPLETE


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", STREAMS)
def test_c5_cut_at_every_byte(name: str, end: str) -> None:
    """A stream is complete at its very end, and nowhere before: not without its last blank line, nor half of it."""
    recording = STREAMS[name]
    stream = b"".join(recording.frames).replace(b"\n", ENDS[end])
    whole = [cut for cut in range(len(stream) + 1) if _complete(recording, [stream[:cut]])]
    assert whole == [len(stream)]


@pytest.mark.parametrize("name", STREAMS)
def test_c5_cut_in_the_last_frame_as_recorded(name: str) -> None:
    """The same where earlier frames were kept whole and the last one came in part."""
    recording = STREAMS[name]
    *kept, last = recording.frames
    assert [cut for cut in range(len(last) + 1) if _complete(recording, [*kept, last[:cut]])] == [len(last)]


@pytest.mark.parametrize("name", STREAMS)
def test_c5_a_frame_missing_from_the_end(name: str) -> None:
    """Any number of frames less is not complete."""
    recording = STREAMS[name]
    assert not any(_complete(recording, [*recording.frames[:count]]) for count in range(len(recording.frames)))


@pytest.mark.parametrize("endpoint", ["chat/completions", "completions"])
def test_c5_an_end_without_a_finish_reason(endpoint: str) -> None:
    """`[DONE]` alone says nothing, and neither does a finish reason alone."""
    begun, finished = chunk({"content": "x"}), chunk({}, "stop")
    assert judge_stream(endpoint, [begun, DONE]).verdict is Verdict.NO_FINISH_REASON
    assert judge_stream(endpoint, [begun, finished]).verdict is Verdict.NO_END


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("name", STREAMS)
def test_c5_json_cut_at_every_byte(name: str) -> None:
    """Of a JSON answer that ended early none is complete."""
    recording = STREAMS[name]
    body = assemble(recording.endpoint, recording.frames)
    assert msgspec.json.decode(body)
    verdicts = {judge_body(recording.endpoint, body[:cut]).verdict for cut in range(len(body))}
    assert verdicts <= {Verdict.NOT_JSON, Verdict.UNKNOWN_SHAPE}
    assert judge_body(recording.endpoint, body).verdict is Verdict.COMPLETE
