"""U9: what opens a breaker, what does not, and what a fallback may say in the place of another."""

from proxy.upstream.breaker import State
from tests.fakes.answers import SILENCE, Answer, json_answer
from tests.fakes.pair import pair, said, told
from tests.fakes.polling import until

EAGER = {"breaker__failures": 2, "retry__base": 0.0, "breaker__cool_down": 30.0, "breaker__longest": 30.0}
NO = {"error": {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": "invalid_api_key"}}


async def test_u9_an_impatient_client_opens_nothing() -> None:
    """A time-out that only the client asked for says nothing about the upstream."""
    async with pair(**EAGER) as two:
        two.first.script(SILENCE)
        for _ in range(4):
            response = await two.ask(headers=[("x-askonce-timeout-ms", "30")])
            assert (response.status, response.error_code) == (504, "upstream_timeout")
        assert two.state() is State.CLOSED


async def test_u9_a_time_out_of_ours_opens() -> None:
    """One that is configured counts, also where the client's own comes later."""
    async with pair(timeouts__first_byte=0.03, **EAGER) as two:
        two.first.script(SILENCE)
        for _ in range(2):
            await two.ask(headers=[("x-askonce-timeout-ms", "5000")])
        assert two.state() is State.OPEN


async def test_u1_a_stranger_does_not_speak_for_the_first() -> None:
    """A fallback that knows no key of the client's says 401; the client is told what the first said."""
    async with pair() as two:
        two.first.script(json_answer({"error": {"message": "Busy."}}, 503, [("retry-after", "30")]))
        two.second.script(json_answer(NO, 401))
        response = await two.ask()
        assert (response.status, response.header(b"retry-after"), told(response)) == (503, b"30", ("a", 2))


async def test_u1_nor_for_one_that_is_gone() -> None:
    """The same where the first could not be reached at all."""
    async with pair() as two:
        await two.first.stop()
        two.second.script(json_answer(NO, 403))
        response = await two.ask()
        assert (response.status, response.error_code) == (502, "upstream_unreachable")


async def test_u9_a_probe_finds_out_before_a_client() -> None:
    """With a probe the breaker opens while nobody asks, and closes once the upstream is well again."""
    probed = {"upstreams__a__probe__interval": 0.03, "breaker__failures": 2}
    async with pair(breaker__cool_down=0.05, breaker__longest=0.05, **probed) as two:
        two.first.script(Answer(500))
        await until(lambda: two.state() is not State.CLOSED, why="the breaker opens")
        assert said(await two.ask()) == "from b"
        two.first.script(Answer(404))
        await until(lambda: two.state() is State.CLOSED, why="the breaker closes")
        assert {request.target for request in two.first.requests} == {b"/v1/models"}
        assert await two.gateway.sample("askonce_upstream_probes_total", upstream="a", result="failed") >= 2
        assert await two.gateway.sample("askonce_upstream_probes_total", upstream="a", result="answered") >= 1
