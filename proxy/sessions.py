"""WebSocket sessions: what each answer used is written down and paid for when its upstream tells it."""

from collections.abc import Callable
from typing import Final, final

from proxy.billing import PACE, Bills, Worth
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange
from proxy.limiting.bill import NOTHING, Bill
from proxy.limiting.refusals import unpriced
from proxy.limiting.sessions import Held, Purse
from proxy.openai.sessions import Stage, model_served, stage_of
from proxy.openai.usage import report_of
from proxy.talk import Screen, Told, Verdict

__all__ = ["Session"]

SPOKEN: Final = 3_200
"""Base64 of sound for a token: 24 kHz and 16 bits, at 20 tokens a second."""
TRANSCRIBER: Final = "whisper-1"
"""Whose use a session tells in seconds, and whom it does not name."""


@final
class Session:
    """To be closed before its exchange is accounted for."""

    def __init__(self, bills: Bills, exchange: Exchange, clock: Callable[[], float]) -> None:
        self._bills = bills
        self._exchange = exchange
        self._clock = clock
        self._purse: Purse | None = None
        if bills.limits is not None:
            self._purse = Purse(bills.limits, exchange, clock)
        self._key = exchange.key
        self._screened = False
        """Each of its client's messages is looked at for what it asks."""
        self._came = 0
        """Tokens of answers that are not over."""
        self._since = clock()
        """When an answer began, or the one before it ended."""
        self._answers = 0

    def __repr__(self) -> str:
        return f"<Session {self._answers} answers {self._purse!r}>"

    def screen(self, objection: Screen | None) -> Screen | None:
        """Of what its client says; None where all of that may go on at once."""
        looks = [] if objection is None else [objection]
        if self._purse is not None and self._purse.limited:
            looks.append(self._purse.ask)
        if not looks:
            return None
        self._screened = objection is not None

        def look(event: bytes, told: Told) -> Verdict | Failure:
            if (failure := self._objection()) is not None:
                return failure
            for each in looks:
                verdict = each(event, told)
                if verdict is not Verdict.PASS:
                    return verdict
            return Verdict.PASS

        return look

    def _objection(self) -> Failure | None:
        """Its key may have been revoked since, or changed: it is held to what is now said of it."""
        exchange, begun_with = self._exchange, self._key
        if begun_with is None:
            return None
        if not self._bills.still(exchange):
            return Failure(Kind.INVALID_API_KEY)
        key = exchange.key
        if self._screened or key is None or (key.models, key.endpoints) == (begun_with.models, begun_with.endpoints):
            return None
        # Nobody has looked at what was asked for.
        return Failure(Kind.INVALID_API_KEY, "What this API key may use has been changed; connect again.")

    def observe(self, message: bytes, refuse: Callable[[Failure], None]) -> None:
        """What its upstream says."""
        exchange, stage = self._exchange, stage_of(message)
        if (failure := self._objection()) is not None:
            refuse(failure)
        if stage is Stage.COMING:
            self._came += 1 + len(message) // SPOKEN
            return
        if not (exchange.sent_model or exchange.model) and b'"session"' in message:
            exchange.sent_model = model_served(message)
        report = report_of(message)
        if report is not None:
            asked = self._purse.model if self._purse is not None and stage is Stage.ENDED else ""
            self._told(self._bills.worth_of(exchange, report, asked), asked, stage, refuse)
        elif stage is Stage.ENDED:
            self._untold()
        elif stage is Stage.BEGUN:
            self._since = self._clock()
            if self._purse is not None:
                self._purse.begin()
        elif stage is Stage.ERROR and self._purse is not None:
            self._purse.doubt()

    def _told(self, worth: Worth, asked: str, stage: Stage, refuse: Callable[[Failure], None]) -> None:
        exchange, bills, purse = self._exchange, self._bills, self._purse
        used, cost = worth.used, worth.cost
        if cost is None and used.keys() == {"audio_ms"}:
            cost = bills.price(TRANSCRIBER, exchange.upstream, used)
        self._write(Worth(used, cost, worth.served), asked)
        if purse is None:
            return
        if cost is None and used and bills.must_know(exchange):
            refuse(unpriced(exchange, "model"))
        tokens = used.get("input", 0) + used.get("output", 0)
        if stage is not Stage.ENDED:
            purse.pay(tokens, cost or 0, refuse)
            return
        self._came = 0
        purse.learn(used, tokens)
        if not purse.end(tokens, cost):
            purse.pay(tokens, cost or 0, refuse)

    def _untold(self) -> None:
        """An answer has ended and does not say what it used: what came of it is counted."""
        came, self._came = self._came, 0
        asked = self._purse.model if self._purse is not None else ""
        cost = self._price({"output": came}, asked) if came else 0
        if came:
            self._write(Worth({"output": came}, cost, ""), asked, estimated=True)
        if self._purse is not None:
            self._purse.end(came, cost)

    def _write(self, worth: Worth, asked: str, *, estimated: bool = False) -> None:
        now = self._clock()
        self._answers += 1
        self._bills.answered(self._exchange, self._answers, worth, now - self._since, asked=asked, estimated=estimated)
        self._since = now

    def close(self) -> None:
        """Answers that are left cost what they may have come to: nobody will tell. They are the session's own row."""
        exchange = self._exchange
        bill = exchange.bill = exchange.bill or Bill()
        begun, asked = self._purse.close(bill) if self._purse is not None else ([], [])
        now = self._clock()
        made = sum(min(held.order.estimated.output, int((now - held.since) * PACE)) for held in begun)
        output = max(self._came, made) + sum(held.order.estimated.output for held in asked)
        used = {"input": sum(held.order.entered for held in (*begun, *asked)), "output": output}
        used = {kind: amount for kind, amount in used.items() if amount}
        bill.used, bill.cost, bill.estimated = used or NOTHING, 0, bool(used)
        if used:
            bill.cost = self._price(used, _model(begun, asked))

    def _price(self, used: dict[str, int], model: str = "") -> int | None:
        exchange = self._exchange
        return self._bills.price(model or exchange.sent_model or exchange.model, exchange.upstream, used)


def _model(begun: list[Held], asked: list[Held]) -> str:
    return next((held.order.model for held in (*begun, *asked)), "")
