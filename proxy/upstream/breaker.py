"""When an upstream is no longer asked, and how it is asked again. Sans-IO.

The states and the counting of failures and of successful probes are pybreaker's. What it leaves open is here: permits,
so that what is under way belongs to a time; successes that are taken back; a steady clock; a window for the share of
failures; a longer cool-down after each probe that failed; and how several workers act as one.

    from       what happens                                                            to         reason
    ---------  ----------------------------------------------------------------------  ---------  ------------
    CLOSED     a failure, the last of `failures` in a row                              OPEN       failures
    CLOSED     a failure; `least` results in the window, `share` of them or more bad   OPEN       share
    OPEN       somebody asks after the cool-down, and this worker may probe            HALF_OPEN  cooled_down
    HALF_OPEN  a success, the last of `probes`                                         CLOSED     probed
    HALF_OPEN  a failure                                                               OPEN       probe_failed
    CLOSED     what a probe began well breaks off, and no answer has come whole since  OPEN       probe_failed
    CLOSED     another worker opened                                                   OPEN       heard
    HALF_OPEN  another worker opened                                                   OPEN       heard
    OPEN       another worker closed                                                   CLOSED     heard
    HALF_OPEN  another worker closed                                                   CLOSED     heard

Nothing else changes the state; UNKNOWN never does, and in CLOSED no success.

Failures are in a row until one succeeds, whenever that began. A failure is in none if a request that began after it
has been answered well and whole by then: those to which silence is the answer end long after others, and streams that
broke with one of many servers say nothing of the rest. Such failures count for the share alone.

A permit is a number that grows. In CLOSED all get the same one. In HALF_OPEN each probe has its own, and `probes` are
given in all: one that ends UNKNOWN is given anew, and so is one of which nothing was heard for as long as its call may
take, `longest` seconds at most (its result still counts if it comes). Each opening begins a new time: results of
permits from before it are ignored. Closing does not, so an answer that closed the breaker and breaks off later is a
failure of this time: of the probe, unless it has come out since that answers come whole.

The cool-down is drawn: `cool_down` × 2^(openings in a row) ± 10 %, at most `longest`. Openings are in a row until an
answer comes whole after a closing, or another worker closes.

Active probes ask whether an upstream lives, which does not say that it serves. Whether a request has failed is known
by `suffered`: as long as none has, they end the row that they began, and close what they opened.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final, final

from proxy.upstream.machine import Machine, State
from proxy.upstream.window import Window

__all__ = ["Breaker", "Reason", "Result", "Settings", "State"]

JITTER: Final = 0.1
SOON: Final = 1.0
"""Seconds after which it is worth asking again, where that depends on a probe or on another worker."""
DOUBLINGS: Final = 32
FORGOTTEN: Final = 10
"""Times `longest`: when a probe whose result is not waited for is remembered no more."""


@final
class Result(enum.Enum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It says nothing about the upstream: the client left, or a limit of ours refused."""


# To find a member of an enum takes ten times as long.
SUCCEEDED: Final = Result.SUCCEEDED


@final
class Reason(enum.StrEnum):
    """Of a transition. The values are those of a metric's label."""

    FAILURES = "failures"
    SHARE = "share"
    COOLED_DOWN = "cooled_down"
    PROBED = "probed"
    PROBE_FAILED = "probe_failed"
    HEARD = "heard"


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """`window`, `cool_down` and `longest` in seconds; `share` in (0, 1]; the rest are numbers of results, from 1."""

    failures: int
    share: float
    window: float
    least: int
    cool_down: float
    longest: float
    probes: int


@final
class Breaker:
    """Of one upstream. `clock` is steady, in seconds; `draw` is uniform in [0, 1).

    `on_transition` hears the name, the old and the new state and the reason, a `Reason`, when all is done.
    Whoever got a permit from `enter` gives it to `leave` once. To leave twice is harmless: the second result of a
    probe is ignored, and in CLOSED it counts as one result more.
    """

    __slots__ = (
        *("_calm", "_clock", "_draw", "_due", "_last", "_machine", "_on_transition", "_out", "_row", "_rows"),
        *("_settings", "_since", "_wholes", "_window", "decided", "failing", "latest", "may_probe", "name", "openings"),
        *("state", "suffered"),
    )

    def __init__(
        self,
        name: str,
        settings: Settings,
        clock: Callable[[], float],
        draw: Callable[[], float],
        *,
        may_probe: Callable[[], bool] = lambda: True,
        on_transition: Callable[[str, State, State, str], object] = lambda *_: None,
    ) -> None:
        self.name = name
        self.state = State.CLOSED
        """OPEN until somebody asks who may probe, however long the cool-down has been over."""
        self.failing = False
        """The last result was a failure."""
        self.openings = 0
        """In a row, without recovery; of an earlier time, where answers have come whole since."""
        self.suffered = False
        """A request has failed since all was well, here or at a worker who opened."""
        self.latest = -inf
        """When the request began whose answer came good and whole, and that was the last to begin."""
        self.may_probe = may_probe
        """Asked when a permit would be given outside of CLOSED."""
        self.decided: Callable[[], object] = lambda: None
        """Called after each transition for another reason than HEARD."""
        self._settings = settings
        self._clock = clock
        self._draw = draw
        self._on_transition = on_transition
        self._window = Window(settings.window, clock)
        self._due = 0.0
        """The end of the cool-down."""
        self._row = self._rows = 0
        """How many failures in a row the last success ended, and how many rows ended so far."""
        self._wholes = 0
        """Answers that came whole since the closing, where one is to be judged by them."""
        self._last = self._since = self._calm = 1
        """The last permit; the first of this time; that of CLOSED, 0 in other states."""
        self._out: dict[int, float] = {}
        """Until when the result of each probe is waited for, the oldest probe first."""
        self._machine = Machine(settings.failures, settings.probes, self._entered)

    def __repr__(self) -> str:
        if self.state is State.CLOSED:
            detail = f"failures={self._machine.failures}/{self._settings.failures} {self._window!r}"
        elif self.state is State.OPEN:
            detail = f"openings={self.openings} left={self.left:.1f} s"
        else:
            detail = f"probes={self._machine.successes}/{self._settings.probes} out={len(self._out)}"
        return f"<Breaker {self.name} {self.state.value} {detail}>"

    @property
    def left(self) -> float:
        """Seconds of the cool-down; 0 when it is over."""
        return max(0.0, self._due - self._clock()) if self.state is State.OPEN else 0.0

    @property
    def probing(self) -> bool:
        """The result of a probe is waited for."""
        return self._under_way() > 0

    def allows(self) -> bool:
        """`enter` would give a permit now."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN:
            return self._clock() >= self._due and self.may_probe()
        return self._free() > 0 and self.may_probe()

    def enter(self, within: float = inf) -> int | None:
        """A permit, from 1; None: refused. Its result comes `within` so many seconds, or is not waited for."""
        return self._calm or self._probe(within)

    def leave(self, permit: int, result: Result, began: float = inf, *, request: bool = True) -> int:
        """Which row of failures it ended, from 1; 0: none. `request`: no client loses by an active probe.

        `began` by the breaker's clock: of whatever failed, and of an answer that came good and whole with its head.
        Who fails after one that was asked later has come good and whole is in no row.
        """
        if permit != self._calm:
            self._left(permit, result, began, request=request)
        elif result is SUCCEEDED:
            if not request:
                return self._recovered() if self.failing and not self.suffered else 0
            self._window.succeeded()
            if self.latest < began < inf:
                self.latest = began
            if self.failing:
                return self._recovered()
            if self._row:
                self._row = 0
        elif result is Result.FAILED:
            if began < self.latest:
                self._failed_late()
            else:
                self.suffered = self.suffered or request
                self._failed()
        return 0

    def came_whole(self, permit: int, began: float = inf) -> bool:
        """What had begun well ended well. True: it counts. While `openings` is 0 nobody has to say so of what came
        whole with its head.
        """
        if self.latest < began < inf and permit >= self._since:
            self.latest = began
        counts = permit >= self._since and self.state is State.CLOSED
        self._wholes += counts
        return counts

    def broke(self, permit: int, ended: int = 0, began: float = inf, *, whole: bool = False) -> None:
        """What had begun well failed later: a failure and no success, unless it began before the last opening.

        The row of failures that it `ended` goes on, if nobody has succeeded since. `whole`: it had counted as such,
        which is taken back. `began` as for `leave`.
        """
        if permit < self._since:
            return
        late = self.state is State.CLOSED and permit == self._calm and began < self.latest
        self.suffered = self.suffered or not late
        self._wholes -= whole
        if self.state is not State.CLOSED:
            self._probed(Result.FAILED)
        elif permit < self._calm and self.openings and not self._wholes:
            self.failing = True
            self._turn(self._machine.open, Reason.PROBE_FAILED)
        else:
            if permit == self._calm:
                self._window.took_back()
            if late:
                self._failed_late()
            else:
                self._failed(self._row if ended == self._rows else 0)

    def reconfigure(self, settings: Settings) -> None:
        """From now on. What is known stays, but for the results in the window where that has another length."""
        if settings.window != self._settings.window:
            self._window = Window(settings.window, self._clock)
        self._settings = settings
        self._due = min(self._due, self._clock() + settings.longest)
        old = self._machine
        counted = old.successes if self.state is State.HALF_OPEN else old.failures
        self._machine = Machine(settings.failures, settings.probes, self._entered, self.state, counted)

    def retry_after(self) -> float:
        """Seconds until it may be asked again; more than 0 while it is refused."""
        if self.state is State.OPEN and self._clock() < self._due:
            return self._due - self._clock()
        return 0.0 if self.allows() else SOON

    def heard_open(self, seconds: float, openings: int, *, suffered: bool = True) -> None:
        """Another worker opened: so many seconds of its cool-down are left, and it was so many openings in a row."""

        def follow() -> None:
            self._machine.open()
            self.openings = max(1, openings)
            self._due = self._clock() + min(seconds, self._settings.longest)
            self.suffered = self.suffered or suffered

        self._turn(follow, Reason.HEARD)

    def heard_closed(self) -> None:
        """Another worker closed, and has seen for itself whether answers come whole."""

        def follow() -> None:
            self._machine.close()
            self.openings = 0

        if self.state is not State.CLOSED:
            self._turn(follow, Reason.HEARD)

    def _probe(self, within: float) -> int | None:
        if not self.allows():
            return None
        if self.state is State.OPEN:
            self._turn(self._machine.half_open, Reason.COOLED_DOWN)
        now = self._clock()
        forgotten = now - FORGOTTEN * self._settings.longest
        self._out = {permit: until for permit, until in self._out.items() if until > forgotten}
        self._last += 1
        self._out[self._last] = now + min(within, self._settings.longest)
        return self._last

    def _under_way(self) -> int:
        if not self._out:
            return 0
        now = self._clock()
        return sum(until > now for until in self._out.values())

    def _free(self) -> int:
        return self._settings.probes - self._machine.successes - self._under_way()

    def _left(self, permit: int, result: Result, began: float, *, request: bool) -> None:
        """Not with a permit of CLOSED: of a probe, or too late."""
        if self._out.pop(permit, None) is not None and result is not Result.UNKNOWN:
            if result is Result.SUCCEEDED and self.latest < began < inf:
                self.latest = began
            self.suffered = self.suffered or (request and result is Result.FAILED)
            self._probed(result)

    def _probed(self, result: Result) -> None:
        self.failing = result is Result.FAILED
        if self.failing:
            self._turn(self._machine.fail, Reason.PROBE_FAILED)
        else:
            self._turn(self._machine.succeed, Reason.PROBED)

    def _recovered(self) -> int:
        """In CLOSED."""
        self.failing = self.suffered = False
        self._row = self._machine.failures
        self._rows += 1
        self._machine.succeed()
        return self._rows

    def _failed(self, row: int = 0) -> None:
        """In CLOSED. `row`: so many failures before it are in a row with it again."""
        self.failing = True
        self._row = 0 if row else self._row
        self._window.failed()
        for _ in range(row + 1):
            self._turn(self._machine.fail, Reason.FAILURES)
            if self.state is not State.CLOSED:
                return
        self._weigh()

    def _failed_late(self) -> None:
        """In CLOSED, and in no row: a request has suffered by it if it opens."""
        suffered, self.suffered = self.suffered, True
        self._window.failed()
        self._weigh()
        if self.state is State.CLOSED:
            self.suffered = suffered

    def _weigh(self) -> None:
        """The share of failures."""
        good, bad = self._window.counts()
        if good + bad >= self._settings.least and bad >= self._settings.share * (good + bad):
            # Whoever succeeded was a request, and those that failed between them may have been.
            self.suffered = self.suffered or good > 0
            self._turn(self._machine.open, Reason.SHARE)

    def _turn(self, step: Callable[[], object], reason: Reason) -> None:
        """Transitions are told when pybreaker is at rest again: it may be asked by who hears of them."""
        before = self.state
        step()
        if self.state is not before:
            self._on_transition(self.name, before, self.state, reason)
            if reason is not Reason.HEARD:
                self.decided()

    def _entered(self, state: State) -> None:
        self.state = state
        match state:
            case State.OPEN:
                self._last += 1
                self._since, self._calm = self._last, 0
                self._out.clear()
                if self._wholes:
                    self._wholes = self.openings = 0
                self._due = self._clock() + self._cool_down()
                self.openings += 1
            case State.CLOSED:
                self._last += 1
                self._calm = self._last
                self._out.clear()
                self._window.clear()
                self._row = self._wholes = 0
                self.failing = self.suffered = False
            case State.HALF_OPEN:
                pass

    def _cool_down(self) -> float:
        longest = self._settings.longest
        seconds = min(longest, self._settings.cool_down * 2.0 ** min(self.openings, DOUBLINGS))
        return min(longest, seconds * (1 - JITTER + 2 * JITTER * self._draw()))
