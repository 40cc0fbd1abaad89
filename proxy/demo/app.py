"""The demo upstream as an aiohttp application."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from proxy.demo import checks, faults, knobs, model_routes, object_routes, wire
from proxy.demo.checks import Refusal
from proxy.demo.faults import Fault
from proxy.demo.knobs import Knobs
from proxy.demo.listener import Listener
from proxy.demo.model.answers import digest
from proxy.demo.store import Seen, Tenants
from proxy.demo.wire import ORDERS, RAW, STORE, TENANTS

__all__ = ["application", "start"]

MAX_JSON = 64 << 20
KNOBS: web.AppKey[Knobs] = web.AppKey("knobs", Knobs)
LISTENER: web.AppKey[Listener] = web.AppKey("listener", Listener)
_CREDENTIALS = frozenset({"authorization", "api-key", "x-api-key", "cookie"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(
    *,
    latency: float = 0.0,
    rate: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = random.random,
) -> web.Application:
    """`latency` (s) before every answer and `rate` (tokens/s), where a request orders nothing else."""

    @web.middleware
    async def manners(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path.startswith("/demo/"):
                return await handler(request)
            return await _served(request, handler, latency, rate)
        except Refusal as refusal:
            return _refused(refusal)
        except web.HTTPRequestEntityTooLarge:
            message = "Maximum content size limit exceeded."
            return _refused(Refusal(413, message, code="request_too_large"))

    app = web.Application(middlewares=[manners], client_max_size=MAX_JSON)
    app[TENANTS] = Tenants()
    app[KNOBS] = Knobs(clock, draw)
    app[LISTENER] = Listener()
    app.on_response_prepare.append(_dress)
    app.router.add_routes([*model_routes.ROUTES, *object_routes.ROUTES])
    app.router.add_get("/demo/seen/{tag}", _seen)
    app.router.add_get("/demo/faults", _faults)
    app.router.add_post("/demo/faults", _go_wrong)
    app.router.add_delete("/demo/faults", _heal)
    app.on_shutdown.append(_stay_down)
    return app


async def start(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, str]:
    """Serves until the runner's cleanup; returns it and the base URL. Raises OSError."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
    except BaseException:
        await runner.cleanup()
        raise
    bound = runner.addresses[0][1]
    if LISTENER in app:
        app[LISTENER].listens(runner, site, host, bound)
    return runner, f"http://{host}:{bound}/v1"


async def _served(request: web.Request, handler: Handler, latency: float, rate: float) -> web.StreamResponse:
    """What every answer has in common: the key, the orders, the count, the wait."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    request[RAW] = await _read(request)
    ordered = faults.orders(headers, _model(request), latency=latency, rate=rate)
    request[ORDERS] = orders = request.app[KNOBS].applied(ordered)
    seen = _count(request, orders.tag) if orders.tag else None
    key = _key(request)
    checks.check_key(key)
    request[STORE] = request.app[TENANTS].store(key)
    try:
        if orders.latency:
            await asyncio.sleep(orders.latency)
        if orders.fault is Fault.RESET_EARLY and request.transport is not None:
            request.transport.abort()
            return web.Response(status=500)
        if refusal := faults.refusal(orders):
            raise refusal
        return await handler(request)
    except web.HTTPNotFound:
        raise Refusal(404, f"Invalid URL ({request.method} {request.path})") from None
    except web.HTTPMethodNotAllowed as refused:
        message = (
            f"Not allowed to {request.method} on {request.path}. "
            "(HINT: Perhaps you meant to make your HTTP request with a different method?)"
        )
        allow = {"allow": ", ".join(sorted(refused.allowed_methods))}
        raise Refusal(405, message, code="method_not_supported", headers=allow) from None
    except (asyncio.CancelledError, ConnectionError):
        if seen is not None:
            seen.aborted += 1
        raise


def _key(request: web.Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    offered = request.headers.get("sec-websocket-protocol", "").split(",")
    insecure = [name.strip().partition("openai-insecure-api-key.")[2] for name in offered]
    return request.headers.get("api-key") or request.headers.get("x-api-key") or "".join(insecure)


async def _read(request: web.Request) -> bytes:
    """The body, unless it is a form, which is read as it comes."""
    return b"" if request.content_type.startswith("multipart/") else await request.read()


def _model(request: web.Request) -> str:
    """The model that is asked for, where it can be told before the body is checked."""
    if not request[RAW]:
        return request.query.get("model", "")
    try:
        model = checks.decode(request[RAW]).get("model")
    except Refusal:
        return ""
    return model if isinstance(model, str) else ""


def _count(request: web.Request, tag: str) -> Seen:
    headers = [[name.lower(), value] for name, value in request.headers.items() if name.lower() not in _CREDENTIALS]
    raw = request[RAW]
    what = {"method": request.method, "target": request.raw_path, "headers": headers, "body_sha256": digest(raw)}
    return request.app[TENANTS].saw(tag, {**what, "body_bytes": len(raw)})


async def _seen(request: web.Request) -> web.Response:
    seen = request.app[TENANTS].seen(request.match_info["tag"])
    return wire.json({"count": seen.count, "aborted": seen.aborted, "requests": seen.requests})


async def _faults(request: web.Request) -> web.Response:
    turned = request.app[KNOBS]
    wrong = turned.wrong
    return wire.json({} if wrong is None else {"faults": wrong, "seconds_left": round(turned.left, 3)})


async def _go_wrong(request: web.Request) -> web.Response:
    body = await request.content.read(knobs.MAX_BODY + 1)
    while not request.content.at_eof() and len(body) <= knobs.MAX_BODY:
        body += await request.content.read(knobs.MAX_BODY + 1 - len(body))
    if len(body) > knobs.MAX_BODY:
        raise Refusal(413, "Maximum content size limit exceeded.", code="request_too_large")
    wrong = knobs.read(body)
    request.app[KNOBS].turn(wrong)
    if wrong.refuse:
        request.app[LISTENER].away(wrong.seconds)
    else:
        request.app[LISTENER].stay()
    return await _faults(request)


async def _heal(request: web.Request) -> web.Response:
    request.app[KNOBS].heal()
    request.app[LISTENER].stay()
    return await _faults(request)


async def _stay_down(app: web.Application) -> None:
    await app[LISTENER].close()


def _refused(refusal: Refusal) -> web.Response:
    body = msgspec.json.encode(refusal.body())
    return web.Response(body=body, status=refusal.status, content_type="application/json", headers=refusal.headers)


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    """The headers on every answer; equal requests have equal request ids."""
    if request.path.startswith("/demo/"):
        return
    response.headers["x-request-id"] = (
        f"req_{digest(request.get(RAW, b''), salt=f'{request.method} {request.raw_path}')[:32]}"
    )
    orders = request.get(ORDERS)
    response.headers["openai-processing-ms"] = str(int(orders.latency * 1_000) if orders else 0)
    response.headers["openai-version"] = "2020-10-01"
    response.headers["openai-organization"] = "org-demo"
    left = 0 if response.status == 429 else 9_999
    for name, limit, remaining in (("requests", 10_000, left), ("tokens", 2_000_000, 1_999_000)):
        response.headers[f"x-ratelimit-limit-{name}"] = str(limit)
        response.headers[f"x-ratelimit-remaining-{name}"] = str(remaining)
        response.headers[f"x-ratelimit-reset-{name}"] = "6ms"
