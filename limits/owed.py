"""What this process has used, or holds, while the store that counts for all may not know of it. Sans-IO.

It is taken from what the store says is left, from before it is used until the store has said that it counted it:
nobody is admitted against a counter that this process knows to be too low. Of what is on its way to the store only the
store can tell whether it has counted it; so that part is told apart, by the number of the batch that it is in.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias, final

from limits.budget import Calendar
from limits.policy import Kind, milliseconds

__all__ = ["COUNTERS", "Account", "Charges", "Owed"]

COUNTERS: Final = frozenset(kind for kind in Kind if not kind.bucket and kind is not Kind.CONCURRENT)
"""What is used of these stays used until their period is over."""

Account: TypeAlias = tuple[str, int, int]
"""A counter: its subject, the code of its kind, the period."""
Charges: TypeAlias = Sequence[tuple[Account, int]]


@final
class Owed:
    """`wall` is in seconds since the epoch."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._calendar = Calendar()
        self._amounts: dict[Account, int] = {}
        self._sent: dict[Account, int] = {}
        self.batch = 0
        """Which is on its way, if anything of it is owed."""

    def __repr__(self) -> str:
        return f"<Owed {len(self._amounts)} counters>"

    def __bool__(self) -> bool:
        return bool(self._amounts)

    def periods(self) -> Sequence[int]:
        """The present ones, by the code of a kind."""
        self._calendar.turn(milliseconds(self._wall()))
        return self._calendar.period

    def left(self, kind: Kind) -> int:
        """Milliseconds of the present period."""
        self.periods()
        return self._calendar.left[kind.code]

    def of(self, account: Account) -> int | str:
        """Where a batch is on its way: what waits, and what is in that."""
        amount = self._amounts.get(account, 0)
        if not self.batch:
            return amount
        sent = self._sent.get(account, 0)
        return f"{amount - sent} {sent}"

    def owes(self, account: Account) -> bool:
        return account in self._amounts

    def sending(self, batch: int, charges: Iterable[tuple[Account, int]]) -> None:
        for account, amount in charges:
            self._sent[account] = self._sent.get(account, 0) + amount
        self.batch = batch if self._sent else 0

    def sent(self) -> None:
        """Nothing is on its way any more."""
        if self.batch:
            self.batch = 0
            self._sent.clear()

    def add(self, account: Account, amount: int) -> None:
        """Or takes it off, if it is negative."""
        left = self._amounts.get(account, 0) + amount
        if left:
            self._amounts[account] = left
        else:
            self._amounts.pop(account, None)
