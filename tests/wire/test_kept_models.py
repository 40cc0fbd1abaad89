"""What is kept of models, and what a request does to it that changes one (RFC 9111 §4.4)."""

import dataclasses

import pytest

from tests.fakes.answers import Answer, json_answer
from tests.fakes.asking import KEY, status_of
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream import Request, ScriptedUpstream

MODEL = "/v1/models/ft:x"
LIST = "/v1/models"
OTHER = ("authorization", "Bearer sk-two")


class Shop:
    """An upstream with one model, until it is deleted; `refuses` is the status of what it will not do."""

    def __init__(self, refuses: int = 0) -> None:
        self.gone = False
        self.refuses = refuses

    def __call__(self, request: Request) -> Answer:
        if request.method == "DELETE":
            if self.refuses:
                return dataclasses.replace(json_answer({"error": {}}), status=self.refuses)
            self.gone = True
            return json_answer({"id": "ft:x", "object": "model", "deleted": True})
        model = {"id": "ft:x", "object": "model"}
        if request.target == LIST.encode():
            return json_answer({"object": "list", "data": [{"id": "m", "object": "model"}, *[model] * (not self.gone)]})
        return Answer(404) if self.gone else json_answer(model)


async def ask(gateway: Gateway, method: str, target: str, key: tuple[str, str] = KEY) -> Response:
    async with gateway.client() as client:
        return await client.ask(method, target, b"", [key])


async def kept(gateway: Gateway) -> list[str]:
    """What the cache says to who asks for each twice."""
    return [status_of(await ask(gateway, "GET", target)) for target in (LIST, MODEL) for _ in range(2)]


async def test_a_model_that_was_deleted_is_not_served_again(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Neither it nor the list; other models and other clients' answers stay."""
    gateway = await start(cache__enabled=True)
    upstream.script(Shop())
    assert await kept(gateway) == ["MISS", "HIT"] * 2
    for target, key in (("/v1/models/m", KEY), (LIST, OTHER)):
        await ask(gateway, "GET", target, key)
    assert (await ask(gateway, "DELETE", MODEL)).status == 200
    assert (await ask(gateway, "GET", MODEL)).status == 404
    assert [item["id"] for item in (await ask(gateway, "GET", LIST)).json()["data"]] == ["m"]
    assert status_of(await ask(gateway, "GET", "/v1/models/m")) == "HIT"
    assert status_of(await ask(gateway, "GET", LIST, OTHER)) == "HIT"


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_model_that_could_not_be_deleted_stays(
    start: StartGateway, upstream: ScriptedUpstream, status: int
) -> None:
    """Nothing has changed, and who may not delete it may not empty the cache either."""
    gateway = await start(cache__enabled=True)
    upstream.script(Shop(refuses=status))
    assert await kept(gateway) == ["MISS", "HIT"] * 2
    assert (await ask(gateway, "DELETE", MODEL)).status == status
    assert await kept(gateway) == ["HIT"] * 4


async def test_other_workers_forget_it_as_well(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """By the time at which the client is told that it is gone."""
    one, other = [await start(cache__enabled=True, redis__url=redis_server.url) for _ in range(2)]
    upstream.script(Shop())
    await kept(one)
    assert (await kept(other))[1::2] == ["HIT", "HIT"]
    assert (await ask(one, "DELETE", MODEL)).status == 200
    assert (await ask(other, "GET", MODEL)).status == 404
