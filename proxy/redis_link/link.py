"""The link as the rest of the gateway knows it."""

from collections.abc import Sequence
from typing import Any, Final, Protocol, final

from redis.connection import HiredisRespSerializer

from cache.link import Command, Word
from proxy.redis_link.cluster import Cluster
from proxy.redis_link.dial import dial_to
from proxy.redis_link.errors import LinkDown, LinkRefused, Refusal
from proxy.redis_link.events import LinkEvents, Quiet
from proxy.redis_link.lane import NewScript, Redirect, Words
from proxy.redis_link.server import Limits, Server
from proxy.redis_link.url import Form, Url

__all__ = ["RedisLink"]

QUEUE: Final = 10_000
"""Commands that may wait."""
CONNECTIONS: Final = 4
CONNECT: Final = 5.0
MIN_CONNECT: Final = 0.25
"""A connection may take this many deadlines, or this many seconds: names, TLS and AUTH are round trips too."""
KEYLESS: Final = frozenset(["CLIENT", "PING", "TIME", "SCAN", "DBSIZE", "INFO"])
SCRIPTS: Final = frozenset(["EVAL", "EVALSHA"])

_pack: Final = HiredisRespSerializer().pack


class Route(Protocol):
    """From a command to the server that answers it. Errors are answers."""

    @property
    def up(self) -> bool: ...
    @property
    def answers(self) -> bool: ...
    @property
    def excused(self) -> bool: ...
    async def ask(self, words: Words) -> object: ...
    async def ask_all(self, many: Sequence[Words], on: str) -> list[object]: ...
    async def primaries(self) -> list[str]: ...
    async def close(self) -> None: ...


class Script(Protocol):
    """A Lua program; `sha` is its digest in hexadecimal."""

    @property
    def name(self) -> str: ...
    @property
    def sha(self) -> bytes: ...
    @property
    def source(self) -> bytes: ...


@final
class RedisLink:
    """One per process, made in its event loop. `url` as in `proxy.redis_link.url`; `deadline` in seconds.

    Answers are bytes, int, list or None. Raises LinkDown and LinkRefused, both ConnectionErrors, and nothing
    else; every call ends within the deadline, or later where large values travel, or where this process is so busy
    that it can't read the answer: within four of them then.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline: float = 0.05,
        connections: int = CONNECTIONS,
        queue: int = QUEUE,
        events: LinkEvents | None = None,
    ) -> None:
        self._url = Url.parse(url)
        limits = Limits(deadline, max(CONNECT * deadline, MIN_CONNECT), connections, queue)
        self._route: Route
        if self._url.form is Form.CLUSTER:
            self._route = Cluster(self._url, limits, events or Quiet())
        else:
            dial = dial_to(self._url, limits.connect)
            self._route = Server(dial, limits, events or Quiet(), roams=self._url.form is Form.SENTINEL)

    def __repr__(self) -> str:
        return f"<RedisLink {self._url} {self._route!r}>"

    @property
    def up(self) -> bool:
        """Calls are not refused unasked."""
        return self._route.up

    @property
    def answers(self) -> bool:
        return self._route.answers

    @property
    def excused(self) -> bool:
        return self._route.excused

    async def call(self, *command: Word) -> object:
        answer = await self._route.ask(_words(*command))
        if isinstance(answer, ConnectionError):
            raise _told(answer)
        return answer

    async def many(self, commands: Sequence[Command], on: str = "") -> list[object]:
        """In one round trip to each server. A refusal stands in its place; LinkDown is raised if there is no answer.

        `on`, one of `primaries()`, sends all of them there.
        """
        if not commands:
            return []
        answers = await self._route.ask_all([_words(*command) for command in commands], on)
        for at, answer in enumerate(answers):
            if isinstance(answer, ConnectionError):
                answers[at] = told = _told(answer)
                if isinstance(told, LinkDown):
                    raise told
        return answers

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Word]) -> object:
        """All keys lie in one slot. A server that does not know the script gets it with the same call, once."""
        rest = (len(keys), *keys, *args)
        answer = await self._route.ask(_words("EVALSHA", script.sha, *rest, name=script.name))
        if isinstance(answer, NewScript):
            answer = await self._route.ask(_words("EVAL", script.source, *rest, name=script.name))
        if isinstance(answer, ConnectionError):
            raise _told(answer)
        return answer

    async def primaries(self) -> list[str]:
        """The servers that hold the keys between them; none of a cluster that can't be reached."""
        return await self._route.primaries()

    async def close(self) -> None:
        """What waits raises LinkDown. Takes a quarter of a second at most, or a few deadlines."""
        await self._route.close()


def _words(*command: Any, name: str = "") -> Words:
    """`name` is that of a script: what one is refused says nothing of another."""
    verb: str = command[0]
    key = "" if verb in KEYLESS else command[3 if verb in SCRIPTS else 1]
    return Words(name or verb, key, _pack(*command)[0])


def _told(answer: ConnectionError) -> LinkDown | LinkRefused:
    """A redirection that reaches this far leads where this link does not go."""
    if isinstance(answer, (LinkDown, LinkRefused)):
        return answer
    return LinkRefused(Refusal.MOVED if isinstance(answer, Redirect) else Refusal.OTHER)
