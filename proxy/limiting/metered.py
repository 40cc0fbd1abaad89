"""What the pipeline is given of limits and money, and streams that tell what they used."""

import asyncio
from functools import partial
from typing import Final, final

from proxy.exchange import Exchange, Reply
from proxy.limiting.stage import Limits
from proxy.openai.stream_options import ask_for_usage
from proxy.upstream.call import Call
from proxy.upstream.counted import Counting, Stripped

__all__ = ["Metering"]

AT_ONCE: Final = 65_536
"""Bytes of a body that the event loop may look through."""
COUNTED: Final = ("chat/completions", "completions")
"""Routes whose streams tell what they used only if they are asked to."""


@final
class Metering:
    """What the pipeline is given of limits and money."""

    def __init__(self, limits: Limits, counting: Counting) -> None:
        self.limits = limits
        self._counting = counting

    def __repr__(self) -> str:
        return f"<Metering {self.limits!r}>"

    async def send(self, exchange: Exchange, body: bytes, call: Call) -> Reply:
        """A stream that the cache has no part in; its client is not told what it did not ask for. Raises Failure."""
        route = exchange.route
        if route is None or route.name not in COUNTED:
            return await call.send(exchange, body)
        quick = len(body) <= AT_ONCE
        counted = ask_for_usage(body) if quick else await asyncio.to_thread(ask_for_usage, body)
        if counted is None:
            return await call.send(exchange, body)
        reply = await self._counting.send(call, exchange, body, counted)
        return Stripped(reply, partial(setattr, exchange, "usage_text"))
