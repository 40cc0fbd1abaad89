"""A gateway that knows its people by virtual keys, with the operator who makes them.

    async def test_…(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
        team = await start_team(cache__enabled=True)           # in process; twice, without Redis and with it
        alice = await team.key("alice", budgets={"usd_in_all": 1.0}, models=["m*"])
        response = await team.ask(alice)                       # frames.CHAT, on a connection of its own
        (row,) = await team.rows()                             # all that are in the ledger, the oldest first

The fixture `start_team` runs a test in both `STORES`; `@pytest.mark.parametrize("store", ["redis"])` narrows that.
Every start of one test has the same data directory, so that a second one is a restart. `team.gateway.app` is the App,
`team.limiter` what it counts with, `team.reload(…)` gives it
other settings. `start_team_workers` starts two worker processes before one Valkey. The models
`m*` have a price, PRICE, by which one answer of `asking.completion()` (11 tokens in, 7 out) costs COST. Prompts
are measured by their bytes, because to load what counts them takes a quarter of a second: `limits__count="tiktoken"`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar, final

from limits import Limiter
from tests.fakes.admin import TOKEN, Operator
from tests.fakes.frames import CHAT
from tests.fakes.gateway import Gateway, GatewayProcess, Running, environment
from tests.fakes.polling import until
from tests.fakes.raw import Response

__all__ = ["COST", "PRICE", "STORES", "Member", "StartTeam", "StartWorkers", "Team", "keyed"]

G = TypeVar("G", bound=Running)

STORES: Final = ("alone", "redis")
PRICE: Final = {"input": 1.0, "output": 10.0}
"""USD per million tokens of `m*`."""
COST: Final = 81_000
"""Nano-dollars of eleven tokens in and seven out."""
MOST: Final = 1_000
"""Rows of one page."""
WAIT: Final = 5.0
"""Seconds in which the ledger has what it is to have."""
INTERVAL: Final = 0.01


def keyed(folder: Path | None, redis: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings of a gateway in keys mode; without a folder its data is where it starts."""
    return {
        "auth__mode": "keys",
        "admin__token": TOKEN,
        "redis__deadline": 1.0,
        "limits__count": "bytes",
        **({"redis__url": redis} if redis else {}),
        **({"data__directory": folder / "data"} if folder is not None else {}),
        **{f"prices__models__m*__{name}": price for name, price in PRICE.items()},
        **settings,
    }


class Member(NamedTuple):
    """Who has a key."""

    id: str
    secret: str

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.secret}")]


@final
class Team(Generic[G]):
    """`settings` are those that it was started with, in front of `url`."""

    def __init__(self, gateway: G, url: str, settings: Mapping[str, object]) -> None:
        self.gateway = gateway
        self._url = url
        self._settings = settings
        self.operator = Operator(gateway)

    def __repr__(self) -> str:
        return f"<Team {self.gateway!r}>"

    # people

    async def key(self, name: str = "alice", **fields: object) -> Member:
        """`fields` as POST /admin/v1/keys takes them; a team among them is made first if there is none."""
        if fields.get("team"):
            await self.team(str(fields["team"]))
        made = await self.told("POST", "keys", {"name": name, **fields})
        return Member(made["key"]["id"], made["secret"])

    async def team(self, name: str, **fields: object) -> None:
        """Makes it, or gives it what `fields` say."""
        if (await self.operator.ask("GET", f"teams/{name}")).status != 200:
            await self.told("POST", "teams", {"name": name, **fields})
        elif fields:
            await self.told("PATCH", f"teams/{name}", fields)

    async def change(self, member: Member, **fields: object) -> None:
        await self.told("PATCH", f"keys/{member.id}", fields)

    async def rotate(self, member: Member, grace: float) -> Member:
        """With the new secret."""
        made = await self.told("POST", f"keys/{member.id}/rotate", {"grace": grace})
        return member._replace(secret=made["secret"])

    async def revoke(self, member: Member) -> None:
        await self.told("DELETE", f"keys/{member.id}")

    async def told(self, method: str, path: str, body: object = None) -> Any:
        """What the admin API answers with a 2xx; any other status fails the test."""
        response = await self.operator.ask(method, path, b"" if body is None else body)
        assert 200 <= response.status < 300, (response.status, response.body)
        return response.json()

    # what they do

    async def ask(
        self,
        member: Member | None,
        body: object = CHAT,
        headers: Sequence[tuple[str, str]] = (),
        *,
        method: str = "POST",
        target: str = "/v1/chat/completions",
    ) -> Response:
        """On a connection of its own. None brings no key."""
        async with self.gateway.client() as client:
            return await client.ask(method, target, body, [*(member.headers if member else ()), *headers])

    # what is written down

    async def rows(self, count: int | None = None, /, **where: object) -> list[dict[str, Any]]:
        """As GET /admin/v1/requests has them, the oldest first, once nothing is in flight and all is written.

        `count`: waits until there are so many, for those whose calls outlast their requests.
        """
        query = "&".join([f"requests?limit={MOST}", *(f"{name}={value}" for name, value in where.items())])
        async with asyncio.timeout(WAIT):
            while True:
                await self.written()
                found: list[dict[str, Any]] = (await self.operator.get(query))["requests"][::-1]
                if count is None or len(found) >= count:
                    return found
                await asyncio.sleep(INTERVAL)

    async def usage(self, by: str = "key", **where: object) -> Any:
        """As GET /admin/v1/usage has it, once every row is added up."""
        query = "&".join([f"usage?by={by}", *(f"{name}={value}" for name, value in where.items())])
        rows, told = len(await self.rows(**where)), await self.operator.get(query)
        async with asyncio.timeout(WAIT):
            while told["total"]["requests"] != rows:
                await asyncio.sleep(INTERVAL)
                told = await self.operator.get(query)
        return told

    async def written(self) -> None:
        """Until no request is in flight, and what there was is in the ledger's store."""
        await self.gateway.settled()
        if isinstance(self.gateway, Gateway):
            ledger = self.gateway.app._accounts._ledger
            assert ledger is not None
            self.gateway.app._accounting.settle()
            ledger._full.set()
            await until(lambda: not ledger.backlog.rows, WAIT, "the ledger is written")
            return
        async with asyncio.timeout(WAIT):
            while await self.gateway.sample("askonce_ledger_backlog_rows"):
                await asyncio.sleep(INTERVAL)

    # of a gateway in this process

    def reload(self, **settings: object) -> None:
        """These, and beyond them those that it was started with."""
        from proxy.config import load

        assert isinstance(self.gateway, Gateway)
        self.gateway.app.reload(load(None, environment(self._url, {**self._settings, **settings})))

    @property
    def limiter(self) -> Limiter:
        assert isinstance(self.gateway, Gateway)
        return self.gateway.app._accounts._limiter


class StartTeam(Protocol):
    """The fixture `start_team`: settings as for `start`."""

    async def __call__(self, url: str = "", **settings: object) -> Team[Gateway]: ...


class StartWorkers(Protocol):
    """The fixture `start_team_workers`: settings as for `start`."""

    async def __call__(self, url: str = "", **settings: object) -> Team[GatewayProcess]: ...
