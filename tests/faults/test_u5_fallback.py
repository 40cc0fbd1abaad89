"""U5: what may have been acted on goes out once, however many upstreams there are, unless the operator accepts it."""

import asyncio

import pytest

from tests.fakes.answers import CLOSE, RESET, SILENCE, Answer, End, event_stream, json_answer
from tests.fakes.asking import herd
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.pair import pair, said, told
from tests.fakes.polling import until
from tests.fakes.raw import compose

ERROR = {"error": {"message": "m", "type": "server_error", "param": None, "code": "c"}}
ENDS: dict[str, tuple[Answer, int]] = {
    "reset": (RESET, 502),
    "closed": (CLOSE, 502),
    "silence": (SILENCE, 504),
    "500": (json_answer(ERROR, 500), 500),
    "503 that says nothing of when": (json_answer(ERROR, 503), 503),
    "408": (json_answer(ERROR, 408), 408),
}


@pytest.mark.parametrize(("end", "cache"), [*((end, False) for end in ENDS), ("reset", True), ("500", True)])
async def test_u5_one_post(end: str, *, cache: bool) -> None:
    """Exactly one reaches both upstreams together."""
    answer, status = ENDS[end]
    async with pair(timeouts__first_byte=0.1, cache__enabled=cache) as two:
        two.first.script(answer)
        response = await two.ask()
        assert (response.status, told(response)) == (status, ("a", 1))
        assert two.sent == (1, 0)
        if status in (502, 504):
            assert response.header(b"x-should-retry") == b"false"


@pytest.mark.parametrize(
    ("first", "body", "settings"),
    [
        (event_stream([0.03], terminated=False, end=End.RESET), STREAM, {"retry__hold_bytes": 16_384}),
        (SILENCE, CHAT, {"retry__on_ambiguous": True, "timeouts__first_byte": 0.1}),
    ],
    ids=["broke off while it was held back", "timed out"],
)
async def test_u5_the_first_may_have_acted(first: Answer, body: object, settings: dict[str, object]) -> None:
    """Its client is told not to ask again, although the one that was asked last was never reached."""
    async with pair(retry__attempts=1, **settings) as two:
        two.first.script(first)
        await two.second.stop()
        response = await two.ask(body)
        assert (response.error_code, told(response)) == ("upstream_unreachable", ("b", 2))
        assert response.header(b"x-should-retry") == b"false"


LIMITED = json_answer(ERROR, 429, [("retry-after-ms", "1")])


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no cache"])
@pytest.mark.parametrize("groups", [["a", "b"], ["a b"]], ids=["groups", "one group"])
@pytest.mark.parametrize("end", ["reset", "silence"])
async def test_u5_behind_a_refusal(end: str, groups: list[str], *, cache: bool) -> None:
    """What another has refused before is no reason to ask the one again who may have acted."""
    answer, status = ENDS[end]
    settings = {"timeouts__first_byte": 0.1, "cache__enabled": cache, "routes__main__groups": groups}
    async with pair(**settings) as two:
        two.first.script(LIMITED)
        two.second.script(answer)
        response = await two.ask()
        assert (response.status, told(response), two.sent) == (status, ("b", 2), (1, 1))
        assert response.header(b"x-should-retry") == b"false"


@pytest.mark.parametrize(
    ("first", "body", "settings"),
    [
        (event_stream([0.03], terminated=False, end=End.RESET), STREAM, {"retry__hold_bytes": 16_384}),
        (RESET, CHAT, {"retry__on_ambiguous": True}),
    ],
    ids=["broke off while it was held back", "reset"],
)
async def test_u5_before_a_refusal(first: Answer, body: object, settings: dict[str, object]) -> None:
    """Who is told to come again by the one is told not to, as the other may have acted; alone it is as it was told."""
    again = json_answer(ERROR, 429, [("x-should-retry", "true")])
    async with pair(retry__attempts=1, **settings) as two:
        two.first.script(first)
        two.second.script(again)
        response = await two.ask(body)
        assert (response.status, told(response)) == (429, ("b", 2))
        assert response.all(b"x-should-retry") == [b"false"]
        two.first.script(LIMITED)
        assert (await two.ask(body)).all(b"x-should-retry") == [b"true"]


async def test_u5_the_first_may_have_acted_for_all_who_shared_it() -> None:
    """Also who asked nobody but the one that was never reached is told not to ask again."""
    settings = {"retry__on_ambiguous": True, "timeouts__first_byte": 0.1, "cache__enabled": True}
    async with pair(retry__attempts=1, **settings) as two:
        two.first.script(SILENCE)
        await two.second.stop()
        responses = await asyncio.gather(*[two.ask() for _ in range(4)])
        assert {response.error_code for response in responses} == {"upstream_unreachable"}
        assert [response.header(b"x-should-retry") for response in responses] == [b"false"] * 4
        assert two.sent[0] < 4


@pytest.mark.parametrize(
    ("end", "setting"), [*((end, "retry__on_ambiguous") for end in ENDS), ("reset", "routes__main__on_ambiguous")]
)
async def test_u5_who_accepts_to_pay_twice(end: str, setting: str) -> None:
    """The second is asked, and answers."""
    answer, _ = ENDS[end]
    async with pair(timeouts__first_byte=0.1, **{setting: True}) as two:
        two.first.script(answer)
        response = await two.ask()
        assert (response.status, said(response), told(response)) == (200, "from b", ("b", 2))
        assert two.sent == (1, 1)


async def test_u5_an_upstream_may_forbid_it() -> None:
    """`x-should-retry: false` beside a 500 is the last word."""
    async with pair(retry__on_ambiguous=True) as two:
        two.first.script(json_answer(ERROR, 500, [("x-should-retry", "false")]))
        assert told(await two.ask()) == ("a", 1)
        assert two.sent == (1, 0)


@pytest.mark.parametrize("answer", [RESET, SILENCE], ids=["reset", "silence"])
async def test_u5_nobody_who_waited_asks_elsewhere(answer: Answer) -> None:
    """Of equal requests one more is sent, as for one upstream; that its leader failed lets no follower fall back."""
    async with pair(timeouts__first_byte=0.1, cache__enabled=True) as two:
        two.first.script(answer)
        responses = await herd(two.gateway, 10)
        assert {response.status for response in responses} <= {502, 504}
        assert two.sent[0] <= 2
        assert two.sent[1] == 0


async def test_u5_once_comments_have_gone_out_nobody_is_asked_again() -> None:
    """The client has the head of an answer: what fails then is told in its stream."""
    async with pair(timeouts__comment=0.02, timeouts__first_byte=0.1, retry__on_ambiguous=True) as two:
        two.first.script(SILENCE)
        response = await two.ask(STREAM)
        assert b": ping" in response.body
        assert b"upstream_timeout" in response.body
        assert two.sent == (1, 0)


async def test_u5_a_client_that_leaves_is_asked_for_nowhere() -> None:
    """D2: the first is closed within a second, and nobody else hears of it."""
    async with pair(retry__on_ambiguous=True) as two:
        two.first.script(SILENCE)
        async with two.gateway.client() as client:
            await client.send(compose(body=CHAT))
            await two.first.received()
        await two.first.aborted()
        await until(lambda: not two.endpoint().gate.busy)
        assert two.sent == (1, 0)
