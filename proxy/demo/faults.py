"""Faults on request: what a client asks the demo upstream to do wrong.

By header, on any path:

`x-demo-error: 429`           answer with this status, in OpenAI's error shape
`x-demo-retry-after-ms: 20`   what the error says in `retry-after-ms` and `retry-after` (429 and 503: 1000)
`x-demo-fail-first: 2`        do the fault only on the first two attempts (`x-stainless-retry-count` below 2)
`x-demo-fault: cut`           what goes wrong in an answer's body, one of `Fault`
`x-demo-after: 3`             after so many frames (default 2)
`x-demo-latency-ms: 200`      wait before answering
`x-demo-tokens-per-second: 50`  the pace of a stream, and of an answer that is written in one piece
`x-demo-tokens: 500`          the length of a text answer
`x-demo-tag: NAME`            count this request; `GET /demo/seen/NAME` shows what arrived under it

By model: `demo-error-429`, `demo-cut`, `demo-reset`, `demo-stall`, `demo-no-done`, `demo-error-frame`, `demo-garbage`
do the same; `demo-refusal`, `demo-filtered` and `demo-reasoning` answer in that way, `demo-interleaved` streams
parallel tool calls in turns, `demo-close-4008` ends a realtime session with that code; any other `demo-…` answers
normally.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.demo.checks import Refusal

__all__ = ["Fault", "Orders", "orders", "refusal"]

MAX_DELAY = 600.0
MAX_FRAMES = 1_000_000


class Fault(enum.Enum):
    """What goes wrong after the head of an answer was sent."""

    CUT = "cut"
    """The connection is closed before the body is whole."""
    RESET = "reset"
    """The connection is reset."""
    STALL = "stall"
    """Nothing more comes, and the connection stays open."""
    NO_DONE = "no-done"
    """The stream ends properly, without `[DONE]`."""
    ERROR_FRAME = "error-frame"
    """An error event comes, then the stream ends."""
    GARBAGE = "garbage"
    """A frame that is not JSON comes, then the stream goes on."""
    RESET_EARLY = "reset-early"
    """The connection is reset before anything was answered."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What one request asks for beyond its answer."""

    status: int | None = None
    retry_after_ms: int | None = None
    fault: Fault | None = None
    after: int = 2
    latency: float = 0.0
    pace: float = 0.0
    """Seconds a token; 0 is as fast as it goes."""
    length: int | None = None
    tag: str = ""


def orders(headers: Mapping[str, str], model: str = "", *, latency: float = 0.0, rate: float = 0.0) -> Orders:
    """Reads what a request orders, over the server's own `latency` (s) and `rate` (tokens/s). Raises Refusal."""
    status = _number(headers, "x-demo-error", None)
    fault = _fault(headers.get("x-demo-fault", ""), "x-demo-fault")
    if status is None and fault is None and model.startswith("demo-"):
        status, fault = _by_model(model)
    first = _number(headers, "x-demo-fail-first", None)
    if first is not None and (_number(headers, "x-stainless-retry-count", 0) or 0) >= first:
        status = fault = None
    wait = _number(headers, "x-demo-latency-ms", None)
    speed = _number(headers, "x-demo-tokens-per-second", None)
    per_second = rate if speed is None else speed
    return Orders(
        status=None if status is None else int(status),
        retry_after_ms=None if (wait_ms := _number(headers, "x-demo-retry-after-ms", None)) is None else int(wait_ms),
        fault=fault,
        after=int(min(_number(headers, "x-demo-after", 2) or 0, MAX_FRAMES)),
        latency=min(latency if wait is None else wait / 1_000, MAX_DELAY),
        pace=1 / per_second if per_second > 0 else 0.0,
        length=None if (length := _number(headers, "x-demo-tokens", None)) is None else int(length),
        tag=headers.get("x-demo-tag", "")[:64],
    )


def _number(headers: Mapping[str, str], name: str, default: float | None) -> float | None:
    text = headers.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e9:
        raise Refusal(400, f"Invalid header {name}: expected a number.", param=name, code="invalid_value")
    return value


def _fault(name: str, where: str) -> Fault | None:
    if not name:
        return None
    try:
        return Fault(name)
    except ValueError:
        known = ", ".join(fault.value for fault in Fault)
        raise Refusal(400, f"Invalid {where}: expected one of {known}.", param=where, code="invalid_value") from None


def _by_model(model: str) -> tuple[float | None, Fault | None]:
    name = model.removeprefix("demo-")
    if name.startswith("error-") and name.removeprefix("error-").isdigit():
        return float(name.removeprefix("error-")[:3]), None
    return None, next((fault for fault in Fault if fault.value == name), None)


_MESSAGES = {
    400: ("invalid_request_error", "invalid_value", "The request was refused on request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-demo********."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported.",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model `demo` does not exist or you do not have access to it.",
    ),
    409: ("conflict_error", "conflict", "The resource was changed by another request."),
    413: ("invalid_request_error", "request_too_large", "Maximum content size limit exceeded."),
    422: ("invalid_request_error", "unprocessable", "The request was understood and cannot be followed."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for demo in organization org-demo on requests per min (RPM).",
    ),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    502: ("server_error", "bad_gateway", "Bad gateway."),
    503: ("server_error", "overloaded", "The engine is currently overloaded, please try again later."),
    504: ("server_error", "timeout", "The request timed out."),
}


def refusal(ordered: Orders) -> Refusal | None:
    """The error answer that was ordered."""
    if ordered.status is None:
        return None
    status = ordered.status if 400 <= ordered.status <= 599 else 400
    type_, code, message = _MESSAGES.get(
        status, ("server_error" if status >= 500 else "invalid_request_error", None, "An error as ordered.")
    )
    headers = {}
    if status in (429, 503) or ordered.retry_after_ms is not None:
        wait = 1_000 if ordered.retry_after_ms is None else ordered.retry_after_ms
        headers = {"retry-after": str(-(-wait // 1_000)), "retry-after-ms": str(wait)}
    return Refusal(status, message, type_=type_, param="model" if status == 404 else None, code=code, headers=headers)
