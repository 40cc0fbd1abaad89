"""What the limits of a gateway in keys mode have left, asked of its limiter, and calls whose price a test knows."""

import asyncio
import dataclasses
from typing import Any, Final

from limits import Demand, RedisLimiter
from tests.fakes.answers import Answer, json_answer
from tests.fakes.asking import completion
from tests.fakes.gateway import Gateway
from tests.fakes.limiting import told
from tests.fakes.team import Member, Team

__all__ = ["ASKED", "ESTIMATE", "FITTING", "RESERVED", "fitting_answer", "known", "left", "usd", "used_answer"]

ASKED: Final = 9
"""Tokens that FITTING is estimated at."""
ESTIMATE: Final = 16
"""With an answer of seven."""
FITTING: Final[dict[str, Any]] = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 7}
RESERVED: Final = 79_000
"""Nano-dollars that it is reserved at."""
STREAK: Final = 24
"""Connections, of which the kernel gives each to one of two workers: all to one is a chance of 1 in eight million."""


def usd(nano: int) -> float:
    return nano / 1e9


def used_answer(asked: int, answered: int, model: str = "m-2025", **fields: Any) -> Answer:
    """It says that it has used so many tokens."""
    usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
    return dataclasses.replace(json_answer(completion(usage=usage, model=model)), **fields)


def fitting_answer(**fields: Any) -> Answer:
    """It has used just what was reserved."""
    return used_answer(ASKED, 7, **fields)


async def known(team: Team[Any], member: Member) -> None:
    """To both of two workers, each of whom hears of a key within a second; no limit hears of this."""
    streak = 0
    async with asyncio.timeout(5.0):
        while streak < STREAK:
            response = await team.ask(member, b"no JSON")
            streak = streak + 1 if response.status == 400 else 0


async def left(team: Team[Gateway], member: Member) -> dict[str, int]:
    """By subject and kind, "team requests_per_day": of its key, its team, the upstream and all together."""
    metering, table = team.gateway.app._pipeline._metering, team.gateway.app._accounts._table
    assert metering is not None
    assert table is not None
    terms = metering.limits._terms.of(member.id, table.key(member.id))
    theirs = metering.limits._terms.of_upstream("test")
    limits = [demand.limit for demand in (*terms.requests, *theirs.requests)] + [*terms.spending, *theirs.spending]
    found = {}
    for limit in limits:
        grant = await team.limiter.reserve([Demand(limit, 0)])
        team.limiter.settle(grant, [0])
        (state,) = grant.states
        found[f"{limit.subject.partition(':')[0]} {limit.kind.value}"] = state.remaining
    if isinstance(team.limiter, RedisLimiter):
        await told(team.limiter)
    return found
