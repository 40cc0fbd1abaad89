"""What a request to the admin API brings, read and checked."""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from proxy.admin.problems import Problem
from proxy.telemetry.redact import redacted

__all__ = ["answered", "decoded", "page_of", "refused"]

BODY: Final = 10.0
"""Seconds that a request's body may take."""
MAX_LIMIT: Final = 1_000
LIMIT: Final = 100
MAX_MESSAGE: Final = 200

T = TypeVar("T")


async def decoded(request: web.Request, kind: type[T]) -> T:
    """A JSON object from the body; none at all is an empty one. Raises Problem; 413 over the application's bound."""
    try:
        async with asyncio.timeout(BODY):
            body = await request.read()
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "the body did not come") from None
    try:
        found = msgspec.json.decode(body or b"{}", type=kind)
        json.loads(body or b"{}", object_pairs_hook=_once)
    except msgspec.ValidationError as error:
        # It says what was expected; where it quotes what came, that may be a secret in the wrong place.
        message, _, where = str(error).partition(" - at `$.")
        if "matching regex" in message:
            message = "is too long, empty, or holds a character that it can't"
        raise refused(redacted(where.strip("`"), MAX_MESSAGE), redacted(message, MAX_MESSAGE)) from None
    except (msgspec.DecodeError, ValueError):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is no JSON object") from None
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two members of one name some take the first and some the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise refused("", "two members of the body have one name")
    return found


def page_of(asked: dict[str, str]) -> tuple[int, str]:
    """Takes limit and cursor from the query."""
    limit = asked.pop("limit", str(LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= MAX_LIMIT):
        raise refused("limit", f"a whole number from 1 to {MAX_LIMIT}")
    return int(limit), asked.pop("cursor", "")


def refused(field: str, why: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, f"{field}: {why}" if field else why, {"field": field} if field else {})


def answered(document: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(status=status, content_type="application/json", body=msgspec.json.encode(document))
