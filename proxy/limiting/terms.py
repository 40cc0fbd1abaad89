"""Which limits hold for whom: a key's own, its team's, an upstream's and those of all requests. Sans-IO."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, final

from limits.policy import Demand, Kind, Limit, Mode, OnFailure
from proxy.keys.key import BUDGETS, LIMITS, Team, VirtualKey

if TYPE_CHECKING:
    from proxy.limiting.plan import Plan

__all__ = ["EVERYBODY", "OURSELVES", "Rule", "Terms", "TermsBook"]

EVERYBODY: Final = "global"
OURSELVES: Final = "askonce"
"""The account of what the gateway asks for itself: no client's has this name, and no limit of theirs holds for it."""
MAX_KNOWN: Final = 4_096
_PER_REQUEST: Final = (Kind.REQUESTS, Kind.DAILY, Kind.CONCURRENT)
"""Kinds of which every request takes one, whoever answers it."""
_ORDER: Final = (*LIMITS, *BUDGETS)


class Rule(NamedTuple):
    """What holds for subjects of one sort that say nothing else. Money in nano-dollars."""

    amounts: Mapping[Kind, int]
    mode: Mode = Mode.ENFORCE
    on_failure: OnFailure = OnFailure.LOCAL


@final
class Terms:
    """Of one caller, or one upstream."""

    __slots__ = ("budgeted", "plans", "requests", "sessions", "spending")

    def __init__(self, limits: Sequence[Limit]) -> None:
        self.requests = tuple(Demand(limit, 1) for limit in limits if limit.kind in _PER_REQUEST)
        """One each, of what every request counts towards."""
        self.spending = tuple(limit for limit in limits if limit.kind not in _PER_REQUEST)
        """What a call upstream counts towards as well: tokens and money."""
        self.budgeted = any(limit.kind.money and limit.mode is Mode.ENFORCE for limit in self.spending)
        self.plans: dict[tuple[str | None, bool, bool], Plan] = {}
        """What was worked out of them."""
        self.sessions: dict[str, Plan] = {}
        """Of answers of sessions, by their upstream."""

    def __repr__(self) -> str:
        return f"<Terms of {len(self.requests) + len(self.spending)} limits>"


@final
class TermsBook:
    """`burst` is in seconds: how much refill a bucket holds. `soft` is the part of a budget from which it warns."""

    def __init__(
        self,
        *,
        key: Rule,
        team: Rule,
        upstream: Rule,
        gateway: Rule,
        upstreams: Mapping[str, Mapping[Kind, int]],
        teams: Callable[[str], Team | None],
        burst: float,
        soft: float,
    ) -> None:
        self._key = key
        self._team = team
        self._teams = teams
        self._burst = burst
        self._soft = soft
        self._everybody = self._limits(EVERYBODY, gateway, {})
        self._upstreams = {
            name: Terms(self._limits(f"upstream:{name}", upstream, own)) for name, own in upstreams.items()
        }
        self._none = Terms(())
        self._known: dict[str, tuple[VirtualKey | None, Team | None, Terms]] = {}
        self.empty = not self._everybody and not key.amounts and not team.amounts
        """Nobody is limited whose key says nothing."""
        self.idle = self.empty and not any(each.requests or each.spending for each in self._upstreams.values())
        """Nor is any upstream."""

    def __repr__(self) -> str:
        return f"<TermsBook {len(self._known)} known>"

    def of(self, account: str, key: VirtualKey | None) -> Terms:
        """`account`: who asks; `key`: with which virtual key, if there are any."""
        if key is None and self.empty:
            return self._none
        team = self._teams(key.team) if key is not None and key.team else None
        known = self._known.get(account)
        if known is not None and known[0] is key and known[1] is team:
            return known[2]
        terms = Terms((*self._own(account, key), *self._of_team(key, team), *self._everybody))
        self._known.pop(account, None)
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[account] = key, team, terms
        return terms

    def of_upstream(self, name: str) -> Terms:
        return self._upstreams.get(name, self._none)

    def _own(self, account: str, key: VirtualKey | None) -> tuple[Limit, ...]:
        if account == OURSELVES:
            return ()
        own = {} if key is None else {**key.limits, **key.budgets}
        return self._limits(f"key:{account}", self._key, own)

    def _of_team(self, key: VirtualKey | None, team: Team | None) -> tuple[Limit, ...]:
        if key is None or not key.team:
            return ()
        own = {} if team is None else {**team.limits, **team.budgets}
        return self._limits(f"team:{key.team}", self._team, own)

    def _limits(self, subject: str, rule: Rule, own: Mapping[Kind, int]) -> tuple[Limit, ...]:
        amounts = {**rule.amounts, **own}
        # One on trial holds up nobody: there is nothing to warn of.
        soft = self._soft if rule.mode is Mode.ENFORCE else 0.0
        return tuple(
            Limit(
                subject,
                kind,
                amounts[kind],
                burst=self._capacity(amounts[kind]) if kind.bucket else 0,
                mode=rule.mode,
                soft=int(amounts[kind] * soft) if kind.money else 0,
                on_failure=rule.on_failure,
            )
            for kind in _ORDER
            if kind in amounts
        )

    def _capacity(self, amount: int) -> int:
        return max(1, int(amount * self._burst / 60)) if amount else 0
