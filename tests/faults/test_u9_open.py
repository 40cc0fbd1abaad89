"""U9: what is known to fail is not asked: another answers, or what is stored, or 503 with the time to come back."""

import asyncio

import pytest

from proxy.upstream.breaker import State
from tests.fakes.answers import RESET, SILENCE, Answer, End, event_stream, json_answer
from tests.fakes.asking import KEY, completion_answer, status_of
from tests.fakes.frames import CHAT, DONE, STREAM, chat_frame
from tests.fakes.pair import Pair, pair, said, told
from tests.fakes.polling import until
from tests.fakes.raw import RawClient, Response

SOON = {"breaker__failures": 2, "retry__base": 0.0}
ALONE = {"routes__main__groups": ["a"], **SOON}
ERROR = {"error": {"message": "m", "type": "server_error", "param": None, "code": "c"}}


async def opened(two: Pair, name: str = "a") -> None:
    """Until its breaker is open."""
    for _ in range(10):
        if two.state(name) is State.OPEN:
            return
        await two.ask(headers=[KEY, ("cache-control", "no-store")])
    raise AssertionError(f"the breaker of {name} is {two.state(name).value}")


async def readyz(two: Pair) -> Response:
    async with RawClient(two.gateway.admin_url) as admin:
        return await admin.ask("GET", "/readyz")


@pytest.mark.parametrize("end", ["refused", "reset", "silence", "500"])
async def test_u9_every_failure_counts(end: str) -> None:
    """Refused connections, resets, time-outs and 5xx: then E(503, upstream_unavailable), and nothing is sent."""
    async with pair(timeouts__first_byte=0.05, **ALONE) as two:
        two.first.script({"reset": RESET, "silence": SILENCE}.get(end, json_answer(ERROR, 500)))
        if end == "refused":
            await two.first.stop()
        await opened(two)
        sent = two.sent
        response = await two.ask()
        assert (response.status, response.error_code) == (503, "upstream_unavailable")
        assert response.json()["error"]["type"] == "upstream_error"
        assert response.header(b"x-should-retry") is None
        assert two.sent == sent
        assert told(response) == ("", 0)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 501])
async def test_u9_what_says_nothing_of_its_health_does_not_count(status: int) -> None:
    """Refusals of a request, limits, and what an upstream cannot do."""
    async with pair(**ALONE) as two:
        two.first.script(json_answer(ERROR, status))
        for _ in range(5):
            assert (await two.ask()).status == status
        assert two.state() is State.CLOSED


@pytest.mark.parametrize("status", [200, 400, 429, 504])
async def test_u9_time_outs_count_as_of_when_they_were_asked(status: int) -> None:
    """Several that end together, and of those asked after them one was answered well, refused, or not answered."""
    later = {200: completion_answer(), 504: SILENCE}.get(status, json_answer(ERROR, status))
    async with pair(timeouts__first_byte=0.3, **ALONE) as two:
        two.first.script(SILENCE, SILENCE, later)
        silent = [asyncio.get_running_loop().create_task(two.ask()) for _ in range(2)]
        await until(lambda: len(two.first.requests) == 2)
        assert (await two.ask()).status == status
        assert [(await each).status for each in silent] == [504, 504]
        assert two.state() is (State.CLOSED if status == 200 else State.OPEN)
        assert two.endpoint().proven is (status == 200)


@pytest.mark.parametrize("younger", ["whole", "stream", "broken"])
async def test_u9_streams_that_break_count_as_of_when_they_were_asked(younger: str) -> None:
    """Those of one server of many say nothing of the others, if somebody has been answered whole since."""
    cut = asyncio.Event()
    async with pair(**ALONE) as two, asyncio.TaskGroup() as group:
        two.first.script(event_stream([chat_frame("x"), cut], end=End.RESET, terminated=False))
        old = [group.create_task(two.ask(STREAM)) for _ in range(2)]
        await until(lambda: two.endpoint().proven and len(two.first.requests) == 2)
        whole = event_stream([chat_frame("x"), DONE])
        two.first.script({"whole": completion_answer(), "stream": whole, "broken": RESET}[younger])
        await two.ask(CHAT if younger == "whole" else STREAM)
        cut.set()
        assert [(await each).whole for each in old] == [True, True]
        await until(lambda: two.endpoint().gate.busy == 0)
        assert two.state() is (State.OPEN if younger == "broken" else State.CLOSED)


async def test_u9_retry_after_is_true() -> None:
    """Within a second of the cool-down; the soonest of several that are open."""
    async with pair(**SOON, breaker__cool_down=20.0, breaker__longest=20.0) as two:
        await two.first.stop()
        await two.second.stop()
        await opened(two, "a")
        await opened(two, "b")
        first, second = two.endpoint("a").breaker, two.endpoint("b").breaker
        assert first is not None
        assert second is not None
        response = await two.ask()
        left = min(first.retry_after(), second.retry_after())
        assert response.status == 503
        assert abs(float(response.header(b"retry-after") or 0) - left) <= 1


async def test_u9_the_second_answers() -> None:
    """Without a call of the first, which costs the retry budget nothing."""
    async with pair(**SOON) as two:
        await two.first.stop()
        await opened(two)
        assert {told(await two.ask()) for _ in range(40)} == {("b", 1)}
        assert two.endpoint("b").budget.take()


async def test_u9_what_the_second_answered_is_a_hit() -> None:
    """While the first is left alone its requests are the second's, stored answers included."""
    async with pair(cache__enabled=True, **SOON) as two:
        await two.first.stop()
        await opened(two)
        assert [status_of(await two.ask()) for _ in range(2)] == ["MISS", "HIT"]
        assert told(await two.ask()) == ("b", 0)


async def test_u9_stale_where_nobody_else_answers() -> None:
    """A fallback goes before what is past its time; that goes before 503."""
    async with pair(
        cache__enabled=True, cache__ttl__chat_completions=0.01, cache__stale_if_error=60, breaker__cool_down=30, **SOON
    ) as two:
        await two.ask()
        await two.first.stop()
        response = await two.ask()
        while status_of(response) == "HIT":
            response = await two.ask()
        assert (said(response), status_of(response)) == ("from b", "MISS")
        await opened(two)
        await two.second.stop()
        await opened(two, "b")
        response = await two.ask()
        while status_of(response) == "HIT":
            response = await two.ask()
        assert (response.status, said(response), status_of(response)) == (200, "from a", "STALE")
        assert told(response) == ("a", 0)
        response = await two.ask(CHAT | {"n": 2})
        assert (response.status, response.error_code) == (503, "upstream_unavailable")


async def test_u9_a_reload_forgets_nothing() -> None:
    """An open breaker stays open, and its cool-down goes on, unless its upstream is elsewhere from now on."""
    async with pair(breaker__cool_down=30, **SOON) as two:
        await two.first.stop()
        await opened(two)
        before = two.endpoint().breaker
        two.reload(log__level="warning")
        assert two.endpoint().breaker is before
        assert told(await two.ask()) == ("b", 1)
        two.reload(upstreams__a__base_url=two.second.url)
        assert two.state() is State.CLOSED
        assert told(await two.ask()) == ("a", 1)


async def test_u9_readyz_says_that_nobody_serves_a_required_route() -> None:
    """503 `unserved` while all of its upstreams are left alone, and 200 again once one of them may be asked."""
    settings = {**SOON, "routes__main__required": True, "breaker__cool_down": 0.3, "breaker__longest": 0.3}
    async with pair(**settings) as two:
        await two.first.stop()
        await opened(two, "a")
        assert (await readyz(two)).status == 200
        await two.second.stop()
        await opened(two, "b")
        response = await readyz(two)
        assert (response.status, response.json()) == (503, {"status": "unserved"})
        await until(lambda: not two.gateway.app._upstreams.unserved())
        assert (await readyz(two)).status == 200


async def test_u9_a_route_that_is_not_required_takes_nobody_down() -> None:
    """The gateway stays ready: its other routes serve."""
    async with pair(breaker__cool_down=30, **SOON) as two:
        await two.first.stop()
        await two.second.stop()
        await opened(two, "a")
        await opened(two, "b")
        assert (await readyz(two)).status == 200


async def test_u9_a_probe_finds_out_before_a_client() -> None:
    """With probes an upstream that is down is open, and closed once it is back, and nobody's request was at stake."""
    settings = {f"upstreams__a__probe__{name}": value for name, value in {"interval": 0.03, "path": "/health"}.items()}
    async with pair(breaker__cool_down=0.05, breaker__longest=0.05, **SOON, **settings) as two:
        await two.first.stop()
        await until(lambda: two.state() is not State.CLOSED)
        await two.first.start()
        await until(lambda: two.state() is State.CLOSED)
        assert {request.target for request in two.first.requests} == {b"/v1/health"}
        two.first.script(completion_answer("from a"))
        assert told(await two.ask()) == ("a", 1)


async def test_u9_who_breaks_off_its_answers_is_left_alone() -> None:
    """A head that looks well is no success if its answers never end: by their share over the window."""
    broken = Answer(200, [("content-type", "application/json")], b"x", length=1_000, end=End.CLOSE)
    async with pair(breaker__least=4, **SOON) as two:
        two.first.script(broken)
        await opened(two)
        assert said(await two.ask()) == "from b"


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("before", [[], [chat_frame("a")]], ids=["alone", "late"])
async def test_u9_an_error_in_a_stream_counts(before: list[bytes], *, cached: bool) -> None:
    """Whether it is all that comes, or comes late: nothing else of such an answer says that it failed."""
    error = b'data: {"error":{"type":"server_error","message":"m"}}\n\n'
    async with pair(cache__enabled=cached, **ALONE) as two:
        two.first.script(event_stream([*before, error, DONE]))
        for _ in range(2):
            assert (await two.ask(STREAM)).status == 200
        assert two.state() is State.OPEN


@pytest.mark.parametrize("kind", ["invalid_request_error", "rate_limit_error"])
async def test_u9_a_refusal_in_a_stream_does_not_count(kind: str) -> None:
    """As a status of 4xx does not."""
    async with pair(**ALONE) as two:
        two.first.script(event_stream([b'data: {"error":{"type":"%b","message":"m"}}\n\n' % kind.encode(), DONE]))
        for _ in range(5):
            assert (await two.ask(STREAM)).status == 200
        assert two.state() is State.CLOSED
