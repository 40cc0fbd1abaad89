"""The one link to Redis: deadlines, breaker, pool, and commands of concurrent requests sent together."""

from proxy.redis_link.errors import Fault, LinkDown, LinkFault, LinkRefused, Refusal
from proxy.redis_link.events import LinkEvents, LinkState
from proxy.redis_link.link import RedisLink
from proxy.redis_link.url import BadUrl

__all__ = ["BadUrl", "Fault", "LinkDown", "LinkEvents", "LinkFault", "LinkRefused", "LinkState", "RedisLink", "Refusal"]
