"""A6: models that go by other names: what arrives upstream is renamed, and who may use which is kept."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.answers import event_stream
from tests.fakes.asking import herd
from tests.fakes.frames import CHAT, STREAM
from tests.fakes.pair import pair, told
from tests.fakes.streams import STREAMS

NAMES = {"aliases__fast": "m-small", "upstreams__a__rename__m-small": "a-small", "upstreams__b__rename__m-small": "b/s"}
BODY = b'{ "messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}], "model" : "%b",\n "n": 1.0 }'


@pytest.mark.parametrize("asked", [b"fast", b"m-small"])
async def test_a6_each_upstream_is_told_its_own_name(asked: bytes) -> None:
    """And not a byte of the client's body but that; `x-askonce-model` says under which it was asked."""
    async with pair(**NAMES) as two:
        headers = [("content-type", "application/json")]
        response = await two.ask(BODY % asked, headers)
        assert (told(response), response.header(b"x-askonce-model")) == (("a", 1), b"a-small")
        await two.first.stop()
        response = await two.ask(BODY % asked, headers)
        assert (told(response), response.header(b"x-askonce-model")) == (("b", 2), b"b/s")
        assert (two.first.request.body, two.second.request.body) == (BODY % b"a-small", BODY % b"b/s")


@pytest.mark.parametrize(
    ("models", "asked", "status"),
    [("fast", "fast", 200), ("m-small", "fast", 200), ("m-small", "m-small", 200), ("fast", "m-small", 404)],
)
async def test_a6_a_key_may_use_a_model_by_either_name(tmp_path: Path, models: str, asked: str, status: int) -> None:
    """That it was given; one for the alias alone may not go by what it stands for today."""
    async with pair(tmp_path, **NAMES) as two:
        alice = await two.team.key(models=[models])
        assert (await two.ask(CHAT | {"model": asked}, alice.headers)).status == status
        assert sum(two.sent) == (status == 200)


async def test_a6_an_upstream_s_names_are_no_client_s(tmp_path: Path) -> None:
    """Nobody is refused, or allowed, a model by what an upstream calls it."""
    async with pair(tmp_path, **NAMES) as two:
        alice = await two.team.key(models=["a-small", "b/s"])
        response = await two.ask(CHAT | {"model": "fast"}, alice.headers)
        assert (response.status, response.error_code) == (404, "model_not_found")


async def test_a6_an_alias_shares_the_answers_of_what_it_stands_for() -> None:
    """One call for both names, stored under the upstream that made it."""
    async with pair(cache__enabled=True, **NAMES) as two:
        await two.ask(CHAT | {"model": "fast"})
        response = await two.ask(CHAT | {"model": "m-small"})
        assert response.header(b"x-cache-status") == b"HIT"
        assert two.sent == (1, 0)


OWN: dict[str, Any] = {
    f"upstreams__a__prices__{model}__{kind}": price
    for model, price in (("m-small", 100.0), ("a-small", 1.0))
    for kind in ("input", "output")
}


@pytest.mark.parametrize("again", ["m-small", "fast"])
async def test_a6_a_stored_answer_saves_the_price_of_who_made_it(tmp_path: Path, again: str) -> None:
    """Not that of the model which its client asked for; and says by which name it was made."""
    async with pair(tmp_path, cache__enabled=True, **NAMES, **OWN) as two:
        alice = await two.team.key()
        made = await two.ask(CHAT | {"model": "m-small"}, alice.headers)
        stored = await two.ask(CHAT | {"model": again}, alice.headers)
        assert (made.header(b"x-askonce-model"), stored.header(b"x-askonce-model")) == (b"a-small", b"a-small")
        assert made.header(b"x-askonce-cost-usd") == stored.header(b"x-askonce-saved-usd") == b"0.000018"
        await two.gateway.settled()
        assert await two.gateway.sample("askonce_saved_usd_total") == pytest.approx(0.000018)


async def test_a6_a_stream_that_is_shared_saves_the_price_of_who_made_it(tmp_path: Path) -> None:
    """While it is made: those who follow are told its name, and the ledger what they saved."""
    async with pair(tmp_path, cache__enabled=True, **NAMES, **OWN) as two:
        alice = await two.team.key()
        two.first.script(event_stream(STREAMS["chat"].frames, before=0.05))
        answers = await herd(two.gateway, 3, STREAM | {"model": "fast"}, alice.headers)
        assert {answer.header(b"x-askonce-model") for answer in answers} == {b"a-small"}
        rows = await two.team.rows(3)
        (cost,) = {float(row["cost_usd"]) for row in rows} - {0.0}
        assert sorted(float(row["saved_usd"]) for row in rows) == [0.0, cost, cost]


async def test_a6_a_route_for_each() -> None:
    """Patterns lead to different upstreams, the most specific first; what no route has is E(404)."""
    settings = {
        "routes__main__models": "m-*", "routes__main__groups": ["a"],
        "routes__large__models": "m-large", "routes__large__groups": ["b"],
        "upstreams__a__models": "a-*", "upstreams__b__models": "b-*",
    }  # fmt: skip
    async with pair(**settings) as two:
        asked = ["m-small", "m-large", "a-own", "b-own"]
        assert [told(await two.ask(CHAT | {"model": name}))[0] for name in asked] == ["a", "b", "a", "b"]
        response = await two.ask(CHAT | {"model": "nobody-s"})
        assert (response.status, response.error_code) == (404, "model_not_found")
