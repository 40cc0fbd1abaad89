"""A6: models that go by other names: what arrives upstream is renamed, and who may use which is kept."""

from pathlib import Path

import pytest

from tests.fakes.frames import CHAT
from tests.fakes.pair import pair, told

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
