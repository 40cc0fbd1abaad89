"""Asking a gateway questions that are alike, and waiting until it has learnt of them."""

import asyncio
from typing import Any

from tests.fakes.admin import TOKEN
from tests.fakes.asking import KEY
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import RawClient, Response

__all__ = ["BREAD", "LOAVES", "ROLLS", "ask", "counted", "learnt", "started", "told"]

BREAD = "How do I bake sourdough bread?"
ROLLS = "How do I bake sourdough bread rolls?"
LOAVES = "How do I bake rye sourdough bread loaves?"
"""They are near and not the same, of which no rule says that it matters: answers tell."""


async def ask(client: RawClient, question: str, *headers: tuple[str, str], **members: Any) -> Response:
    body = {"model": "m", "messages": [{"role": "user", "content": question}], **members}
    return await client.ask(body=body, headers=[KEY, *headers])


def told(response: Response, name: str) -> str:
    return (response.header(f"x-askonce-{name}".encode()) or b"").decode()


async def started(start: StartGateway, **settings: Any) -> Gateway:
    patient = {"semantic__deadline": 5.0, "cache__enabled": True, "semantic__mode": "on", "admin__token": TOKEN}
    return await start(**{**patient, **settings})


async def learnt(gateway: Gateway, count: int = 1) -> None:
    """Until so many questions can be found."""
    for _ in range(500):
        if await gateway.sample("askonce_semantic_questions") >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it was not learnt")


async def counted(gateway: Gateway, name: str, count: int = 1, **labels: str) -> None:
    """Until a metric says so."""
    for _ in range(500):
        if await gateway.sample(name, **labels) >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name}{labels} never was {count}: {await gateway.samples()}")
