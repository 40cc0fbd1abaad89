"""The admin API's part about the cache: what is in it, and how it goes."""

import asyncio
import base64
import json
import math
import re
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, Final, final

import msgspec
from aiohttp import web

from cache.catalogue import Catalogue, Shown
from cache.entry import Entry, Meta
from cache.purge import Outcome, Purger, Unfinished
from cache.search import BadCursor
from cache.select import BadSelector, Selector
from proxy.admin.problems import Problem
from proxy.telemetry.log import Log

__all__ = ["CacheRoutes"]

MAX_LIMIT: Final = 1_000
LIMIT: Final = 100
BODY: Final = 10.0
"""Seconds that a request's body may take."""
KEY: Final = re.compile("[0-9a-f]{64}")
FLAGS: Final = {"true": True, "false": False}
CONDITIONS: Final = frozenset(["key", "tag", "model", "team", "endpoint", "scope", "older_than", "all"])

_WHY: Final = {
    Unfinished.OTHERS: "the other workers could not be told",
    Unfinished.REDIS: "Redis did not answer",
    Unfinished.QUESTIONS: "what is known of its questions could not all be removed",
    Unfinished.FILE: "the snapshot could not be removed",
}


@final
class CacheRoutes:
    """`endpoints` are those that entries can have. `wall` is in seconds since the epoch; `worker` is this one."""

    def __init__(
        self,
        catalogue: Catalogue,
        purger: Purger,
        *,
        endpoints: Collection[str],
        log: Log,
        wall: Callable[[], float],
        worker: int,
    ) -> None:
        self._catalogue = catalogue
        self._endpoints = endpoints
        self._purger = purger
        self._log = log
        self._wall = wall
        self._worker = worker

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/cache/stats", self._stats)
        router.add_get("/cache/entries", self._entries)
        router.add_get("/cache/entries/{key}", self._entry)
        router.add_post("/cache/purge", self._purge)

    async def _stats(self, _request: web.Request) -> web.Response:
        memory, redis, waiting = await self._catalogue.holdings()
        removed = {reason.value: count for reason, count in memory.removed.items()}
        shared: dict[str, object] | None = None
        if self._catalogue.shared:
            known = {} if redis is None else {"database_keys": redis.keys, "database_bytes": redis.bytes}
            shared = {"state": "down" if redis is None else "up", "waiting_writes": waiting, **known}
        return _json(
            {
                "worker": self._worker,
                "memory": {"entries": memory.entries, "bytes": memory.bytes, "removed": removed},
                "redis": shared,
            }
        )

    async def _entries(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        limit = _whole(asked.pop("limit", str(LIMIT)))
        cursor = asked.pop("cursor", None)
        selector = self._selector({name: _from_query(name, value) for name, value in asked.items()} or {"all": True})
        if selector.empty:
            selector = Selector(all=True)
        try:
            page = await self._catalogue.page(selector, limit, cursor)
        except BadCursor:
            raise Problem(HTTPStatus.BAD_REQUEST, "cursor: not one that a listing gave", {"field": "cursor"}) from None
        now = self._wall()
        found = {
            "tier": self._catalogue.tier,
            "worker": self._worker,
            "entries": [_described(each.meta, now) | {"bytes": each.bytes} for each in page.entries],
            "cursor": page.cursor,
        }
        if not page.complete:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Redis did not answer", found)
        return _json(found)

    async def _entry(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        whole = _from_query("body", request.query.get("body", "false"))
        if not KEY.fullmatch(key):
            raise Problem(HTTPStatus.BAD_REQUEST, "key: 64 hexadecimal digits, lower case", {"field": "key"})
        try:
            shown = await self._catalogue.show(key, whole=whole is True)
        except ConnectionError:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Redis did not answer") from None
        if shown is None:
            raise Problem(HTTPStatus.NOT_FOUND, "no entry has this key")
        # Megabytes of answer take their time to be written down.
        return web.Response(
            content_type="application/json", body=await asyncio.to_thread(_shown, shown, self._wall(), self._worker)
        )

    async def _purge(self, request: web.Request) -> web.Response:
        asked = await _object(request)
        dry_run = asked.pop("dry_run", False)
        if type(dry_run) is not bool:
            raise Problem(HTTPStatus.BAD_REQUEST, "dry_run: must be true or false", {"field": "dry_run"})
        selector = self._selector(asked)
        if selector.empty:
            conditions = ", ".join(sorted(CONDITIONS))
            raise Problem(HTTPStatus.BAD_REQUEST, f"which entries? give one of {conditions}", {"field": "selector"})
        outcome = await (self._purger.count(selector) if dry_run else self._purger.purge(selector))
        answer = self._outcome(selector, outcome, dry_run=dry_run)
        if not dry_run:
            redis = None if outcome.redis is None else outcome.redis.entries
            unfinished = [why.value for why in outcome.unfinished]
            counted = {"memory": outcome.memory.entries, "redis": redis, "unfinished": unfinished}
            self._log.info("cache_purged", **selector.as_dict(), **counted)
        if outcome.unfinished:
            why = ", ".join(_WHY[each] for each in outcome.unfinished)
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"not finished: {why}; ask again", answer)
        return _json(answer)

    def _selector(self, asked: dict[str, Any]) -> Selector:
        for name in asked:
            if name not in CONDITIONS:
                raise Problem(HTTPStatus.BAD_REQUEST, f"{name[:64]}: no such field", {"field": name[:64]})
        try:
            selector = Selector.from_dict(asked)
        except BadSelector as bad:
            raise Problem(HTTPStatus.BAD_REQUEST, str(bad), {"field": bad.field}) from None
        if selector.endpoint is not None and selector.endpoint not in self._endpoints:
            known = ", ".join(sorted(self._endpoints))
            raise Problem(HTTPStatus.BAD_REQUEST, f"endpoint: must be one of {known}", {"field": "endpoint"})
        return selector

    def _outcome(self, selector: Selector, outcome: Outcome, *, dry_run: bool) -> dict[str, object]:
        memory, redis = outcome.memory, outcome.redis
        return {
            "dry_run": dry_run,
            "selector": selector.as_dict(),
            "complete": not outcome.unfinished,
            "unfinished": [each.value for each in outcome.unfinished],
            "memory": {"worker": self._worker, "entries": memory.entries, "bytes": memory.bytes},
            "redis": None
            if redis is None
            else {"entries": redis.entries, "bytes": redis.bytes, "complete": redis.complete},
        }


async def _object(request: web.Request) -> dict[str, Any]:
    """A JSON object from the body. Raises Problem, and 413 for a body over the application's bound."""
    try:
        async with asyncio.timeout(BODY):
            body = await request.read()
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "the body did not come") from None
    try:
        asked = json.loads(body, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is no JSON object", {"field": "selector"})
    return asked


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Problem(HTTPStatus.BAD_REQUEST, "two members of the body have one name", {"field": "selector"})
    return members


def _from_query(name: str, value: str) -> object:
    """As JSON would have it."""
    if name == "older_than":
        try:
            return float(value)
        except ValueError:
            return math.nan
    if name not in ("all", "body"):
        return value
    if value not in FLAGS:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name}: must be true or false", {"field": name})
    return FLAGS[value]


def _whole(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 6 and 1 <= int(value) <= MAX_LIMIT):
        raise Problem(HTTPStatus.BAD_REQUEST, f"limit: a whole number from 1 to {MAX_LIMIT}", {"field": "limit"})
    return int(value)


def _described(meta: Meta, now: float) -> dict[str, object]:
    """All of an entry but the answer; times in seconds since the epoch, age and ttl in seconds."""
    return {
        "key": meta.key,
        "kind": meta.kind.value,
        "endpoint": meta.endpoint,
        "model": meta.model,
        "served_model": meta.served_model,
        "upstream": meta.upstream,
        "scope": meta.scope,
        "team": meta.team,
        "tags": meta.tags,
        "created": meta.created,
        "expires": meta.expires,
        "stale_until": meta.stale_until,
        "age": round(max(0.0, now - meta.created), 3),
        "ttl": round(meta.expires - now, 3),
        "spent_ms": meta.spent_ms,
    }


def _shown(shown: Shown, now: float, worker: int) -> bytes:
    meta = shown.meta
    more: dict[str, object] = {
        "worker": worker,
        "status": meta.status,
        "content_type": meta.content_type.decode("latin-1"),
        "usage": msgspec.Raw(meta.usage or b"null"),
        "tier": meta.tier or None,
        "bytes": shown.bytes,
    }
    if shown.entry is not None:
        more["body"] = _body(shown.entry)
    return msgspec.json.encode(_described(meta, now) | more)


def _body(entry: Entry) -> dict[str, object]:
    """Frames as text, or as base64 where they are none; `gaps` are the milliseconds before each."""
    try:
        return {"encoding": "utf-8", "frames": [frame.decode() for frame in entry.frames], "gaps": entry.gaps}
    except UnicodeDecodeError:
        frames = [base64.b64encode(frame).decode() for frame in entry.frames]
        return {"encoding": "base64", "frames": frames, "gaps": entry.gaps}


def _json(document: object) -> web.Response:
    return web.Response(content_type="application/json", body=msgspec.json.encode(document))
