"""The admin API's part about questions that mean the same: the story of an answer, and an end of it."""

import re
from http import HTTPStatus
from typing import Final, Protocol, final

import msgspec
from aiohttp import web

from cache.purge import Purger
from cache.select import Selector
from cache.semantic.learning.label_log import RIVAL, LabelLog
from cache.semantic.store.record import EXACT_ONLY, Change, Record
from cache.semantic.store.records import Changed, Records
from cache.semantic.store.served import ServedLog
from proxy.admin.problems import Problem
from proxy.redis_link import LinkDown, LinkRefused
from proxy.telemetry.log import Log

__all__ = ["QuestionRoutes", "Questions"]

MAX_LABELS: Final = 10_000
UNKNOWN: Final = "nothing is known of the question of this key"
DOWN: Final = Changed.DOWN.value
SERVED: Final = ("time", "call_id", "stored", "asked", "similarity", "tier", "rule", "score")
KEY: Final = re.compile("[0-9a-f]{64}")


class Questions(Protocol):
    """What is known of questions."""

    @property
    def records(self) -> Records: ...
    @property
    def served(self) -> ServedLog: ...
    @property
    def labels(self) -> LabelLog: ...


@final
class QuestionRoutes:
    """`questions` is None where nothing is looked for. `purger` removes what each of several workers has of its own."""

    def __init__(self, questions: Questions | None, purger: Purger | None, log: Log) -> None:
        self._questions = questions
        self._purger = purger
        self._log = log

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/cache/questions/{key}", self._story)
        router.add_get("/cache/labels", self._labels)
        router.add_post("/cache/questions/{key}/distrust", self._distrust)

    async def _story(self, request: web.Request) -> web.Response:
        questions, record = await self._found(request)
        try:
            served = await questions.served.of(record.key)
        except (ConnectionError, TimeoutError) as error:
            raise _away(error) from None
        story = {
            "key": record.key,
            "question": record.text,
            "aliases": [alias.text for alias in record.aliases],
            "partition": record.partition,
            "min_similarity": record.min_similarity,
            "wrong": record.wrong,
            "own_question_only": record.wrong >= EXACT_ONLY,
            "served": [{name: getattr(each, name) for name in SERVED} for each in served],
        }
        return web.Response(content_type="application/json", body=msgspec.json.encode(story))

    async def _labels(self, request: web.Request) -> web.Response:
        """Pairs of questions, as `askonce calibrate` takes them: `a` was answered, `b` was asked."""
        limit = request.query.get("limit", "1000")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= MAX_LABELS):
            raise Problem(HTTPStatus.BAD_REQUEST, f"limit: a whole number from 1 to {MAX_LABELS}", {"field": "limit"})
        found = [] if self._questions is None else await self._questions.labels.examples(int(limit))
        if found is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the labels can't be read now", {"reason": DOWN})
        pairs = [
            {
                "a": label.stored,
                "b": label.asked,
                "same_answer": label.right,
                "category": label.rule or label.standing,
                "weight": label.weight,
                "audited": label.seen.audited,
                "rival": label.standing == RIVAL,
                "party": label.party.name,
            }
            for label in found
        ]
        return web.Response(content_type="application/json", body=msgspec.json.encode({"labels": pairs}))

    async def _distrust(self, request: web.Request) -> web.Response:
        if self._purger is not None:
            # Each worker has questions of its own, and this one need not be who serves it.
            if (await self._purger.purge(Selector(key=_key(request)))).unfinished:
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not every worker has heard of it; ask again")
        else:
            questions, record = await self._found(request)
            result = await questions.records.change(record.key, record.partition, Change(wrong=EXACT_ONLY))
            if result is Changed.DOWN:
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Redis did not answer", {"reason": DOWN})
            if result is Changed.ABSENT:
                raise Problem(HTTPStatus.NOT_FOUND, UNKNOWN)
        self._log.info("answer_distrusted", key=_key(request))
        return web.Response(content_type="application/json", body=msgspec.json.encode({"key": _key(request)}))

    async def _found(self, request: web.Request) -> tuple[Questions, Record]:
        key = _key(request)
        if self._questions is None:
            raise Problem(HTTPStatus.NOT_FOUND, UNKNOWN)
        try:
            record = (await self._questions.records.read([key])).get(key)
        except (ConnectionError, TimeoutError) as error:
            raise _away(error) from None
        if record is None:
            raise Problem(HTTPStatus.NOT_FOUND, UNKNOWN)
        return self._questions, record


def _key(request: web.Request) -> str:
    key = request.match_info["key"]
    if not KEY.fullmatch(key):
        raise Problem(HTTPStatus.BAD_REQUEST, "key: 64 hexadecimal digits, lower case", {"field": "key"})
    return key


def _away(error: ConnectionError | TimeoutError) -> Problem:
    """By the name that the metrics of Redis have for it."""
    match error:
        case LinkDown():
            reason = error.fault.value
        case LinkRefused():
            reason = error.refusal.value
        case _:
            reason = DOWN
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Redis did not answer", {"reason": reason})
