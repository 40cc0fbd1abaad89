"""What a request may come to, before it is sent: tokens by count or by size, money by them."""

import asyncio
from collections.abc import Mapping
from typing import Final, final

from proxy.exchange import Body, Exchange
from proxy.openai.encodings import Counter, Encodings, Family
from proxy.openai.estimate import (
    A_LARGE_IMAGE,
    AN_IMAGE,
    BYTES,
    MOST,
    NO_OUTPUT,
    SHORT,
    Estimate,
    Method,
    estimate,
    estimate_words,
    quick_to_estimate,
)
from proxy.openai.outputs import Outputs

__all__ = ["Measure", "asked_of"]

SOUND_BYTES_PER_MS: Final = 4
"""Of compressed speech, at 32 kbit/s."""
LARGEST_SOUND: Final = 25 << 20
"""Bytes that OpenAI takes."""
MS_PER_HEARD: Final = 100
MS_PER_SAID: Final = 250
"""Milliseconds of sound for a token of it, and of what is said."""
MANY: Final = 10
"""Pictures that may be asked for at once, in an upload that is too large to be looked through."""
PACKED: Final = b";base64,"
NO_TOKENS: Final = Estimate(0, 0, capped=True, method=Method.BYTES, units={})
MAX_MODELS: Final = 1_024
UPLOADS: Final = ("audio/transcriptions", "audio/translations")


@final
class Measure:
    """`counting`: text is counted as its model does; otherwise it is four bytes a token.

    `expected`: tokens of an answer that its request does not bound, until answers of its model have been seen;
    `longest`: the most that one may come to.
    """

    def __init__(self, *, counting: bool, expected: int, longest: int = 0) -> None:
        self._longest = longest
        self._hidden: dict[str, float] = {}
        self._encodings = Encodings() if counting else None
        self._outputs = Outputs(first=expected)

    def __repr__(self) -> str:
        return f"<Measure {self._encodings!r} {self._outputs!r}>"

    async def load(self) -> None:
        """Takes a second and 80 MB at most; until then text is measured."""
        if self._encodings is not None:
            for family in Family:
                await asyncio.to_thread(self._encodings.load, family)

    def counter(self, model: str) -> Counter | None:
        return None if self._encodings is None else self._encodings.counter(model)

    async def of(self, exchange: Exchange, body: bytes | Body) -> Estimate:
        found = self.at_once(exchange, body)
        if found is not None:
            return found
        assert exchange.route is not None and isinstance(body, bytes)  # noqa: S101, PT018  (others are told at once)
        count, expected = self.counter(exchange.model), self._outputs.expect(exchange.model)
        return await asyncio.to_thread(estimate, exchange.route.name, body, count, expected)

    def at_once(self, exchange: Exchange, body: bytes | Body) -> Estimate | None:
        """None: it takes longer than others may wait."""
        route = exchange.route
        if route is None or exchange.method != "POST":
            return NO_TOKENS
        if route.name in UPLOADS:
            return _upload(body)
        if route.form_body:
            number = exchange.form.number if exchange.form is not None else 1 if exchange.key is None else MANY
            expected, units = self._outputs.expect(exchange.model) * number, {"images": number}
            return Estimate(AN_IMAGE, expected, False, Method.BYTES, units, number, A_LARGE_IMAGE)
        if not route.json_body or not isinstance(body, bytes):
            return NO_TOKENS
        if not quick_to_estimate(body):
            return None
        expected = self._outputs.expect(exchange.model)
        found = estimate_words(route.name, body, expected)
        if found is not None:
            return found
        count = None if len(body) <= SHORT and body.isascii() else self.counter(exchange.model)
        return estimate(route.name, body, count, expected)

    def roughly(self, exchange: Exchange, body: bytes | Body) -> Estimate:
        """Without looking into it, for an answer that might not tell. What is packed in it is not counted."""
        route = exchange.route
        if route is None or exchange.method != "POST" or not route.json_body or not isinstance(body, bytes):
            return NO_TOKENS
        output = 0 if route.name in NO_OUTPUT else self._outputs.expect(exchange.model)
        packed = body.find(PACKED)
        return Estimate(-(-(len(body) if packed < 0 else packed) // BYTES), output, False, Method.BYTES, {})

    def answer(self, model: str, order: bytes) -> Estimate:
        """Of a session, as the event says that asks for it. 4 ms at worst for what is quick to estimate."""
        return estimate("responses", order, None, self._outputs.expect(model))

    def knows(self, model: str) -> bool:
        """Whether answers of it have been seen."""
        return self._outputs.knows(model)

    def longest(self, estimated: Estimate) -> int:
        """Tokens that the answers may come to of a request that does not bound them."""
        return max(estimated.output, min(self._longest * estimated.answers, MOST))

    def hidden(self, model: str) -> int:
        """Tokens of reasoning in an answer of this model, of which a stream shows nothing: a mean."""
        return round(self._hidden.get(model, 0.0))

    def learn(self, model: str, used: Mapping[str, int], asked: Estimate | None = None) -> None:
        """From an answer that came to its own end, and not to the bound that was `asked` for."""
        output = used.get("output", 0)
        if not output:
            return
        if asked is None:
            self._outputs.learn(model, output)
        elif not asked.capped or output != asked.output:
            self._outputs.learn(model, -(-output // asked.answers))
        reasoning = used.get("reasoning", 0)
        hidden = self._hidden
        if reasoning or model in hidden:
            known = hidden.pop(model, None)
            hidden[model] = reasoning if known is None else known + (reasoning - known) / 8
            if len(hidden) > MAX_MODELS:
                del hidden[next(iter(hidden))]


def _upload(body: bytes | Body) -> Estimate:
    """Of sound: its length where it is paid for by that, and what is heard and said where it is paid for by tokens."""
    length = len(body) if isinstance(body, bytes) else body.length
    ms = (LARGEST_SOUND if length is None else length) // SOUND_BYTES_PER_MS
    heard, said = ms // MS_PER_HEARD, ms // MS_PER_SAID
    return Estimate(heard, said, True, Method.BYTES, {"audio_ms": ms})


def asked_of(estimated: Estimate) -> dict[str, int]:
    """As what was used is told."""
    used = {"input": estimated.input, "output": estimated.output}
    if estimated.spoken:
        used["audio_output"] = estimated.output
    if estimated.input and estimated.output and not estimated.units:
        return used
    used.update(estimated.units)
    return {kind: amount for kind, amount in used.items() if amount}
