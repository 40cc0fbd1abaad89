"""The composition root: the only file that constructs things, and the order in which they start and stop."""

import asyncio
import os
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, final

from aiohttp import web

from proxy.accounting import Accounting
from proxy.accounts import Accounts
from proxy.admin import Admin, CacheRoutes, Gate, QuestionRoutes, Readiness
from proxy.billing import Bills
from proxy.caches import Caches, kept_routes, rules_of
from proxy.config import Config, ConfigError, Secret, Upstream, carried_over
from proxy.errors import Failure, Kind
from proxy.http1.clients import ClientLimits, Clients
from proxy.http1.connect import Connector, Origin, Resolver, proxy_for, tls_context
from proxy.http1.cork import Cork
from proxy.http1.flow import Deadlines
from proxy.http1.messages import Caps
from proxy.http1.peers import Peers
from proxy.http1.pool import Pool
from proxy.http1.tunnel import TunnelLimits
from proxy.own_calls import OwnCalls, call_ids
from proxy.pipeline import Pipeline
from proxy.shared import link_of
from proxy.tee import Tee
from proxy.telemetry.capture import capture_logging, loop_exception_handler
from proxy.telemetry.lag import LagProbe
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import Metrics
from proxy.understand import Understand
from proxy.upstreams import Plan, Upstreams
from proxy.workers import ListenError

__all__ = ["App"]

BACKLOG = 2_048
CLOCK = time.monotonic
"""What exchanges are timed by: the loop's own clock, less coarse (uvloop's has milliseconds)."""
CUT_GRACE = 0.5
"""Seconds in which sessions that are cut may say goodbye."""
AGAIN = 0.05
"""Seconds between two looks at whether Redis was told everything."""
FLUSH_GRACE = 0.4
"""Seconds in which connections may still take what was written to them. Both together stay under one second."""


@final
class App:
    """One serving process. `listen` and `admin` override the configured addresses for a worker among several.

    `token` is the admin API's where none is configured; without either, one is made and logged.
    """

    def __init__(
        self,
        config: Config,
        *,
        listen: tuple[str, int] | None = None,
        admin: tuple[str, int] | None = None,
        token: str = "",
    ) -> None:
        self.config = config
        self._listen = listen or (config.listen.host, config.listen.port)
        self._admin_listen = admin or (config.admin.host, config.admin.port)
        self._shared = listen is not None
        self.address = self.admin_address = ("", 0)
        self.metrics = Metrics(max_models=config.metrics.max_models)
        self.log = Log(style=config.log.format, level=config.log.level, on_lost=self.metrics.log_lines_lost)
        self.readiness = Readiness()
        self._gate = Gate(config.admin.token or Secret(token), CLOCK)
        self.clients: Clients
        self._pools: list[Pool] = []
        self._restore_logging: Callable[[], object] = bool

    def __repr__(self) -> str:
        return f"<App {self.readiness.state.value} on {self.address}>"

    @property
    def in_flight(self) -> int:
        """Requests that are being answered."""
        return self._accounting.in_flight

    # start and stop

    async def start(self) -> None:
        """Returns once both listeners are open. Raises ListenError, ConfigError."""
        loop = self._loop = asyncio.get_running_loop()
        self._restore_logging = capture_logging(self.log)
        loop.set_exception_handler(loop_exception_handler(self.log))
        self._deadlines = Deadlines(loop)
        self._cork = Cork(loop)
        self._tls = _listener_tls(self.config)
        self._link = link_of(self.config, self.metrics, self.log)
        self._accounts = Accounts(self.config, self.metrics, self.log, CLOCK, self._link)
        self._accounting = Accounting(self._accounts.bills(self.config), self.metrics, self.log, CLOCK)
        self._call_id = call_ids()
        self._caches = self._make_caches()
        self._upstreams = Upstreams(self.metrics, self.log, CLOCK, self._link, self.config.redis.namespace)
        self.readiness.unserved = self._upstreams.unserved
        self._adopt(self._build(self.config), self.config)
        self.clients = Clients(
            self._pipeline.serve,
            self._pipeline.glance,
            _client_limits(self.config),
            Peers(self.config.listen.trusted_proxies),
            self._deadlines,
            self._cork,
            self._call_id,
            self._count_connections,
            self._accounting.refused,
            CLOCK,
            loop,
        )
        self._lag = LagProbe(self.metrics, observe=self._upstreams.shedding.observe)
        try:
            await self._caches.start()
            await self._accounts.start()
            await self._upstreams.start()
            await self._open()
        except BaseException:
            self._restore_logging()
            raise
        self._lag.start()
        self.readiness.ready()
        scheme = "https" if self._tls else "http"
        self.log.info("listening", url=_url(scheme, self.address), admin_url=_url("http", self.admin_address))

    async def _open(self) -> None:
        try:
            self._server = await self._loop.create_server(
                self.clients.protocol,
                *self._listen,
                ssl=self._tls,
                ssl_handshake_timeout=self.config.timeouts.head if self._tls else None,
                backlog=BACKLOG,
                reuse_port=self._shared or None,
            )
        except OSError as error:
            raise _listen_error(self._listen, error) from None
        self.address = _address(self._server.sockets)
        if not self._gate.token:
            self._gate.token = Secret(made := secrets.token_hex(24))
            self.log.info("admin_token", token=made, reason="none is configured")
        caches, worker = self._caches, int(os.environ.get("ASKONCE_WORKER", "0"))
        routes = CacheRoutes(
            caches.catalogue,
            caches.purger,
            endpoints=rules_of(self.config.cache).ttls,
            log=self.log,
            wall=caches.wall,
            worker=worker,
        )
        questions = QuestionRoutes(
            caches.semantics, caches.purger if self._shared and self._link is None else None, self.log
        )
        parts = self._accounts.routes(self.config.keys.grace)
        application = Admin(self.metrics, self.readiness, self._gate, routes, questions, *parts).application()
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, *self._admin_listen, reuse_port=self._shared or None)
        try:
            await site.start()
        except OSError as error:
            self._server.close()
            await self._runner.cleanup()
            raise _listen_error(self._admin_listen, error) from None
        self.admin_address = self._runner.addresses[0][:2]

    async def drain(self, hurry: asyncio.Event) -> None:
        """Lets what is in flight finish; `hurry` cuts every wait short."""
        # Load balancers must look away before anything is refused.
        self.readiness.drain()
        self._accounts.leave()
        await _wait(hurry.wait(), self.config.server.drain_delay)
        # New requests are told to go elsewhere, old ones get their time.
        self._pipeline.draining = True
        self.clients.draining = True
        waiting = asyncio.ensure_future(hurry.wait())  # noqa: TID251  (cancelled below)
        end = self._loop.time() + self.config.server.drain_timeout
        serving = self.clients.crew.serving
        while serving and not hurry.is_set() and (left := end - self._loop.time()) > 0:
            ends: list[asyncio.Future[Any]] = [self.clients.crew.over(), waiting]
            await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        while not self._accounts.told and not hurry.is_set() and self._loop.time() < end:
            await _wait(hurry.wait(), AGAIN)

    async def stop(self) -> bool:
        """Cuts what is left, closes everything and flushes the log. False: something of the accounts is lost."""
        self.readiness.drain()
        self._pipeline.draining = True
        self.clients.draining = True
        self._server.close()
        # Whoever is still being served is told so, in its stream.
        self.clients.cut(Failure(Kind.DRAINING))
        await asyncio.wait([self.clients.crew.over()], timeout=CUT_GRACE)
        for task in self.clients.crew.serving.values():  # sessions that wait for a close frame in return
            task.cancel()
        self.clients.close()
        await self._flushed()
        await self._caches.stop()
        await self._upstreams.stop()
        self._accounting.settle()
        clean = await self._accounts.stop()
        if self._link is not None:
            await self._link.close()
        for pool in self._pools:
            pool.close()
        await self._runner.cleanup()
        self._accounts.let_go()
        self._lag.stop()
        self._restore_logging()
        await asyncio.to_thread(self.log.close)
        return clean

    async def _flushed(self) -> None:
        """Until connections are gone, which a client that reads nothing does not decide."""
        end = self._loop.time() + FLUSH_GRACE
        while self.clients.connections and self._loop.time() < end:  # noqa: ASYNC110  (once in a process's life)
            await asyncio.sleep(0.01)
        for connection in list(self.clients.connections):
            connection.transport.abort()

    def reload(self, config: Config) -> None:
        """Requests from now on follow `config`; those in flight end as they began. Raises ConfigError."""
        wanted = config.listen
        config, ignored = carried_over(self.config, config)
        built = self._build(config)
        if self._tls is not None and wanted.tls_certificate:
            # On trial first: a pair that does not fit would cost the listener the one it has.
            _load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), config)
            _load_certificate(self._tls, config)
        for setting in ignored:
            self.log.warning("reload_ignores", setting=setting, reason="takes effect at the next start")
        for pool in self._pools:
            pool.close()
        self.config = config
        built.pipeline.draining = self._pipeline.draining
        self._adopt(built, config)
        self.clients.serve, self.clients.glance = built.pipeline.serve, built.pipeline.glance
        self.clients.limit(_client_limits(config))
        self.clients.peers = Peers(config.listen.trusted_proxies)
        self._gate.token = config.admin.token or self._gate.token
        self._accounts.reloaded()
        self.log.info("reloaded")

    # construction

    def _adopt(self, built: "_Built", config: Config) -> None:
        self._accounts.declare(config)
        self._pipeline, self._pools, self._own = built.pipeline, built.pools, built.own
        self._accounting.bills = built.bills
        self._upstreams.adopt(built.plan)

    def _build(self, config: Config) -> "_Built":
        """Everything that a reload replaces. Raises ConfigError before anything is replaced."""
        resolver = Resolver(config.pool.dns_ttl, self._loop)
        pools = {name: self._pool(name, upstream, config, resolver) for name, upstream in config.upstreams.items()}
        bills = self._accounts.bills(config)
        metering = self._accounts.metering(config, bills)
        charge = metering.limits if metering is not None else None
        plan = self._upstreams.plan(config, pools, charge, self._accounts.expect)
        http = config.http
        tee = Tee(bills, CLOCK)
        own = OwnCalls(plan.router, tee, self._accounting, self._call_id, CLOCK)
        pipeline = Pipeline(
            self._accounts.auth(config),
            Understand(
                http.max_json_bytes,
                http.max_upload_bytes,
                models_matter=plan.models_matter,
                held=kept_routes(config.cache),
                held_limit=config.cache.max_upload_bytes,
            ),
            plan.router,
            tee,
            self._accounting,
            self._caches.recall(config),
            metering,
            self._upstreams.shedding,
            comment_after=config.timeouts.comment,
            watch=self._deadlines,
            clock=CLOCK,
            log=self.log,
        )
        return _Built(pipeline, list(pools.values()), bills, plan, own)

    def _make_caches(self) -> Caches:
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "") if self._shared else ""
        return Caches(
            self.config,
            self.metrics,
            self.log,
            self._accounting,
            CLOCK,
            self._link,
            folder=Path(folder) if folder else None,
            slot=os.environ.get("ASKONCE_WORKER", ""),
            own=lambda: self._own,
        )

    def _pool(self, name: str, upstream: Upstream, config: Config, resolver: Resolver) -> Pool:
        try:
            origin = Origin.of(upstream.base_url)
            tls = tls_context(upstream.ca_file) if origin.scheme == "https" else None
            proxy = proxy_for(origin)
        except (OSError, ValueError) as error:
            raise ConfigError(f"upstreams.{name}: {error}") from None
        return Pool(
            Connector(origin, tls, proxy, resolver, self._loop),
            caps=_caps(config),
            max_idle=config.pool.max_idle,
            idle_timeout=config.pool.idle_timeout,
            deadlines=self._deadlines,
            cork=self._cork,
            events=self.metrics.connects(name),
            loop=self._loop,
        )

    def _count_connections(self, open_now: int) -> None:
        self.metrics.connections = open_now


class _Built(NamedTuple):
    """What a reload replaces."""

    pipeline: Pipeline
    pools: list[Pool]
    bills: Bills
    plan: Plan
    own: OwnCalls


async def _wait(something: "asyncio.Future[object] | object", seconds: float) -> None:
    """For at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await something  # type: ignore[misc]
    except TimeoutError:
        return


def _caps(config: Config) -> Caps:
    http = config.http
    return Caps(http.max_header_bytes, http.max_head_bytes, http.max_headers)


def _client_limits(config: Config) -> ClientLimits:
    timeouts, realtime = config.timeouts, config.realtime
    return ClientLimits(
        caps=_caps(config),
        pipelined=config.http.max_pipelined,
        connections=config.listen.max_connections,
        head=timeouts.head,
        body=timeouts.body,
        keepalive=timeouts.keepalive,
        write=timeouts.client_write,
        tunnel=TunnelLimits(realtime.ping_interval, realtime.ping_timeout, realtime.max_frame_bytes, timeouts.body),
    )


def _listener_tls(config: Config) -> ssl.SSLContext | None:
    if not config.listen.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_certificate(context, config)
    return context


def _load_certificate(context: ssl.SSLContext, config: Config) -> None:
    try:
        context.load_cert_chain(config.listen.tls_certificate, config.listen.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"listen.tls_certificate: {error.strerror or error}") from None


def _address(sockets: tuple[socket.socket, ...]) -> tuple[str, int]:
    host, port = sockets[0].getsockname()[:2]
    return str(host), int(port)


def _url(scheme: str, address: tuple[str, int]) -> str:
    host, port = address
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _listen_error(address: tuple[str, int], error: OSError) -> ListenError:
    return ListenError(f"cannot listen on {address[0]} port {address[1]}: {os.strerror(error.errno or 0)}")
