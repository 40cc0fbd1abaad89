"""What a request may come to, before it is sent."""

import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.limiting import measure as measuring
from proxy.limiting.measure import NO_TOKENS, Measure, asked_of
from proxy.openai.estimate import Estimate, Method, estimate
from tests.fakes.limited import asking
from tests.fakes.seams import FakeBody

CHAT = {"model": "m", "messages": [{"role": "user", "content": "How many roads must a man walk down?"}]}


async def measured(body: object, measure: Measure | None = None, **fields: Any) -> Estimate:
    measure = measure or Measure(counting=False, expected=10)
    given_body = body if isinstance(body, (bytes, FakeBody)) else msgspec.json.encode(body)
    return await measure.of(asking(**fields), given_body)


async def test_what_is_not_posted_takes_no_tokens() -> None:
    """Nor what is at a path that nobody knows, nor a body that streams through."""
    assert await measured(b"", method="GET", path="/v1/models") is NO_TOKENS
    assert await measured(CHAT, path="/v1/threads/t") is NO_TOKENS
    assert await measured(FakeBody(b"x" * 1_000), path="/v1/files") is NO_TOKENS
    assert await measured(FakeBody(b"x" * 1_000), path="/v1/chat/completions") is NO_TOKENS


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations"])
@pytest.mark.parametrize("held", [True, False])
async def test_sound_is_measured_by_its_length(path: str, *, held: bool) -> None:
    """At 32 kbit/s, whether or not the upload is here; of unknown length it is the longest that OpenAI takes."""
    sound = b"x" * 40_000
    estimated = await measured(sound if held else FakeBody(sound), path=path)
    assert (asked_of(estimated), estimated.capped) == ({"input": 100, "output": 40, "audio_ms": 10_000}, True)
    assert (await measured(FakeBody(sound, chunked=True), path=path)).units == {"audio_ms": (25 << 20) // 4}


@pytest.mark.parametrize("cap", [None, 7])
async def test_an_answer_is_as_long_as_its_request_allows(cap: int | None) -> None:
    """Or as is expected of its model."""
    body = CHAT | ({"max_tokens": cap} if cap else {})
    estimated = await measured(body)
    assert estimated == estimate("chat/completions", msgspec.json.encode(body), None, 10)
    assert (estimated.output, estimated.capped) == ((cap, True) if cap else (10, False))


async def test_answers_teach_how_long_the_next_may_be() -> None:
    """Of the same model; one without output teaches nothing."""
    measure = Measure(counting=False, expected=10)
    for _ in range(50):
        measure.learn("m", {"input": 5, "output": 300})
    measure.learn("m", {"input": 5})
    measure.learn("other", {})
    assert (await measured(CHAT, measure)).output == 300
    assert (await measured(CHAT | {"model": "other"}, measure, model="other")).output == 10


async def test_a_large_body_is_read_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """And comes to the same."""
    seen = []

    def watched(*args: object) -> Estimate:
        seen.append(threading.get_ident())
        return estimate(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "estimate", watched)
    small, large = (CHAT | {"messages": [{"role": "user", "content": "word " * count}]} for count in (300, 20_000))
    assert (await measured(small)).input == pytest.approx(375, abs=10)
    assert (await measured(large)).input == pytest.approx(25_000, abs=10)
    assert seen[0] == threading.get_ident()
    assert seen[1] != threading.get_ident()


async def test_until_the_encodings_are_there_text_is_measured() -> None:
    """A start does not wait for them."""
    measure = Measure(counting=True, expected=10)
    assert measure.counter("gpt-4o") is None
    assert (await measured(CHAT, measure)).method is Method.BYTES


def test_roughly_is_four_bytes_a_token() -> None:
    """Of JSON that is posted, without a look into it, up to what is packed; of nothing else anything is known."""
    measure = Measure(counting=False, expected=10)
    expected = Estimate(101, 10, capped=False, method=Method.BYTES, units={})
    assert measure.roughly(asking(), b"x" * 401) == expected
    assert measure.roughly(asking(), b"x" * 401 + b";base64," + b"A" * 9_000) == expected
    assert measure.roughly(asking(path="/v1/embeddings"), b"x" * 401).output == 0
    assert measure.roughly(asking(), FakeBody(b"x" * 401)) is NO_TOKENS
    assert measure.roughly(asking(method="GET", path="/v1/models"), b"") is NO_TOKENS
    assert measure.roughly(asking(path="/v1/files"), b"x") is NO_TOKENS


@given(
    st.integers(0, 99), st.integers(0, 99), st.dictionaries(st.sampled_from(["images", "audio_ms"]), st.integers(0, 9))
)
def test_what_is_asked_is_told_as_what_is_used(tokens: int, output: int, units: dict[str, int]) -> None:
    """By kind, without what is nothing."""
    asked = asked_of(Estimate(tokens, output, capped=True, method=Method.BYTES, units=units))
    assert all(asked.values())
    assert asked == {kind: n for kind, n in {"input": tokens, "output": output, **units}.items() if n}
