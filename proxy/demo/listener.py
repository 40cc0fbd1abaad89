"""The port of the demo upstream, which may be closed for a while."""

import asyncio
import math
from typing import Final, final

from aiohttp import web

__all__ = ["Listener"]

ANSWERED: Final = 0.05
"""Seconds that whoever closes the port has to read that it will be closed."""
AGAIN: Final = 0.2
"""Seconds between two attempts to have the port back."""


@final
class Listener:
    """Closes a port, and every connection to it, and opens it again."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._site: web.BaseSite | None = None
        self._where = ("", 0)
        self._absence: asyncio.Task[None] | None = None
        self._until = -math.inf
        """Of the absence, in the loop's time."""

    def __repr__(self) -> str:
        return f"<Listener {self._where[1]} {'open' if self._site else 'closed'}>"

    def listens(self, runner: web.AppRunner, site: web.BaseSite, host: str, port: int) -> None:
        self._runner, self._site, self._where = runner, site, (host, port)

    def away(self, seconds: float) -> None:
        """Soon, and for so long, whatever was said before; while it is away nothing can be asked of it."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + ANSWERED + seconds
        if self._absence is None or self._absence.done():
            self._absence = loop.create_task(self._be_away(loop))

    def stay(self) -> None:
        """An absence that has not begun does not begin."""
        self._until = -math.inf

    async def _be_away(self, loop: asyncio.AbstractEventLoop) -> None:
        runner, site = self._runner, self._site
        if runner is None or site is None or runner.server is None:
            return
        await asyncio.sleep(ANSWERED)
        if self._until <= loop.time():
            return
        self._site = None
        await site.stop()
        for connection in runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(self._until - loop.time())
        while self._site is None:
            back = web.TCPSite(runner, *self._where)
            try:
                await back.start()
            except OSError:
                await asyncio.sleep(AGAIN)
            else:
                self._site = back

    async def close(self) -> None:
        if self._absence is not None:
            self._absence.cancel()
            await asyncio.wait([self._absence])
