"""Errors of the private listener as problem details (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

__all__ = ["Problem", "problems"]


@final
class Problem(Exception):
    """`members` stand beside `detail` in the answer, `headers` in its head."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        members: Mapping[str, object] = MappingProxyType({}),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = members
        self.headers = headers


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return _answer(problem.status, problem.headers, {"detail": problem.detail, **problem.members})
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"allow": error.headers["allow"]} if "allow" in error.headers else {}
        return _answer(HTTPStatus(error.status), headers, {})


def _answer(status: HTTPStatus, headers: Mapping[str, str], members: Mapping[str, object]) -> web.Response:
    problem = {"type": "about:blank", "title": status.phrase, "status": status.value, **members}
    return web.Response(
        status=status, headers=headers, content_type="application/problem+json", body=msgspec.json.encode(problem)
    )
