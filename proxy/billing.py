"""What requests cost and save: usage becomes tokens, tokens become money, both are settled and written down.

What an upstream reports is what counts. Where it reports nothing, what went in and came out is counted here, and the
row says so.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, final

from msgspec.structs import replace

from proxy.exchange import CacheNote, Exchange, header
from proxy.ledger.row import MICROSECONDS, Row, part_of
from proxy.limiting.bill import NOTHING, Bill
from proxy.limiting.measure import Measure
from proxy.limiting.orders import BLIND, NAMING, is_unseen, makes
from proxy.limiting.stage import Limits
from proxy.openai.answered import output_cut, output_in, output_streamed
from proxy.openai.estimate import Estimate
from proxy.openai.tokens import tokens_of, used_of
from proxy.openai.usage import Report, broken_report_of, plain_count_of, plain_report_of, report_of, told, usage_of
from proxy.routes import HEALTH
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.prices import Prices, Tier, tier_of
from proxy.telemetry.redact import redacted

__all__ = ["PACE", "Bills", "Worth"]

MAX_WORTHS: Final = 4_096
MAX_NAMED: Final = 1_024
PACE: Final = 100
"""Tokens that a model makes a second."""
MAX_USAGE: Final = 1_024
"""Bytes of a usage object whose price is remembered."""
MAX_TAGS: Final = 16


class Worth(NamedTuple):
    """What an answer used, and what that costs in nano-dollars; None where no price is known."""

    used: Mapping[str, int]
    cost: int | None
    served: str


@final
class Bills:
    """`providers`: upstream → the name or URL by which its prices are found; `own`: those that have prices of their
    own. `wall` is in seconds since the epoch.
    """

    def __init__(
        self,
        prices: Prices | None,
        providers: Mapping[str, str],
        measure: Measure,
        metrics: Metrics,
        write: Callable[[Row], object] | None,
        *,
        expect: Callable[[], object] | None = None,
        still: Callable[[Exchange], bool] = bool,
        wall: Callable[[], float],
        clock: Callable[[], float],
        own: Mapping[str, Prices] = MappingProxyType({}),
    ) -> None:
        self._prices = prices
        self._own = own
        self._providers = providers
        self.limits: Limits | None = None
        """Where what was reserved is settled."""
        self._measure = measure
        self._metrics = metrics
        self.write = write
        """Where a row of the ledger goes, which is told beforehand that it will come."""
        self._expect = expect
        self.still = still
        """Whether the key of a session opens yet."""
        self._wall = wall
        self._clock = clock
        self._named: dict[tuple[str, str, str], str] = {}
        self._worths: dict[tuple[bytes, str, str, str, str], Worth] = {}

    def __repr__(self) -> str:
        return f"<Bills {self._prices!r}>"

    def price(self, model: str, upstream: str, used: Mapping[str, int], tier: Tier = Tier.STANDARD) -> int | None:
        prices = self._own.get(upstream, self._prices) if self._own else self._prices
        if prices is None:
            return None
        wall = self._wall
        return prices.cost(model, self._providers.get(upstream, ""), used, tier, wall())

    # while it is answered

    def tell(self, exchange: Exchange) -> None:
        """Before the head of an answer: what it costs or saves, as far as that is known."""
        if self._prices is None:
            return
        if exchange.attempts and exchange.usage_text:
            self._bill(exchange)
        if exchange.note is not None:
            self._save(exchange, exchange.note)

    def _save(self, exchange: Exchange, note: CacheNote) -> None:
        if note.usage:
            model = note.sent_model or exchange.model
            saved = self._worth(note.usage, model, note.upstream, note.served_model, note.tier).cost
        elif note.collapsed and exchange.usage_text:
            model, upstream = note.sent_model or _asked(exchange), note.upstream or exchange.upstream
            saved = self._worth(exchange.usage_text, model, upstream).cost
        elif note.saved_tokens and exchange.attempts:
            saved = self.price(_asked(exchange), exchange.upstream, {"input": note.saved_tokens})
        else:
            return
        bill = exchange.bill = exchange.bill or Bill()
        bill.saved = saved

    def _worth(self, said: bytes, model: str, upstream: str, served: str = "", tier: str = "") -> Worth:
        """Of an answer's JSON, or of the usage object alone, and who served it in which tier."""
        key = (said, model, upstream, served, tier)
        worth = self._worths.get(key)
        if worth is None:
            report = report_of(said) or report_of(told(said, served, tier))
            worth = Worth(NOTHING, None, "") if report is None else self._read(report, model, upstream)
            if len(said) <= MAX_USAGE:
                if len(self._worths) >= MAX_WORTHS:
                    del self._worths[next(iter(self._worths))]
                self._worths[key] = worth
        return worth

    def _read(self, report: Report, model: str, upstream: str, units: Mapping[str, int] = NOTHING) -> Worth:
        told, cost = used_of(report.usage)
        used = {**units, **told} if units else told
        if cost is None and used:
            cost = self._cost(used, model, report.model, upstream, report.tier)
        return Worth(used, cost, report.model)

    def _cost(self, used: Mapping[str, int], model: str, served: str, upstream: str, told: str) -> int | None:
        """By the model that was asked for, or that answered, in the tier that was told."""
        tier = tier_of(told)
        name = self._priced(model, served, upstream)
        cost = self.price(name, upstream, used, tier)
        other = served if name == model else model
        if cost is None and other and other != name:
            cost = self.price(other, upstream, used, tier)
        return cost

    def _priced(self, model: str, served: str, upstream: str) -> str:
        """Who served is who is paid, if that has a price, unless the operator has set one for what was asked."""
        if not served or served == model:
            return model
        key = (model, served, upstream)
        name = self._named.get(key)
        if name is None:
            name = served if self._pays(model, served, upstream) else model
            if len(self._named) >= MAX_NAMED:
                del self._named[next(iter(self._named))]
            self._named[key] = name
        return name

    def _pays(self, model: str, served: str, upstream: str) -> bool:
        """Whether who served is who is paid."""
        prices = self._own.get(upstream, self._prices) if self._own else self._prices
        if prices is None or prices.own(model, Tier.STANDARD) is not None:
            return False
        provider = self._providers.get(upstream, "")
        return prices.listing(served, provider, Tier.STANDARD, self._wall()) is not None

    # sessions

    def worth_of(self, exchange: Exchange, report: Report, asked: str = "") -> Worth:
        """Each answer is priced by the model that it names, or that it was `asked` of: one session may use several."""
        return self._read(report, asked or _asked(exchange), exchange.upstream)

    def must_know(self, exchange: Exchange) -> bool:
        """What has no price is refused."""
        return self.limits is not None and self.limits.must_know(exchange)

    def answered(
        self, exchange: Exchange, number: int, worth: Worth, seconds: float, *, asked: str = "", estimated: bool = False
    ) -> None:
        """An answer of a session has a row of its own, so that what a crash takes along is one answer."""
        bill, route = Bill(), exchange.route.name if exchange.route is not None else ""
        bill.used, bill.cost, bill.served = worth
        bill.estimated = estimated
        model = exchange.model or asked
        self._count_used(model, bill, route)
        if self.write is None:
            return
        if self._expect is not None:
            self._expect()
        row = self._row(exchange, bill, route, exchange.status, "")
        name, took, model = part_of(exchange.call_id, number), int(seconds * MICROSECONDS), _without_secrets(model)
        time = self._wall()
        self.write(replace(row, call_id=name, time=time, model=model, duration=took, bytes_in=0, bytes_out=0))

    # once it is over

    def leave(self, exchange: Exchange) -> None:
        """The client has its answer, or has gone."""
        if exchange.bill is not None and exchange.bill.limits is not None:
            exchange.bill.limits.leave(exchange)

    def settle(self, exchange: Exchange) -> None:
        """The request has ended, and so have the calls that were made for it."""
        bill = exchange.bill
        if bill is None or (limits := bill.limits) is None or not (bill.charged or bill.doubted):
            return
        bill = self._bill(exchange)
        limits.settle(exchange, bill, sent=exchange.acted_on)

    def _bill(self, exchange: Exchange) -> Bill:
        bill = exchange.bill = exchange.bill or Bill()
        if bill.used is None:
            self._work_out(exchange, bill)
            if bill.lost_input or bill.lost_output:
                self._add_lost(bill)
        return bill

    @staticmethod
    def _add_lost(bill: Bill) -> None:
        used = dict(bill.used or NOTHING)
        for kind, lost in (("input", bill.lost_input), ("output", bill.lost_output)):
            if lost:
                used[kind] = used.get(kind, 0) + lost
        bill.used, bill.estimated = used, True
        if bill.cost is not None:
            bill.cost += bill.lost

    def _work_out(self, exchange: Exchange, bill: Bill) -> None:
        if not exchange.attempts or not _makes(exchange):
            bill.used = NOTHING
            return
        said, units = exchange.usage_text, bill.estimate.units if bill.estimate is not None else NOTHING
        plain = plain_report_of(said) if said and not units else None
        if plain is not None:
            bill.used, bill.served, tier = plain
            bill.cost = self._cost(bill.used, _asked(exchange), bill.served, exchange.upstream, tier)
            return
        report = (report_of(said) or broken_report_of(said)) if said else None
        if report is not None:
            if report.begun:
                # The end did not come.
                made = output_streamed(exchange.upstream_bytes, exchange.tail)
                report.usage["output_tokens"] = max(made, tokens_of(report.usage).get("output", 0))
                bill.estimated = True
            worth = self._read(report, _asked(exchange), exchange.upstream, units)
            if worth.used or worth.cost is not None:
                bill.used, bill.cost, bill.served = worth
                return
        # Nothing is told, or only noughts, which some upstreams send that do not count.
        self._guess(exchange, bill)

    def _guess(self, exchange: Exchange, bill: Bill) -> None:
        """What was used, where the upstream has not told."""
        bill.used = NOTHING
        route, estimated = exchange.route, bill.estimate
        if route is None or not exchange.acted_on or exchange.upstream_status >= 300:
            # What those may have done that were asked before is counted.
            return
        if route.name in BLIND and exchange.method == "POST":
            bill.cost = None
            return
        if estimated is None:
            bill.cost = None if route.name in NAMING else 0  # nobody has counted, and it was not nothing
            return
        output = self._output(exchange, route.name, estimated)
        if estimated.stays or is_unseen(exchange, route):
            output = max(output, estimated.output)
        elif not exchange.upstream_bytes and not exchange.usage_text:
            # Of a stream that had not begun as much as was made until it was left, thoughts most of all.
            seconds = (exchange.upstream_ended_at or exchange.ended_at) - exchange.upstream_started_at
            output = max(output, min(estimated.output, int(seconds * PACE)))
        used = {"input": estimated.input, "output": output, **estimated.units}
        if not (used := {kind: amount for kind, amount in used.items() if amount}):
            return
        tier = tier_of(estimated.tier) if estimated.tier else Tier.STANDARD
        bill.used, bill.estimated = used, True
        bill.cost = self.price(_asked(exchange), exchange.upstream, used, tier)
        if estimated.units and self.price(_asked(exchange), exchange.upstream, estimated.units, tier) == bill.cost:
            # It is paid for by the second, the character or the picture.
            bill.used = {**estimated.units}

    def _output(self, exchange: Exchange, route: str, estimated: Estimate) -> int:
        came, tail = exchange.upstream_bytes, exchange.tail
        if came and (exchange.stream or exchange.event_stream):
            return output_streamed(came, tail) + self._measure.hidden(exchange.model)
        if said := exchange.usage_text:
            if (read := output_in(route, said, self._measure.counter(exchange.model))) is not None:
                return read
            came, tail = len(said), said
        # What stands around an answer in JSON is counted as if it were text.
        made = output_cut(route, came, tail) + self._measure.hidden(exchange.model)
        return min(made, estimated.output) if estimated.capped and route in NAMING else made

    def expect(self, exchange: Exchange) -> None:
        """It has ended, and will be written down; what was sent is expected already."""
        if self._expect is not None and not exchange.attempts and exchange.route is not HEALTH:
            self._expect()

    def account(self, exchange: Exchange, route: str, status: int, error: str) -> None:
        """Writes it down, once it is known what it used. Whoever looks whether the gateway lives asks for nothing."""
        if self.write is not None and exchange.route is not HEALTH:
            self.write(self._row(exchange, self._known(exchange), route, status, error))

    def _known(self, exchange: Exchange) -> Bill:
        bill = exchange.bill
        if bill is None or bill.used is None:
            bill = self._bill(exchange)
        if exchange.note is not None and self._prices is not None and not bill.saved:
            self._save(exchange, exchange.note)
        return bill

    def count(self, exchange: Exchange, route: str) -> None:
        """For the metrics."""
        metrics, model = self._metrics, exchange.model
        if self._prices is None and exchange.bill is None:
            # Nobody asks for more than tokens.
            said = exchange.usage_text
            if said and exchange.attempts and _makes(exchange):
                plain = plain_count_of(said)
                metrics.tokens(model, tokens_of(usage_of(said) or {}) if plain is None else plain)
            return
        if not exchange.attempts and exchange.note is None and exchange.bill is None:
            return
        bill = self._known(exchange)
        if bill.granted():
            metrics.money.granted()
        for limit in bill.warned:
            metrics.money.warned(limit.subject, limit.kind)
        self._count_used(model, bill, route)

    def _count_used(self, model: str, bill: Bill, route: str) -> None:
        metrics = self._metrics
        if bill.used:
            metrics.tokens(model, bill.used)
        if self._prices is None:
            return
        if bill.cost:
            metrics.money.cost(model, bill.cost)
        elif bill.cost is None and route in NAMING:
            metrics.money.unpriced(model)
        if bill.saved:
            metrics.money.saved(model, bill.saved)
        if bill.estimated:
            metrics.money.estimated(model)

    def _row(self, exchange: Exchange, bill: Bill, route: str, status: int, error: str) -> Row:
        wall, clock, started = self._wall, self._clock, exchange.started_at
        streamed = exchange.event_stream and exchange.first_byte_at
        tags = header(exchange.headers, b"x-askonce-cache-tags")
        # By place: names would be looked for, which costs five times as much.
        return Row(
            exchange.call_id,
            wall() - (clock() - exchange.ended_at),
            exchange.account,
            exchange.key.team if exchange.key is not None else "",
            route,
            _clean(exchange.model),
            _clean(bill.served),
            exchange.upstream,
            exchange.note.status._value_ if exchange.note is not None else "",
            dict(bill.used or NOTHING),
            bill.cost,
            bill.saved,
            bill.estimated,
            status,
            error,
            exchange.attempts,
            int((exchange.ended_at - started) * MICROSECONDS),
            int((exchange.first_byte_at - started) * MICROSECONDS) if streamed else None,
            exchange.body.received,
            exchange.client.sent,
            _tags(tags) if tags else (),
        )


def _asked(exchange: Exchange) -> str:
    return exchange.sent_model or exchange.model


def _makes(exchange: Exchange) -> bool:
    """One that is shared is paid for by whom it was made for, whatever else was tried before."""
    return not (exchange.note is not None and exchange.note.collapsed) and makes(exchange)


def _without_secrets(text: str) -> str:
    """A client's own words may hold its key."""
    return redacted(text) if "sk-" in text else text


_clean = lru_cache(maxsize=MAX_NAMED)(_without_secrets)
"""Of names that come again."""


def _tags(value: bytes) -> tuple[str, ...]:
    tags = (_without_secrets(tag.strip().decode("latin-1")) for tag in value.split(b","))
    return tuple(dict.fromkeys(tag for tag in tags if tag))[:MAX_TAGS]
