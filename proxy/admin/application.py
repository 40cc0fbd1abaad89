"""What the private listener serves: metrics and health to everybody, the admin API to whoever has its token."""

import asyncio
from typing import Final, Protocol, final

from aiohttp import web

from proxy.admin.gate import Gate
from proxy.admin.problems import problems
from proxy.admin.readiness import Readiness, State
from proxy.telemetry.metrics import Metrics

__all__ = ["Admin"]

API: Final = "/admin/v1"
MAX_BODY: Final = 1 << 16


class Part(Protocol):
    """Paths of the admin API, as they are behind its prefix."""

    def add_to(self, router: web.UrlDispatcher) -> None: ...


@final
class Admin:
    def __init__(self, metrics: Metrics, readiness: Readiness, gate: Gate, *parts: Part) -> None:
        """`parts` make up the admin API."""
        self._metrics = metrics
        self._readiness = readiness
        self._gate = gate
        self._parts = parts
        self._rendering = asyncio.Lock()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[problems], client_max_size=MAX_BODY)
        application.on_response_prepare.append(_name_server)
        application.router.add_get("/metrics", self._serve_metrics)
        application.router.add_get("/healthz", self._serve_health)
        application.router.add_get("/readyz", self._serve_readiness)
        application.add_subapp(API, self._api())
        return application

    def _api(self) -> web.Application:
        """Whatever is added here is behind the gate, and so is what does not exist."""
        api = web.Application(middlewares=[self._gate.authorize])
        for part in self._parts:
            part.add_to(api.router)
        return api

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        # Rendering takes milliseconds: not on the loop that serves requests, and not twice at a time.
        self._metrics.publish()
        async with self._rendering:
            text, content_type = await asyncio.to_thread(self._metrics.render)
        return web.Response(body=text, headers={"content-type": content_type})

    async def _serve_health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _serve_readiness(self, request: web.Request) -> web.Response:
        state = self._readiness.now()
        return web.json_response({"status": state.value}, status=200 if state is State.READY else 503)


async def _name_server(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["server"] = "askonce"
    response.headers["cache-control"] = "no-store"
