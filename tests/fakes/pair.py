"""A gateway before two upstreams, the second of which is asked when the first fails.

    async with pair() as two:
        await two.first.stop()                                # refuses; `start` lets it listen again
        response = await two.ask()                            # frames.CHAT, on a connection of its own
        assert told(response) == ("b", 2)

The upstreams are called `a` and `b`, and answer "from a" and "from b" until scripted otherwise. Whatever happened,
no slot is held at the end, nobody waits for one, and neither upstream was sent what is no HTTP.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

from proxy.upstream.breaker import State
from proxy.upstream.endpoint import Endpoint
from tests.fakes.asking import KEY, completion_answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, environment, in_process
from tests.fakes.polling import until
from tests.fakes.raw import Response
from tests.fakes.team import Team, keyed
from tests.fakes.upstream import ScriptedUpstream

__all__ = ["NO_WAIT", "Pair", "pair", "said", "told"]

NO_WAIT = {"retry__base": 0.0}
"""Settings with which nobody waits before a retry."""


@final
class Pair:
    def __init__(
        self, first: ScriptedUpstream, second: ScriptedUpstream, gateway: Gateway, settings: dict[str, object]
    ) -> None:
        self.first = first
        self.second = second
        self.gateway = gateway
        self.team = Team(gateway, "", settings)
        """Where it was started in keys mode."""
        self._settings = settings

    def __repr__(self) -> str:
        return f"<Pair {self.first!r} {self.second!r}>"

    @property
    def sent(self) -> tuple[int, int]:
        """Requests that reached each upstream."""
        return len(self.first.requests), len(self.second.requests)

    def endpoint(self, name: str = "a") -> Endpoint:
        plan = self.gateway.app._upstreams._plan
        assert plan is not None
        return plan.endpoints[name]

    def state(self, name: str = "a") -> State:
        breaker = self.endpoint(name).breaker
        assert breaker is not None
        return breaker.state

    async def ask(
        self,
        body: object = CHAT,
        headers: Sequence[tuple[str, str]] = (KEY,),
        *,
        method: str = "POST",
        target: str = "/v1/chat/completions",
    ) -> Response:
        async with self.gateway.client() as client:
            return await client.ask(method, target, body, [*headers])

    def reload(self, **settings: object) -> None:
        """These, and beyond them those that it was started with."""
        from proxy.config import load

        self.gateway.app.reload(load(None, environment("", {**self._settings, **settings})))

    def without_first(self) -> None:
        """A reload that takes it out."""
        from proxy.config import load

        kept = {name: value for name, value in self._settings.items() if not name.startswith("upstreams__a__")}
        self.gateway.app.reload(load(None, environment("", kept | {"routes__main__groups": ["b"]})))

    async def idle(self) -> None:
        """Until no slot is held and nobody waits for one."""
        endpoints = [self.endpoint(name) for name in ("a", "b")]
        await until(lambda: not any(each.gate.busy or each.gate.waiting for each in endpoints), why=repr(endpoints))


@asynccontextmanager
async def pair(data: Path | None = None, /, **settings: Any) -> AsyncIterator[Pair]:
    """`data`: in keys mode, with what it writes down there."""
    async with (
        ScriptedUpstream(completion_answer("from a")) as first,
        ScriptedUpstream(completion_answer("from b")) as second,
    ):
        tree: dict[str, Any] = {
            "upstreams__a__base_url": first.url,
            "upstreams__b__base_url": second.url,
            "routes__main__models": "*",
            "routes__main__groups": ["a", "b"],
            "breaker__enabled": True,
            "retry__attempts": 3,
            **settings,
        }
        tree = keyed(data, "", tree) if data is not None else tree
        async with in_process("", **tree) as gateway:
            two = Pair(first, second, gateway, tree)
            yield two
            await gateway.settled()
            await two.idle()
            assert await gateway.sample("askonce_upstream_busy") == 0
        assert first.defects + second.defects == []


def told(response: Response) -> tuple[str, int]:
    """Which upstream the gateway says it has the answer from, and how many calls that took."""
    name, attempts = response.header(b"x-askonce-upstream"), response.header(b"x-askonce-attempts")
    return (name or b"").decode(), int(attempts or 0)


def said(response: Response) -> str:
    """The text of a chat completion."""
    return str(response.json()["choices"][0]["message"]["content"])
