"""What the private listener serves. Errors are problem details (RFC 9457)."""

import asyncio
from typing import final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.admin.readiness import Readiness, State
from proxy.telemetry.metrics import Metrics

__all__ = ["Admin"]


@final
class Admin:
    def __init__(self, metrics: Metrics, readiness: Readiness) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._rendering = asyncio.Lock()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[_problems])
        application.on_response_prepare.append(_name_server)
        application.router.add_get("/metrics", self._serve_metrics)
        application.router.add_get("/healthz", self._serve_health)
        application.router.add_get("/readyz", self._serve_readiness)
        return application

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        # Rendering takes milliseconds: not on the loop that serves requests, and not twice at a time.
        self._metrics.publish()
        async with self._rendering:
            text, content_type = await asyncio.to_thread(self._metrics.render)
        return web.Response(body=text, headers={"content-type": content_type})

    async def _serve_health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _serve_readiness(self, request: web.Request) -> web.Response:
        state = self._readiness.state
        return web.json_response({"status": state.value}, status=200 if state is State.READY else 503)


async def _name_server(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["server"] = "askonce"
    response.headers["cache-control"] = "no-store"


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"allow": error.headers["allow"]} if "allow" in error.headers else {}
        problem = {"type": "about:blank", "title": error.reason, "status": error.status}
        return web.Response(
            status=error.status,
            headers=headers,
            content_type="application/problem+json",
            body=msgspec.json.encode(problem),
        )
