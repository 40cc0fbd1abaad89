"""Every way a request can fail, and what the client is told: the one place.

A `Failure` carries its `Kind`; the kind decides source, status, `type` and `code`
(shapes: https://platform.openai.com/docs/guides/error-codes). Nothing in a message may
name an internal host, a key, a prompt or a stack.
"""

import enum
from dataclasses import dataclass
from math import ceil
from typing import final

import msgspec

from limits.headers import retry_after
from proxy.exchange import Headers

__all__ = ["Failure", "Kind", "Source", "error_body"]


class Source(enum.Enum):
    CLIENT = "client"
    GATEWAY = "gateway"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class _Shape:
    source: Source
    status: int
    type: str
    message: str


class Kind(enum.Enum):
    """What went wrong. The value is the `code` of the error body and the metric label."""

    INVALID_REQUEST = "invalid_request"
    INVALID_JSON = "invalid_json"
    INVALID_API_KEY = "invalid_api_key"
    ENDPOINT_NOT_ALLOWED = "endpoint_not_allowed"
    MODEL_NOT_FOUND = "model_not_found"
    UNKNOWN_ROUTE = "unknown_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    REQUEST_TOO_LARGE = "request_too_large"
    UNSUPPORTED_ENCODING = "unsupported_content_encoding"
    HEADERS_TOO_LARGE = "request_headers_too_large"
    CLIENT_CLOSED = "client_closed_request"
    CLIENT_TOO_SLOW = "client_too_slow"
    CACHE_MISS = "cache_miss"
    RATE_LIMITED = "rate_limit_exceeded"
    INSUFFICIENT_QUOTA = "insufficient_quota"
    TOO_MANY_TOKENS = "too_many_tokens"
    LIMITS_UNAVAILABLE = "limits_unavailable"
    KEYS_UNAVAILABLE = "keys_unavailable"
    INTERNAL = "internal_error"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_DISCONNECTED = "upstream_disconnected"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"

    @property
    def source(self) -> Source:
        return _SHAPES[self].source

    @property
    def status(self) -> int:
        return _SHAPES[self].status


_INVALID = "invalid_request_error"
_C, _G, _U = Source.CLIENT, Source.GATEWAY, Source.UPSTREAM
_SHAPES = {
    Kind.INVALID_REQUEST: _Shape(_C, 400, _INVALID, "The request could not be understood."),
    Kind.INVALID_JSON: _Shape(_C, 400, _INVALID, "The request body is not a JSON object."),
    Kind.INVALID_API_KEY: _Shape(_C, 401, _INVALID, "No valid API key was given."),
    Kind.ENDPOINT_NOT_ALLOWED: _Shape(_C, 403, _INVALID, "This API key may not use this endpoint."),
    Kind.MODEL_NOT_FOUND: _Shape(_C, 404, _INVALID, "No upstream serves this model."),
    Kind.UNKNOWN_ROUTE: _Shape(_C, 404, _INVALID, "There is nothing at this path; the API is under /v1."),
    Kind.METHOD_NOT_ALLOWED: _Shape(_C, 405, _INVALID, "This path does not take this method."),
    Kind.REQUEST_TIMEOUT: _Shape(_C, 408, _INVALID, "The request did not arrive in time."),
    Kind.REQUEST_TOO_LARGE: _Shape(_C, 413, _INVALID, "The request body is larger than this gateway accepts."),
    Kind.UNSUPPORTED_ENCODING: _Shape(_C, 415, _INVALID, "This content-encoding is not supported for requests."),
    Kind.HEADERS_TOO_LARGE: _Shape(_C, 431, _INVALID, "The request headers are too large or too many."),
    Kind.CLIENT_CLOSED: _Shape(_C, 499, _INVALID, "The client closed the connection."),
    Kind.CLIENT_TOO_SLOW: _Shape(_C, 408, _INVALID, "The client read the answer too slowly."),
    Kind.CACHE_MISS: _Shape(_C, 504, _INVALID, "There is no stored answer, and only a stored one was asked for."),
    Kind.RATE_LIMITED: _Shape(_C, 429, "requests", "Too many requests; try again later."),
    Kind.INSUFFICIENT_QUOTA: _Shape(_C, 429, "insufficient_quota", "The budget is spent."),
    Kind.TOO_MANY_TOKENS: _Shape(_C, 400, _INVALID, "The request is for more tokens than this API key may ask for."),
    Kind.LIMITS_UNAVAILABLE: _Shape(_G, 503, "server_error", "The limits cannot be checked; try again shortly."),
    Kind.KEYS_UNAVAILABLE: _Shape(_G, 503, "server_error", "The API keys are not loaded; try again shortly."),
    Kind.INTERNAL: _Shape(_G, 500, "server_error", "The gateway failed to handle the request."),
    Kind.OVERLOADED: _Shape(_G, 503, "server_error", "The gateway is overloaded; try again shortly."),
    Kind.DRAINING: _Shape(_G, 503, "server_error", "The gateway is shutting down; try again."),
    Kind.UPSTREAM_UNREACHABLE: _Shape(_U, 502, "upstream_error", "The upstream could not be reached."),
    Kind.UPSTREAM_ERROR: _Shape(_U, 502, "upstream_error", "The upstream gave no valid answer."),
    Kind.UPSTREAM_DISCONNECTED: _Shape(_U, 502, "upstream_error", "The upstream broke off its answer."),
    Kind.UPSTREAM_TIMEOUT: _Shape(_U, 504, "upstream_error", "The upstream did not answer in time."),
    Kind.UPSTREAM_UNAVAILABLE: _Shape(_U, 503, "upstream_error", "No upstream is available; try again shortly."),
}  # fmt: skip


_HOPELESS = (Kind.CACHE_MISS, Kind.INSUFFICIENT_QUOTA)


@final
class Failure(Exception):
    """A request that cannot be answered as asked.

    `unprocessed` says that the upstream provably did not act on the request, so that sending it
    again cannot bill twice. `retry_after` is in seconds. `detail` is for the log, never the client.
    `type_` stands in the place of the kind's own. `account`: whose limit it is; nobody else is refused by it.
    `held_back`: a stream's, while nothing of it had gone to anybody yet. `rationed`: there may be no retry now.
    `reached`: an upstream may have acted on the request, also where it was another's that is shared.
    """

    def __init__(
        self,
        kind: Kind,
        message: str = "",
        *,
        param: str | None = None,
        unprocessed: bool = False,
        retry_after: float | None = None,
        allow: str = "",
        detail: str = "",
        type_: str = "",
        account: str = "",
    ) -> None:
        super().__init__(message or _SHAPES[kind].message)
        self.kind = kind
        self.param = param
        self.unprocessed = unprocessed
        self.retry_after = retry_after
        self.allow = allow
        self.detail = detail
        self.type = type_ or _SHAPES[kind].type
        self.account = account
        self.held_back = self.rationed = self.reached = False

    def __repr__(self) -> str:
        return f"<Failure {self.kind.value}{' unprocessed' if self.unprocessed else ''}>"

    @property
    def status(self) -> int:
        return self.kind.status

    def copy(self) -> "Failure":
        """The same for somebody else: one that is raised remembers by whom, and keeps all that he holds."""
        same = Failure(
            self.kind,
            str(self),
            param=self.param,
            unprocessed=self.unprocessed,
            retry_after=self.retry_after,
            allow=self.allow,
            detail=self.detail,
            type_=self.type,
            account=self.account,
        )
        same.held_back, same.rationed, same.reached = self.held_back, self.rationed, self.reached
        return same

    def body(self) -> bytes:
        return error_body(str(self), self.type, self.param, self.kind.value)

    def frame(self) -> bytes:
        """The failure as one server-sent event, for a stream that has started."""
        return b"data: %b\n\n" % self.body()

    def headers(self, *, safe_method: bool) -> Headers:
        """What goes beside the body; `x-should-retry: false` where a retry may bill twice, or can't help."""
        headers: Headers = [(b"content-type", b"application/json")]
        if self.retry_after is not None:
            headers += retry_after(ceil(self.retry_after * 1_000))
        if self.allow:
            headers.append((b"allow", self.allow.encode()))
        bills = self.kind.source is Source.UPSTREAM and not self.unprocessed and not safe_method
        if bills or self.kind in _HOPELESS or (self.kind is Kind.RATE_LIMITED and self.retry_after is None):
            headers.append((b"x-should-retry", b"false"))
        return headers


def error_body(message: str, type_: str, param: str | None, code: str) -> bytes:
    """`{"error": {message, type, param, code}}` as OpenAI sends it."""
    return msgspec.json.encode({"error": {"message": message, "type": type_, "param": param, "code": code}})
