"""What the processes of one gateway share: the link to Redis."""

from typing import TYPE_CHECKING, final

from proxy.config import Config, ConfigError
from proxy.telemetry.log import Log
from proxy.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from proxy.redis_link import Fault, LinkState, RedisLink

__all__ = ["link_of"]


def link_of(config: Config, metrics: Metrics, log: Log) -> "RedisLink | None":
    """None where none is configured. Raises ConfigError."""
    if not config.redis.url:
        return None
    from proxy.redis_link import BadUrl, RedisLink  # a quarter of the start, for those who have a Redis

    try:
        return RedisLink(
            config.redis.url.reveal(),
            deadline=config.redis.deadline,
            connections=config.redis.max_connections,
            events=_LinkEvents(metrics, log),
        )
    except BadUrl as error:
        raise ConfigError(f"redis.url: {error}") from None


@final
class _LinkEvents:
    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._metrics = metrics
        self._log = log

    def answered(self, commands: int, seconds: float) -> None:
        self._metrics.cache.redis_answered(seconds)

    def failed(self, commands: int, fault: "Fault") -> None:
        self._metrics.cache.redis_failed(commands, fault.value)

    def turned(self, server: str, state: "LinkState", fault: "Fault | None") -> None:
        self._metrics.cache.redis_state(server, state.value)

    def transition(self, server: str, up: bool, fault: "Fault") -> None:  # noqa: FBT001  (as the link tells it)
        if up:
            self._log.info("redis_up", server=server, after=fault.value)
        else:
            self._log.warning("redis_down", server=server, reason=fault.value)
