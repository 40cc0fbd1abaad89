"""A question as the gateway asks it: of a request's body, and to the end, which is the stored answer.

Answers are streams of some hundred events, as this worker finds them that another one has learnt of: it has not looked
into any yet.
"""

import json
from typing import Any, Final, final

import msgspec

from bench.semantic.parts import Noted, timed
from cache.directives import NONE
from cache.entry import Entry, EntryKind
from cache.policy import Plan
from cache.semantic.lookup import Lookup, Match
from proxy import routes
from proxy.caching.meaning import Meaning
from proxy.caching.question import Question as Request
from proxy.exchange import Exchange
from proxy.openai.facts import Facts
from proxy.semantic.answers import Answers
from proxy.semantic.inquiry import Inquiries, Inquiry
from proxy.semantic.modes import Mode, Modes, Never

__all__ = ["Asking"]

MODEL: Final = "gpt-4o-mini"
PATH: Final = "/v1/chat/completions"
SCOPE: Final = b"1" * 32
EVENTS: Final = 300
WORD: Final = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18"}


def _event(delta: dict[str, str], end: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}
    return b"data: %b\n\n" % json.dumps({**WORD, "choices": [choice]}).encode()


def _answer() -> Entry:
    words = tuple(_event({"role": "assistant", "content": f"word{number} "}) for number in range(EVENTS))
    return Entry(
        key="0" * 64,
        kind=EntryKind.STREAM,
        endpoint="chat/completions",
        status=200,
        content_type=b"text/event-stream",
        usage=b"",
        model=MODEL,
        served_model=MODEL,
        upstream="openai",
        scope="1" * 64,
        team="",
        tags=(),
        created=0.0,
        expires=1e9,
        stale_until=1e9,
        spent_ms=100,
        sent_model="",
        tier="",
        frames=(*words, _event({}, "stop"), b"data: [DONE]\n\n"),
    )


@final
class _Kept:
    """In the place of `cache.tiers`: an answer of every key."""

    def __init__(self) -> None:
        self.memory = self
        self._answer = _answer()

    def get(self, key: str, now: float) -> Entry:
        return msgspec.structs.replace(self._answer, key=key)


@final
class _Events:
    """Counts nothing, and knows what came of the last look."""

    def __init__(self) -> None:
        self.result = ""

    def looked(self, mode: str, result: str) -> None:
        self.result = result

    def hit(self, *of: object) -> None: ...
    def vetoed(self, rule: str) -> None: ...
    def nearest(self, similarity: float) -> None: ...
    def took(self, seconds: float) -> None: ...
    def learnt(self, result: str) -> None: ...
    def read(self, *of: object) -> None: ...


@final
class _Timed:
    """Answers, and how long it took to look into one."""

    def __init__(self, noted: Noted) -> None:
        self._answers = Answers()
        self._noted = noted

    async def is_answer(self, entry: Entry, match: Match) -> bool:
        with timed(self._noted, "answer"):
            return await self._answers.is_answer(entry, match)


@final
class Asking:
    def __init__(self, lookup: Lookup, noted: Noted, deadline: float) -> None:
        self._events = _Events()
        learning: Any = None
        tiers: Any = _Kept()
        answers: Any = _Timed(noted)
        self._inquiries = Inquiries(
            lookup,
            learning,
            tiers,
            answers,
            Modes(Mode.ON, [], []),
            Never(()),
            self._events,
            version="",
            deadline=deadline,
            padding=0.0,
            scope="key",
            wall=lambda: 1.0,
            on_served=lambda *_: None,
            on_bug=_raised,
        )

    def inquiry(self, text: str) -> Inquiry:
        nobody: Any = None
        body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}]}).encode()
        exchange = Exchange(
            method="POST",
            path=PATH,
            query=b"",
            headers=[],
            body=nobody,
            client=nobody,
            peer="",
            call_id="bench",
            started_at=0.0,
        )
        exchange.route, exchange.model, exchange.scope, exchange.account = routes.find("POST", PATH), MODEL, SCOPE, "a"
        facts = Facts(stateful=False, hosted_tools=False, wants_usage=False, alias=None)
        meaning = Meaning(facts, NONE, b"", body, body)
        request = Request("f" * 64, Plan(60.0), NONE, meaning, SCOPE.hex(), shared=True)
        return Inquiry(self._inquiries, exchange, request, Mode.ON)

    def partition(self, text: str) -> str:
        """That such questions are asked in."""
        inquiry: Any = self.inquiry(text)
        found: str = inquiry._read(inquiry._request.meaning.body).partition  # noqa: SLF001
        return found

    async def look(self, text: str) -> str:
        """What came of it."""
        await self.inquiry(text).look()
        return self._events.result


def _raised(error: BaseException) -> None:
    raise error
