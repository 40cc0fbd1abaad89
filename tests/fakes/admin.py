"""An operator: asks the admin API of a gateway, of all its workers where there are several."""

import asyncio
from typing import Any, final

from tests.fakes.gateway import Running
from tests.fakes.raw import RawClient, Response

__all__ = ["TOKEN", "Operator"]

TOKEN = "the-operators-own-token"
"""Of the gateways that tests start."""


@final
class Operator:
    """Every question goes over a connection of its own, so that the kernel picks a worker anew."""

    def __init__(self, gateway: Running, token: str = TOKEN) -> None:
        self._url = gateway.admin_url
        self._headers = [("authorization", f"Bearer {token}")] if token else []

    async def ask(self, method: str, path: str, body: object = None) -> Response:
        async with RawClient(self._url) as client:
            return await client.ask(method, f"/admin/v1/{path}", body, self._headers)

    async def get(self, path: str) -> Any:
        response = await self.ask("GET", path)
        assert response.status == 200, response.body
        return response.json()

    async def purge(self, **asked: object) -> Any:
        response = await self.ask("POST", "cache/purge", asked)
        assert response.status == 200, response.body
        return response.json()

    async def in_memory(self, workers: int = 1) -> list[int]:
        """How many entries each worker has in memory."""
        found: dict[int, int] = {}
        async with asyncio.timeout(5.0):
            while len(found) < workers:
                stats = await self.get("cache/stats")
                found[stats["worker"]] = stats["memory"]["entries"]
        return [found[worker] for worker in sorted(found)]
