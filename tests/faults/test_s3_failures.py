"""S3: equal requests whose leader's upstream fails, where another could be asked."""

from collections import Counter

from tests.fakes.answers import RESET, Answer, Framing, event_stream, json_answer
from tests.fakes.asking import completion_answer, herd
from tests.fakes.frames import DONE, STREAM, chat_frame
from tests.fakes.pair import NO_WAIT, pair, said, told

FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
REFUSAL = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}


async def test_s3_a_failed_leader_is_followed_by_one() -> None:
    """the leader's upstream fails in a way that can be retried: one asks anew, and never all at once."""
    async with pair(cache__enabled=True) as two:
        two.first.script(Answer(raw=b"", before=0.05, end=RESET.end), completion_answer("from a"))
        responses = await herd(two.gateway, 20)
        assert sorted({response.status for response in responses}) == [200, 502]
        assert sum(response.status == 502 for response in responses) == 1
        assert two.sent == (2, 0)


async def test_s3_no_leader_is_left_with_the_second_alone() -> None:
    """the first refuses, and the second's answer breaks off: one of those who waited asks anew, at either."""
    async with pair(cache__enabled=True) as two:
        await two.first.stop()
        two.second.script(Answer(raw=b"", before=0.05, end=RESET.end), completion_answer("from b"))
        responses = await herd(two.gateway, 20)
        assert sum(response.status == 502 for response in responses) == 1
        assert sum(response.status == 200 for response in responses) == 19
        assert two.sent == (0, 2)


async def test_s3_a_limit_of_the_first_is_no_reason_to_ask_it_for_all() -> None:
    """It says 429 to the leader: one more asks it, and all have one answer of the second."""
    async with pair(cache__enabled=True, **NO_WAIT) as two:
        limited = json_answer(REFUSAL, 429)
        two.first.script(Answer(429, limited.headers, limited.body, before=0.05))
        two.second.script(completion_answer("from b", before=0.05))
        responses = await herd(two.gateway, 30)
        assert Counter((response.status, said(response)) for response in responses) == {(200, "from b"): 30}
        assert {told(response)[0] for response in responses} == {"b"}
        assert two.sent[0] <= 2
        assert two.sent[1] == 1


async def test_s3_who_asked_the_first_in_vain_is_told_whose_stream_it_shares() -> None:
    """One of them had to ask anew, found the second's answer coming, and joined it: the name is that of the second."""
    whole = event_stream([chat_frame("from b"), 0.1, FINISH, DONE])
    async with pair(cache__enabled=True) as two:
        await two.first.stop()
        two.second.script(whole)
        responses = await herd(two.gateway, 10, STREAM)
        assert {told(response)[0] for response in responses} == {"b"}
        assert max(told(response)[1] for response in responses) == 2
        assert two.sent == (0, 1)


async def test_s3_what_becomes_of_a_refusal_is_noted_for_that_call() -> None:
    """A refusal that comes slowly is looked at while the second answers: its answer is stored, and nothing else."""
    busy = json_answer(REFUSAL, 503, [("retry-after", "0")])
    async with pair(cache__enabled=True, **NO_WAIT) as two:
        two.first.script(Answer(503, busy.headers, [b"x" * 10, 0.03, b"y"], Framing.CHUNKED))
        two.second.script(completion_answer("from b", before=0.08))
        response = await two.ask()
        assert (said(response), told(response)) == ("from b", ("b", 2))
        assert response.header(b"cache-status") == b"askonce; fwd=uri-miss; stored"
