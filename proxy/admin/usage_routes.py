"""The admin API's part about the ledger: what was used, the latest requests, and who changed what."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar, final

from aiohttp import web

from proxy.admin.bodies import answered, page_of, refused
from proxy.admin.problems import Problem
from proxy.ledger.fold import MEASURES, day_of
from proxy.ledger.query import (
    BadCursor,
    BadQuestion,
    Book,
    By,
    Change,
    Wanted,
    dollars,
    parse_days,
    parse_time,
)
from proxy.ledger.row import KINDS, Row

__all__ = ["UsageRoutes"]

T = TypeVar("T")

SINCE: Final = "7d"
MAX_VALUE: Final = 256
_FILTERS: Final[dict[str, By]] = {by.value: by for by in By if by is not By.DAY}
_NAMES: Final = {"served_model": "served"}
"""Fields that are called otherwise within."""


@final
class UsageRoutes:
    """`wall` is in seconds since the epoch."""

    def __init__(self, book: Book, *, wall: Callable[[], float]) -> None:
        self._book = book
        self._wall = wall

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/usage", self._usage)
        router.add_get("/requests", self._requests)
        router.add_get("/audit", self._audit)

    async def _usage(self, request: web.Request) -> web.Response:
        asked = _asked(request, {"by", "since", "until", *_FILTERS})
        try:
            by = By(asked.pop("by", By.DAY.value))
        except ValueError:
            raise refused("by", f"one of {', '.join(each.value for each in By)}") from None
        try:
            days = parse_days(asked.pop("since", SINCE), asked.pop("until", ""), day_of(self._wall()))
        except BadQuestion as bad:
            raise refused(bad.field, bad.why) from None
        where: dict[By, str] = {_FILTERS[name]: value for name, value in asked.items()}
        report = await _asked_of(self._book.usage(by, days, where))
        since, until = days.as_dates()
        return answered(
            {
                "by": by.value,
                "since": since,
                "until": until,
                "lines": [{"name": line.name} | _sums(line.sums) for line in report.lines],
                "more": report.more,
                "total": _sums(report.total.sums),
                "lost": report.lost,
            }
        )

    async def _requests(self, request: web.Request) -> web.Response:
        asked = _asked(request, {"limit", "cursor", "served_model", *Wanted.__struct_fields__} - {"served"})
        limit, cursor = page_of(asked)
        page = await _asked_of(self._book.requests(_wanted(asked), limit, cursor or None))
        return answered({"requests": [_described(row) for row in page.rows], "cursor": page.cursor})

    async def _audit(self, request: web.Request) -> web.Response:
        limit, cursor = page_of(_asked(request, {"limit", "cursor"}))
        page = await _asked_of(self._book.changes(limit, cursor or None))
        return answered({"changes": [_told(change) for change in page.changes], "cursor": page.cursor})


async def _asked_of(answer: Awaitable[T]) -> T:
    """Raises Problem."""
    try:
        return await answer
    except BadCursor:
        raise refused("cursor", "not one that a page gave") from None
    except TimeoutError:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the ledger takes too long; ask for less") from None
    except ConnectionError:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the ledger's store did not answer") from None


def _asked(request: web.Request, known: set[str]) -> dict[str, str]:
    """What the query says. Raises Problem."""
    for name, value in request.query.items():
        if name not in known:
            raise refused(name[:64], "no such field")
        if len(value) > MAX_VALUE:
            raise refused(name, f"at most {MAX_VALUE} characters")
    return dict(request.query)


def _wanted(asked: Mapping[str, str]) -> Wanted:
    found: dict[str, Any] = {_NAMES.get(name, name): value for name, value in asked.items()}
    try:
        for name in ("since", "until"):
            if name in found:
                found[name] = parse_time(name, found[name])
    except BadQuestion as bad:
        raise refused(bad.field, bad.why) from None
    if "status" in found:
        if not (found["status"].isascii() and found["status"].isdigit() and len(found["status"]) == 3):
            raise refused("status", "three digits")
        found["status"] = int(found["status"])
    return Wanted(**found)


def _sums(sums: Sequence[int]) -> dict[str, object]:
    """Dollars as exact decimals, durations in milliseconds; of what is used, the kinds that there are."""
    found: dict[str, Any] = dict(zip(MEASURES, sums, strict=True))
    used = {kind: amount for kind in KINDS if (amount := found.pop(f"used_{kind}"))}
    cost, saved, duration = found.pop("cost"), found.pop("saved"), found.pop("duration")
    return found | {
        "cost_usd": dollars(cost),
        "saved_usd": dollars(saved),
        "duration_ms": duration // 1_000,
        "used": used,
    }


def _described(row: Row) -> dict[str, object]:
    """Times in seconds since the epoch; null is what is not known, or never happened."""
    return {
        "call_id": row.call_id,
        "time": row.time,
        "key": row.key,
        "team": row.team,
        "endpoint": row.endpoint,
        "model": row.model,
        "served_model": row.served,
        "upstream": row.upstream,
        "cache": row.cache,
        "used": row.used,
        "cost_usd": None if row.cost is None else dollars(row.cost),
        "saved_usd": None if row.saved is None else dollars(row.saved),
        "estimated": row.estimated,
        "status": row.status,
        "error": row.error,
        "attempts": row.attempts,
        "duration_ms": row.duration / 1_000,
        "first_token_ms": None if row.first_token is None else row.first_token / 1_000,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "tags": row.tags,
    }


def _told(change: Change) -> dict[str, object]:
    return {
        "time": change.at,
        "who": change.who,
        "what": change.what,
        "subject": change.subject,
        "details": change.details,
    }
