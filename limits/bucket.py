"""A token bucket in integers. Sans-IO; `lua/meters.lua` does the same sums.

    room ─┬─ burst          The bucket is kept as what is missing from it, in units of which a token has 60,000,
          │                 so that a limit of `amount` tokens a minute gives back `amount` units a millisecond
          │ remaining       and nothing is ever rounded. Missing nothing, a bucket is full: it is the same as one
          ┼─ missing        that nobody has used, and can be forgotten.
          │
          └─ debt           What a request costs is known when it is over. It may be more than there was:
                            then more is missing than the bucket holds, and whoever comes next waits longer.

Whatever the clock does, a bucket that is full gains nothing: a leap forward is worth one `burst` at most. Where the
clock goes back, time counts from there on: nothing is given twice, and nobody waits for the clock to catch up. All who
come to a bucket must read one clock in one way (`policy.milliseconds`), or it would go back with each of them.

What is given back because it was not used counts at once, as if the refill of the meantime had gone to others: what
was taken less what was given back is at most `burst` plus the refill, over any span of time.
"""

from typing import Final, final

from limits.policy import NEVER

__all__ = ["LARGEST", "UNIT", "Bucket"]

UNIT: Final = 60_000
"""Of a token: the milliseconds of a minute."""
LARGEST: Final = 2**53 - 1
"""Up to which Lua's numbers are exact."""


@final
class Bucket:
    """Times are milliseconds of one clock. `amount` and `burst` are those of the limit as it is now."""

    __slots__ = ("at", "missing", "rate")

    def __init__(self, now: int) -> None:
        self.missing = 0
        self.at = now
        self.rate = 0

    def __repr__(self) -> str:
        return f"<Bucket -{self.missing / UNIT:.3f} at {self.at}>"

    def wait(self, amount: int, burst: int, cost: int, now: int) -> int:
        """Milliseconds until there is room for `cost`: 0, or NEVER if there can't be."""
        self.refill(amount, now)
        need = cost or 1
        over = self.missing + (need - burst) * UNIT
        if over <= 0:
            return 0
        if need > burst or amount <= 0:
            return NEVER
        return -(-over // amount)

    def take(self, amount: int, burst: int, cost: int, now: int, figures: list[int]) -> int:
        """What `wait` says; if that is 0, it is taken. Behind `figures` come `remaining` and `reset`."""
        elapsed = now - self.at
        self.at = now
        self.rate = amount
        missing = self.missing
        if elapsed > 0 and missing:
            missing = max(0, missing - elapsed * amount)
        room = burst * UNIT - missing
        if (cost or 1) * UNIT > room:
            self.missing = missing
            figures += (self.remaining(burst), self.reset(amount))
            return self.wait(amount, burst, cost, now)
        self.missing = missing = min(LARGEST, missing + cost * UNIT)
        figures += ((room // UNIT) - cost, -(-missing // amount) if amount > 0 else self.reset(amount))
        return 0

    def refill(self, amount: int, now: int) -> None:
        elapsed = now - self.at
        self.at = now
        self.rate = amount
        if elapsed > 0 and self.missing:
            missing = self.missing - elapsed * amount
            self.missing = max(0, missing)

    def add(self, cost: int) -> None:
        """Takes, or gives back if it is negative. What is taken is taken now: refill first."""
        missing = self.missing + cost * UNIT
        self.missing = 0 if missing < 0 else min(LARGEST, missing)

    def remaining(self, burst: int) -> int:
        """Whole tokens."""
        left = burst * UNIT - self.missing
        return left // UNIT if left > 0 else 0

    def reset(self, amount: int) -> int:
        """Milliseconds until it is full, or NEVER."""
        return -(-self.missing // amount) if amount > 0 else 0 if not self.missing else NEVER

    def idle(self, now: int) -> bool:
        """It is full again, as far as its last user knew its limit."""
        return not self.missing or self.missing <= (now - self.at) * self.rate
