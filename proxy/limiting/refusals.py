"""What a client is told that has no room within its limits, or whose cost can't be told. Sans-IO."""

from typing import Final

from limits.grant import Grant
from limits.headers import duration
from limits.policy import NEVER, Demand, Kind, OnFailure, Store
from proxy.errors import Failure
from proxy.errors import Kind as Error
from proxy.exchange import Exchange

__all__ = ["refusal", "unpriced"]

_WORDS: Final = {
    Kind.REQUESTS: "requests per minute",
    Kind.TOKENS: "tokens per minute",
    Kind.DAILY: "requests per day",
    Kind.CONCURRENT: "concurrent requests",
    Kind.SPEND_DAY: "a day",
    Kind.SPEND_MONTH: "a month",
    Kind.SPEND: "in all",
}
_WHOSE: Final = {"key": "this API key", "team": "this team", "upstream": "this upstream", "global": "this gateway"}


def refusal(exchange: Exchange, grant: Grant, demand: Demand) -> Failure:
    """Why `demand`, which has to wait longest, has no room."""
    limit = demand.limit
    subject = limit.subject.partition(":")[0]
    # Another upstream may have room.
    whose, theirs = _WHOSE[subject], subject == "upstream"
    if grant.store is Store.DOWN and (limit.on_failure is OnFailure.CLOSED or limit.kind.money):
        # What others have spent is not known: it is no word on the budget.
        return Failure(Error.LIMITS_UNAVAILABLE, retry_after=1, account=exchange.account)
    wait = grant.retry_after_ms
    again_in = None if wait == NEVER else wait / 1_000
    if limit.kind.money:
        message = _spent(grant, demand, whose)
        return Failure(
            Error.INSUFFICIENT_QUOTA, message, retry_after=again_in, unprocessed=theirs, account=exchange.account
        )
    asked = f", requested {demand.cost}" if limit.kind is Kind.TOKENS else ""
    again = "This request can never be served." if wait == NEVER else f"Please try again in {duration(wait)}."
    return Failure(
        Error.RATE_LIMITED,
        f"Rate limit reached for {whose} on {_WORDS[limit.kind]}: limit {limit.amount}{asked}. {again}",
        retry_after=again_in,
        type_="tokens" if limit.kind is Kind.TOKENS else "requests",
        unprocessed=theirs,
        account=exchange.account,
    )


def unpriced(exchange: Exchange, what: str) -> Failure:
    """`what`: "model" or "request"."""
    return Failure(
        Error.INSUFFICIENT_QUOTA,
        f"The price of this {what} is not known, so that the budget of this API key could not be kept. The gateway's"
        f" operator can {'set one, or ' if what == 'model' else ''}allow it.",
        param="model" if what == "model" else None,
        account=exchange.account,
    )


def _spent(grant: Grant, demand: Demand, whose: str) -> str:
    limit = demand.limit
    budget = f"{_usd(limit.amount)} USD {_WORDS[limit.kind]}"
    left = next((state.remaining for state in grant.states if state.limit is limit), 0)
    if not left:
        return f"The budget of {whose} is spent, or held by requests under way: {budget}."
    return (
        f"This request may cost {_usd(demand.cost)} USD, and of the budget of {whose}, {budget}, {_usd(left)} are left."
    )


def _usd(nano: int) -> str:
    return f"{nano / 1e9:.9f}".rstrip("0").rstrip(".")
