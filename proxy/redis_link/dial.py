"""Connections to Redis: made by the client library, without its retries, health checks and notifications."""

from collections.abc import Mapping
from typing import Any, Final, Protocol, final

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from proxy.redis_link.url import Form, Place, Url

__all__ = ["Dial", "Direct", "ThroughSentinels", "dial_to"]

READ_SIZE: Final = 1 << 17


class Dial(Protocol):
    """Makes connections to one server, whichever that is at the moment."""

    name: str

    async def connect(self) -> AbstractConnection:
        """Authenticated and ready. Raises RedisError and OSError; may be cancelled; has no deadline of its own."""

    async def close(self) -> None: ...


@final
class Direct:
    """To one address."""

    def __init__(self, url: Url, place: Place | None, timeout: float) -> None:
        self.name = url.path if place is None else f"{place[0]}:{place[1]}"
        self._options = _options(url, timeout)
        self._class: type[AbstractConnection] = SSLConnection if url.tls else Connection
        if place is None:
            self._class = UnixDomainSocketConnection
            self._options["path"] = url.path
        else:
            self._options["host"], self._options["port"] = place
        self._tls: Any = None

    def __repr__(self) -> str:
        return f"<Direct {self.name}>"

    async def connect(self) -> AbstractConnection:
        connection = self._class(**self._options)
        if isinstance(connection, SSLConnection):
            # A context reads all trusted certificates of the system: once is enough.
            self._tls = connection.ssl_context = self._tls or connection.ssl_context
        await connection.connect()  # type: ignore[no-untyped-call]
        return connection

    async def close(self) -> None:
        """It keeps nothing open."""


@final
class ThroughSentinels:
    """To the master of a service. Each connection asks anew who that is."""

    def __init__(self, url: Url, timeout: float) -> None:
        self.name = f"{url.service}@{url.places[0][0]}:{url.places[0][1]}"
        self._url = url
        self._timeout = timeout
        self._sentinels = Sentinel(  # type: ignore[no-untyped-call]
            url.places,
            sentinel_kwargs={
                "socket_timeout": timeout / 2,
                "socket_connect_timeout": timeout / 2,
                "username": url.options.get("sentinel_username"),
                "password": url.options.get("sentinel_password"),
                "protocol": 2,
                "driver_info": None,
                "retry": Retry(NoBackoff(), 0),
                "maint_notifications_config": MaintNotificationsConfig(enabled=False),
                "ssl": url.tls,
                **_tls_files(url),
            },
        )
        self._master: Direct | None = None
        self._place: Place | None = None

    def __repr__(self) -> str:
        return f"<ThroughSentinels {self.name} master={self._place}>"

    async def connect(self) -> AbstractConnection:
        place = await self._sentinels.discover_master(self._url.service)
        if self._master is None or place != self._place:
            self._place, self._master = place, Direct(self._url, place, self._timeout)
        return await self._master.connect()

    async def close(self) -> None:
        await self._sentinels.aclose()


def dial_to(url: Url, timeout: float) -> Dial:
    """For anything but a cluster. `timeout` in seconds is for one connection."""
    if url.form is Form.SENTINEL:
        return ThroughSentinels(url, timeout)
    return Direct(url, url.places[0] if url.places else None, timeout)


def _options(url: Url, timeout: float) -> dict[str, Any]:
    """The deadlines of commands are the link's: without `socket_timeout` a command costs no task and no timer."""
    return {
        "db": url.db,
        "username": url.username,
        "password": url.password,
        "client_name": "askonce",
        "protocol": 2,
        "driver_info": None,
        "socket_timeout": None,
        "socket_connect_timeout": timeout,
        "socket_read_size": READ_SIZE,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": None,
        **_tls_files(url),
    }


def _tls_files(url: Url) -> Mapping[str, str | bool]:
    if not url.tls:
        return {}
    files = {f"ssl_{name}": url.options[name] for name in ("ca_certs", "certfile", "keyfile") if name in url.options}
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **files}
