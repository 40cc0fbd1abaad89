"""What tests of the cache ask, and how they ask it many times at once."""

import asyncio
import dataclasses
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from tests.fakes.answers import Answer, json_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, GatewayProcess
from tests.fakes.raw import RawClient, Response, compose

__all__ = ["KEY", "completion", "completion_answer", "herd", "status_of"]

KEY = ("authorization", "Bearer sk-one")
HERD_TIMEOUT = 20.0


def completion(text: str = "Hello", finish: str = "stop", **fields: Any) -> dict[str, Any]:
    """A whole chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": "m-2025",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        **fields,
    }


def completion_answer(text: str = "Hello", finish: str = "stop", **fields: Any) -> Answer:
    return dataclasses.replace(json_answer(completion(text, finish)), **fields)


def status_of(response: Response) -> str:
    """What `x-cache-status` says."""
    return (response.header(b"x-cache-status") or b"").decode()


async def herd(
    gateway: Gateway | GatewayProcess,
    count: int,
    body: object = CHAT,
    headers: Sequence[tuple[str, str]] = (KEY,),
    target: str = "/v1/chat/completions",
) -> list[Response]:
    """The answers to so many equal requests, sent at once on as many connections."""
    request = compose("POST", target, body, [*headers])
    async with AsyncExitStack() as stack:
        clients = [gateway.client(timeout=HERD_TIMEOUT) for _ in range(count)]
        for some in range(0, count, 100):
            await asyncio.gather(*(stack.enter_async_context(client) for client in clients[some : some + 100]))

        async def ask(client: RawClient) -> Response:
            await client.send(request)
            return await client.response()

        return list(await asyncio.gather(*map(ask, clients)))
