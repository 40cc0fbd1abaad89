"""An upstream of WebSocket sessions that answers each order, or whenever it has heard enough, and counts that."""

import asyncio
import json
from typing import Any, final

from websockets.asyncio.server import ServerConnection

from tests.fakes.budgets import usd

__all__ = ["ANSWER", "APPEND", "COST", "Talker", "order"]

ANSWER = 1_000
"""Tokens of one."""
COST = 10_000_000
"""Nano-dollars."""
APPEND = json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA" * 16})


def order(**fields: Any) -> str:
    """For one answer, on either route: bounded to what it comes to."""
    bound = {"max_output_tokens": ANSWER}
    return json.dumps({"type": "response.create", "model": "m", "response": bound} | bound | fields)


@final
class Talker:
    """`hears`: answers by itself once it has heard so many pieces of sound; `refuses` orders with an error. It answers
    one order after the other, each after `delay` seconds, unless the `gate` is closed.
    """

    def __init__(self, *, delay: float = 0.0, hears: int = 0, refuses: bool = False) -> None:
        self.delay = delay
        self.hears = hears
        self.refuses = refuses
        self.served = 0
        self.heard: list[str] = []
        """Types of the events that came."""
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def spent(self) -> float:
        """USD."""
        return usd(self.served * COST)

    async def __call__(self, server: ServerConnection) -> None:
        sound = 0
        async for message in server:
            kind = json.loads(message)["type"]
            self.heard.append(kind)
            sound += kind == "input_audio_buffer.append"
            if kind == "response.create" and self.refuses:
                await server.send(json.dumps({"type": "error", "error": {"code": "no"}}))
            elif kind == "response.create" or (self.hears and sound >= self.hears):
                sound = 0
                await self._answer(server)

    async def _answer(self, server: ServerConnection) -> None:
        await server.send(
            json.dumps({"type": "response.created", "response": {"status": "in_progress", "usage": None}})
        )
        gate, gone = asyncio.Task(self.gate.wait()), asyncio.Task(server.wait_closed())
        await asyncio.wait([gate, gone], return_when=asyncio.FIRST_COMPLETED)
        if not gate.cancel():
            await gate
        gone.cancel()
        await asyncio.sleep(self.delay)
        self.served += 1
        usage = {"input_tokens": 0, "output_tokens": ANSWER, "total_tokens": ANSWER}
        await server.send(json.dumps({"type": "response.done", "response": {"status": "completed", "usage": usage}}))
