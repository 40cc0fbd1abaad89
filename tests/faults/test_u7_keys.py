"""U7: an upstream's 429 and 401 cost the key that met them its turn, and never the upstream its breaker."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from proxy.upstream.breaker import State
from tests.fakes.answers import Answer, json_answer
from tests.fakes.asking import completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.pair import Pair, pair, said, told
from tests.fakes.upstream import Request

REFUSAL = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}
Answering = Callable[[Request], Answer]
STRAY = ("x-stray", "1")
TWO_KEYS = {"upstreams__a__keys": ["sk-one", "sk-two"], "routes__main__groups": ["a"]}


def refusing(status: int, *keys: str, retry_after: str = "30", model: str = "") -> Answering:
    """An upstream that refuses requests with these keys; those alone that say so, where they are for one model."""
    headers = [("retry-after", retry_after)] if retry_after else []

    def answer(request: Request) -> Answer:
        refused = _key(request) in keys and model.encode() in (b"", request.header(b"x-about"))
        return json_answer(REFUSAL, status, headers) if refused else completion_answer("from a")

    return answer


def offended(status: int) -> Answering:
    """An upstream that refuses what has a stray field, whatever the key."""

    def answer(request: Request) -> Answer:
        return json_answer(REFUSAL, status) if request.header(STRAY[0].encode()) else completion_answer("from a")

    return answer


def _key(request: Request) -> str:
    return (request.header(b"authorization") or b"").decode().removeprefix("Bearer ")


def keys_of(two: Pair) -> list[str]:
    """Those that the first upstream was sent, in order."""
    return [_key(request) for request in two.first.requests]


async def test_u7_keys_take_turns() -> None:
    """Each is used as often as the others, and the client's own never."""
    async with pair(**TWO_KEYS) as two:
        for _ in range(6):
            await two.ask()
        assert Counter(keys_of(two)) == {"sk-one": 3, "sk-two": 3}


async def test_u7_the_next_key_is_used_at_once() -> None:
    """The client sees no 429, its key rests for that model, and the breaker counts nothing."""
    async with pair(**TWO_KEYS) as two:
        two.first.script(refusing(429, "sk-one"))
        responses = [await two.ask() for _ in range(4)]
        assert [told(response) for response in responses] == [("a", 2), ("a", 1), ("a", 1), ("a", 1)]
        assert keys_of(two) == ["sk-one", *["sk-two"] * 4]
        assert await two.gateway.sample("askonce_upstream_keys_resting", upstream="a") == 1
        breaker = two.endpoint().breaker
        assert breaker is not None
        assert (breaker.state, breaker.failing) == (State.CLOSED, False)


async def test_u7_other_models_go_on() -> None:
    """A key rests for the model whose limit it met, and for no other."""
    async with pair(**TWO_KEYS) as two:
        two.first.script(refusing(429, "sk-one", "sk-two", model="m"))
        about = [("x-about", "m")]
        assert (await two.ask(headers=about)).status == 429
        response = await two.ask(headers=about)
        assert (response.status, response.error_code) == (503, "upstream_unavailable")
        before = len(two.first.requests)
        for _ in range(2):
            assert (await two.ask(CHAT | {"model": "other"})).status == 200
        assert keys_of(two)[before:] in (["sk-one", "sk-two"], ["sk-two", "sk-one"])


async def test_u7_retry_after_is_passed_on() -> None:
    """Where nobody else can be asked: as the upstream says it, then of what is left of it."""
    async with pair(upstreams__a__key="sk-one", routes__main__groups=["a"]) as two:
        two.first.script(refusing(429, "sk-one", retry_after="30"))
        response = await two.ask()
        assert (response.status, response.header(b"retry-after")) == (429, b"30")
        response = await two.ask()
        assert (response.status, response.error_code) == (503, "upstream_unavailable")
        assert response.header(b"retry-after") in (b"30", b"29")
        assert two.sent == (1, 0)
        assert await two.gateway.sample("askonce_upstream_unsent_total", upstream="a") == 1


async def test_u7_without_a_word_of_when_the_only_key_goes_on() -> None:
    """An upstream that says nothing is asked with its one key as often as clients come."""
    async with pair(upstreams__a__key="sk-one", routes__main__groups=["a"]) as two:
        two.first.script(refusing(429, "sk-one", retry_after=""), completion_answer("from a"))
        assert [(await two.ask()).status for _ in range(2)] == [429, 200]


async def test_u7_the_next_upstream_is_asked() -> None:
    """One whose only key met its limit is left out until then, and the second answers without a failed call."""
    async with pair(upstreams__a__key="sk-one", upstreams__b__key="sk-b") as two:
        two.first.script(refusing(429, "sk-one"))
        assert [told(await two.ask()) for _ in range(3)] == [("b", 2), ("b", 1), ("b", 1)]
        assert two.sent == (1, 3)
        assert two.state() is State.CLOSED


async def test_u7_a_limit_of_every_client_is_no_end() -> None:
    """The clients' own keys meet theirs at the first, one after another: all are served, whatever the retry budget."""
    async with pair() as two:
        two.first.script(json_answer(REFUSAL, 429))
        assert {told(await two.ask()) for _ in range(40)} == {("b", 2)}


async def test_u7_a_key_that_is_refused_is_suspended() -> None:
    """401 for one of several: it is left alone for all models, and the next is used at once."""
    async with pair(**TWO_KEYS) as two:
        two.first.script(refusing(401, "sk-one", retry_after=""))
        for model in ("m", "m", "other"):
            assert (await two.ask(CHAT | {"model": model})).status == 200
        assert keys_of(two) == ["sk-one", *["sk-two"] * 3]
        assert two.state() is State.CLOSED


@pytest.mark.parametrize("status", [401, 403])
async def test_u7_one_client_s_refusals_are_its_own(status: int) -> None:
    """What every key is refused for costs none its turn: that client hears it, and all others are served with both."""
    async with pair(**TWO_KEYS) as two:
        two.first.script(offended(status))
        assert told(response := await two.ask(headers=[STRAY])) == ("a", 2)
        assert (response.status, response.error_code) == (status, "c")
        await asyncio.gather(*[two.ask(headers=[STRAY]) for _ in range(6)])
        assert await two.gateway.sample("askonce_upstream_keys_resting", upstream="a") == 0
        before = len(two.first.requests)
        assert [(await two.ask()).status for _ in range(6)] == [200] * 6
        assert Counter(keys_of(two)[before:]) == {"sk-one": 3, "sk-two": 3}


async def test_u7_one_client_s_refusals_beyond_the_retry_budget() -> None:
    """Which of them were its own can't be found out any more, and yet everybody else is served, at the first try."""
    async with pair(**TWO_KEYS) as two:
        two.first.script(offended(401))
        answers = [await two.ask(headers=[STRAY]) for _ in range(30)]
        assert {told(response)[1] for response in answers} == {1, 2}
        assert await two.gateway.sample("askonce_upstream_keys_resting", upstream="a") == 0
        assert [told(await two.ask()) for _ in range(6)] == [("a", 1)] * 6


@pytest.mark.parametrize("status", [401, 403])
async def test_u7_a_dead_key_rests_whatever_clients_send(status: int) -> None:
    """Beside a good one, which goes on."""
    async with pair(**TWO_KEYS) as two:
        dead, stray = refusing(status, "sk-one"), offended(status)
        two.first.script(lambda request: stray(request) if request.header(b"x-stray") else dead(request))
        for _ in range(3):
            assert (await two.ask(headers=[STRAY])).status == status
            assert (await two.ask()).status == 200
        assert await two.gateway.sample("askonce_upstream_keys_resting", upstream="a") == 1
        before = len(two.first.requests)
        assert [(await two.ask()).status for _ in range(3)] == [200] * 3
        assert keys_of(two)[before:] == ["sk-two"] * 3


async def test_u7_a_refused_key_is_let_alone_while_the_next_is_asked() -> None:
    """Nobody else is sent with it until it is known whose fault it was."""
    held = asyncio.Event()
    async with pair(**TWO_KEYS) as two:
        two.first.script(json_answer(REFUSAL, 401), completion_answer(before=held))
        flying = [asyncio.ensure_future(two.ask())]  # noqa: TID251  (awaited below)
        await two.first.received(2)
        flying += [asyncio.ensure_future(two.ask()) for _ in range(3)]  # noqa: TID251  (awaited below)
        await two.first.received(5)
        held.set()
        assert [response.status for response in await asyncio.gather(*flying)] == [200] * 4
        assert keys_of(two) == ["sk-one", *["sk-two"] * 4]


async def test_u7_when_every_key_is_dead() -> None:
    """Each client hears the upstream's own 401, after one try with each key; a mended one serves at once."""
    async with pair(**TWO_KEYS) as two:
        two.first.script(refusing(401, "sk-one", "sk-two"))
        answers = [await two.ask() for _ in range(4)]
        assert [(response.status, response.error_code, told(response)) for response in answers] == [
            (401, "c", ("a", 2))
        ] * 4
        two.first.script(refusing(401, "sk-one"))
        assert (await two.ask()).status == 200


async def test_u7_the_only_key_is_never_suspended() -> None:
    """Its operator may mend it at the upstream: 401 is relayed each time, and asked again."""
    async with pair(upstreams__a__key="sk-one", routes__main__groups=["a"]) as two:
        two.first.script(refusing(401, "sk-one", retry_after=""))
        assert [(await two.ask()).status for _ in range(3)] == [401] * 3
        assert two.sent == (3, 0)


async def test_h17_a_client_s_own_key_goes_to_the_first_alone() -> None:
    """It is for whom the client asks: whoever stands in for that one is not told it, in no field."""
    async with pair() as two:
        await two.ask()
        await two.first.stop()
        headers = [("authorization", "Bearer sk-client-0123456789"), ("x-of-mine", "is sk-client-0123456789 there")]
        assert told(await two.ask(headers=headers)) == ("b", 2)
        assert two.first.request.header(b"authorization") == b"Bearer sk-one"
        assert b"sk-client" not in two.second.request.raw_head


async def test_h17_each_upstream_has_its_own_key() -> None:
    """In the field that it takes it in."""
    settings = {"upstreams__a__key": "sk-a", "upstreams__b__key": "sk-b", "upstreams__b__key_field": "api-key"}
    async with pair(**settings) as two:
        await two.ask()
        await two.first.stop()
        assert said(await two.ask()) == "from b"
        assert two.first.request.header(b"authorization") == b"Bearer sk-a"
        assert two.second.request.all(b"authorization") == []
        assert two.second.request.header(b"api-key") == b"sk-b"


BILLED = [("openai-organization", "org-client"), ("openai-project", "proj-client")]


def billed(two: Pair) -> list[bytes | None]:
    """Whom the last request to the first upstream was to be billed to."""
    return [two.first.requests[-1].header(name.encode()) for name, _ in BILLED]


async def test_h17_whom_a_client_s_key_bills_is_not_told_with_another() -> None:
    """With the gateway's key, organisation and project are those from the configuration, or none."""
    async with pair(**TWO_KEYS) as two:
        await two.ask(headers=BILLED)
        assert billed(two) == [None, None]
        two.reload(upstreams__a__organization="org-ours")
        await two.ask(headers=BILLED)
        assert billed(two) == [b"org-ours", None]


async def test_h17_whom_a_client_s_key_bills_goes_with_it() -> None:
    """In pass-through they go as they came."""
    async with pair() as two:
        await two.ask(headers=[("authorization", "Bearer sk-client"), *BILLED])
        assert billed(two) == [b"org-client", b"proj-client"]


async def test_u7_a_new_key_is_in_effect_at_once() -> None:
    """A reload rotates it: what is in flight ends with the old one, and what rested rests no more."""
    held = asyncio.Event()
    async with pair(upstreams__a__key="sk-one", routes__main__groups=["a"]) as two:
        two.first.script(completion_answer(before=held), refusing(429, "sk-one"))
        flying = asyncio.ensure_future(two.ask())  # noqa: TID251  (awaited below)
        await two.first.received()
        assert (await two.ask()).status == 429
        two.reload(upstreams__a__key="sk-new")
        assert (await two.ask()).status == 200
        held.set()
        assert (await flying).status == 200
        assert keys_of(two) == ["sk-one", "sk-one", "sk-new"]


@pytest.mark.parametrize("status", [401, 429])
async def test_x1_keys_are_told_nobody(status: int, capfd: pytest.CaptureFixture[str]) -> None:
    """X1: no log line, answer, metric or repr holds one, whatever became of it."""
    async with pair(**TWO_KEYS) as two:
        two.first.script(refusing(status, "sk-one", "sk-two"))
        responses = [await two.ask() for _ in range(3)]
        metrics = await two.gateway.samples()
        shown = repr((responses, metrics, two.endpoint(), two.endpoint().keys, two.gateway.app._upstreams))
    assert "sk-one" not in shown + capfd.readouterr().out
