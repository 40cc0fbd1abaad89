"""The official SDK, of whoever has a virtual key: nothing in it tells that the key is not OpenAI's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from tests.fakes.answers import event_stream, json_answer
from tests.fakes.asking import completion_answer
from tests.fakes.frames import DONE, USAGE
from tests.fakes.sdk import asynchronous
from tests.fakes.streams.writing import chunk
from tests.fakes.team import Member, StartTeam, Team
from tests.fakes.upstream import ScriptedUpstream

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
MODELS = {"object": "list", "data": [{"id": name, "object": "model"} for name in ("m", "m-large", "gpt-x")]}
VECTOR = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
VECTORS = {"object": "list", "model": "m", "data": [VECTOR], "usage": {"prompt_tokens": 3, "total_tokens": 3}}


@asynccontextmanager
async def sdk(team: Team[Any], member: Member) -> AsyncIterator[openai.AsyncOpenAI]:
    async with asynchronous(team.gateway.url, member.secret) as client:
        yield client


async def test_what_a_key_may(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Chat, stream, embeddings, the list of its models; the books have each."""
    upstream.script(
        completion_answer(),
        event_stream([chunk({"content": "Hello"}), chunk({}, "stop"), USAGE, DONE]),
        json_answer(VECTORS),
        json_answer(MODELS),
    )
    team = await start_team(upstreams__test__key="sk-upstream", cache__enabled=True)
    alice = await team.key(models=["m*"], budgets={"usd_in_all": 1}, limits={"requests_per_minute": 100})
    async with sdk(team, alice) as client:
        made = await client.chat.completions.create(**ASKED)
        stream = await client.chat.completions.create(**ASKED, stream=True, seed=1)
        text = "".join([each.choices[0].delta.content or "" async for each in stream])
        vectors = await client.embeddings.create(model="m", input="a", encoding_format="float")
        names = [model.id async for model in client.models.list()]
    assert (made.choices[0].message.content, text, vectors.data[0].embedding) == ("Hello", "Hello", [0.5, 0.25])
    assert names == ["m", "m-large"]
    assert {request.header(b"authorization") for request in upstream.requests} == {b"Bearer sk-upstream"}
    assert [(row["key"], row["cost_usd"]) for row in await team.rows(4)] == [
        (alice.id, cost) for cost in ("0.000081", "0.000081", "0.000003", "0.00")
    ]


async def test_what_an_answer_costs(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Is in the raw answer's headers: what it cost and what is left of the budget, and then what a hit has saved."""
    upstream.script(completion_answer())
    team = await start_team(cache__enabled=True)
    async with sdk(team, await team.key(budgets={"usd_in_all": 1})) as client:
        asked = client.chat.completions.with_raw_response
        first, second = await asked.create(**ASKED), await asked.create(**ASKED)
    assert first.headers["x-askonce-cost-usd"] == "0.000081"
    assert first.headers["x-askonce-budget-remaining-usd"] == "0.999919"
    assert first.parse().choices[0].message.content == "Hello"
    assert second.headers["x-askonce-saved-usd"] == "0.000081"


async def test_what_a_key_may_not(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Raises what OpenAI's own refusals do."""
    upstream.script(completion_answer())
    team = await start_team()
    bound = await team.key("bound", models=["m"], endpoints=["chat/completions"])
    poor = await team.key("poor", budgets={"usd_in_all": 0.000001})
    brief = await team.key("brief", limits={"requests_per_day": 1})
    await team.ask(brief)
    async with sdk(team, Member("", "sk-ask-none")) as nobody:
        with pytest.raises(openai.AuthenticationError) as unknown:
            await nobody.chat.completions.create(**ASKED)
    async with sdk(team, bound) as client:
        with pytest.raises(openai.NotFoundError) as model:
            await client.chat.completions.create(**ASKED | {"model": "gpt-x"})
        with pytest.raises(openai.PermissionDeniedError) as endpoint:
            await client.models.list()
    async with sdk(team, poor) as client, sdk(team, brief) as other:
        with pytest.raises(openai.RateLimitError) as budget:
            await client.chat.completions.create(**ASKED)
        with pytest.raises(openai.RateLimitError) as limit:
            await other.chat.completions.create(**ASKED)
    assert [each.value.code for each in (unknown, model, endpoint, budget, limit)] == [
        *("invalid_api_key", "model_not_found", "endpoint_not_allowed", "insufficient_quota", "rate_limit_exceeded")
    ]
    assert budget.value.response.headers["x-should-retry"] == "false"
    assert int(limit.value.response.headers["retry-after"]) > 0
