"""What is wrong with the demo upstream for a while: `/demo/faults`.

A JSON object that is `POST`ed says what goes wrong from now on, in place of what was said before; `GET` shows it, and
`DELETE` ends it:

`{"status": 503}`              answer with this status, in OpenAI's error shape
`{"retry_after_ms": 20}`       what such an answer says in `retry-after` and `retry-after-ms` (429 and 503: 1000)
`{"fault": "reset"}`           what goes wrong in an answer's body, one of `proxy.demo.faults.Fault`
`{"after": 3}`                 after so many frames (default 2)
`{"latency_ms": 200}`          wait before answering
`{"refuse": true}`             close the port: all connections are refused until the time is over, those that would
                               bring another fault or end this one too
`{"share": 0.5}`               of the requests, from 0 to 1 (default 1)
`{"seconds": 30}`              for so long (default 60, at most 600)

A request that orders a status or a fault of its own gets that.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final, final

import msgspec

from proxy.demo.checks import Refusal
from proxy.demo.faults import Fault, Orders

__all__ = ["MAX_BODY", "Knobs", "Wrong", "read"]

MAX_BODY: Final = 4_096
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]


class Wrong(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What goes wrong, as it is asked for."""

    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    retry_after_ms: _Milliseconds | None = None
    fault: Fault | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 2
    latency_ms: _Milliseconds | None = None
    refuse: bool = False
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] = 60.0


_decode = msgspec.json.Decoder(Wrong).decode


def read(body: bytes) -> Wrong:
    """Raises Refusal."""
    try:
        return _decode(body)
    except msgspec.DecodeError as error:
        raise Refusal(400, f"Invalid faults: {error}.", code="invalid_value") from None


@final
class Knobs:
    """`clock` is monotonic, `draw` gives numbers from 0 to 1."""

    def __init__(self, clock: Callable[[], float], draw: Callable[[], float]) -> None:
        self._clock = clock
        self._draw = draw
        self._wrong: Wrong | None = None
        self._until = -math.inf

    def __repr__(self) -> str:
        return f"<Knobs {self.wrong} for {max(0.0, self._until - self._clock()):.0f} s>"

    @property
    def wrong(self) -> Wrong | None:
        """What goes wrong now."""
        return self._wrong if self._clock() < self._until else None

    @property
    def left(self) -> float:
        """Seconds until nothing is wrong."""
        return max(0.0, self._until - self._clock())

    def turn(self, wrong: Wrong) -> None:
        self._wrong, self._until = wrong, self._clock() + wrong.seconds

    def heal(self) -> None:
        self._wrong, self._until = None, -math.inf

    def applied(self, orders: Orders) -> Orders:
        """What a request gets that has ordered this."""
        wrong = self.wrong
        if wrong is None or orders.status is not None or orders.fault is not None or self._draw() >= wrong.share:
            return orders
        return replace(
            orders,
            status=wrong.status,
            retry_after_ms=wrong.retry_after_ms if orders.retry_after_ms is None else orders.retry_after_ms,
            fault=wrong.fault,
            after=wrong.after,
            latency=orders.latency if wrong.latency_ms is None else wrong.latency_ms / 1_000,
        )
