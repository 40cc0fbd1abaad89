"""What a process used and could not tell Redis before it ended: another tells it, in its name and by its numbers.

The batch that was on its way may have been counted, and keeps its number; the rest goes in batches behind it. Who keeps
what is left after each of them may die at any time: what is told again counts once (`lua/settle.lua`).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, final

from limits.link import Link, Script, Word
from limits.owed import Account, Charges
from limits.policy import Kind

__all__ = ["CHARGED", "Ended", "Untold", "settle", "tell"]

SETTLE: Final = Script.read("settle")
CHARGED: Final = 128
"""Counters that are charged at once: Redis does nothing else meanwhile."""
MONEY: Final = frozenset(kind.code for kind in Kind if kind.money)


class Ended(NamedTuple):
    """A hold that has ended. `charges` in its place, where Redis knows nothing of it."""

    name: str
    subjects: Sequence[str]
    costs: Sequence[int]
    charges: Sequence[tuple[Account, int]]


@final
class Untold(NamedTuple):
    """`number` is that of the batch of `ended` and `charges`; `rest` goes behind it."""

    owner: str
    number: int
    ended: Sequence[Ended]
    charges: Sequence[tuple[Account, int]]
    rest: Sequence[tuple[Account, int]]

    def __bool__(self) -> bool:
        return bool(self.ended or self.charges or self.rest)

    @property
    def counters(self) -> int:
        return len({account for account, _ in self.all_charges()})

    @property
    def nano(self) -> int:
        """Nano-dollars, each once: what is spent counts for a key, its team and others, by day and in all."""
        sums: dict[tuple[str, int], int] = {}
        for (subject, code, _), cost in self.all_charges():
            if code in MONEY:
                sort = subject.partition(":")[0], code
                sums[sort] = sums.get(sort, 0) + cost
        return max(sums.values(), default=0)

    def all_charges(self) -> Charges:
        return [*(charge for each in self.ended for charge in each.charges), *self.charges, *self.rest]

    def after(self, unknown: Sequence[int]) -> "Untold":
        """What is left once the batch was counted; Redis knew nothing of those holds."""
        rest = [*(charge for at in unknown for charge in self.ended[at].charges), *self.rest]
        return Untold(self.owner, self.number + 1, (), rest[:CHARGED], rest[CHARGED:])


async def settle(
    link: Link,
    keys: Callable[[Sequence[str]], list[str]],
    owner: str,
    number: int,
    since: int,
    charges: Charges,
    ended: Sequence[tuple[str, Sequence[str], Sequence[int]]],
) -> object:
    """What `lua/settle.lua` answers to a batch: charges, and names, subjects and costs of holds."""
    numbers: dict[str, int] = {}
    words: list[Word] = [f"{owner}:told", number, since, len(charges)]
    for (subject, code, period), cost in charges:
        words += (numbers.setdefault(subject, len(numbers) + 1), code, period, cost)
    for name, subjects, costs in ended:
        places = [numbers.setdefault(subject, len(numbers) + 1) for subject in subjects]
        words += (name, len(places), *places, len(costs), *costs)
    return await link.script(SETTLE, keys([*numbers]), words)


async def tell(
    untold: Untold,
    link: Link,
    keys: Callable[[Sequence[str]], list[str]],
    keep: Callable[[Untold], Awaitable[object]],
) -> int:
    """Raises as the link does. How many counters, or holds, Redis can't count; `keep` is given what is left."""
    missed = 0
    while untold:
        ended = [each[:3] for each in untold.ended]
        answer = await settle(link, keys, untold.owner, untold.number, 0, untold.charges, ended)
        if not isinstance(answer, list):
            raise ConnectionError("what answers is no Redis")
        missed += sum(number < 0 for number in answer)
        charged = len(untold.charges)
        untold = untold.after([number - charged - 1 for number in answer if number > 0])
        await keep(untold)
    return missed
