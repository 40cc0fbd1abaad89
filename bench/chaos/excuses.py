"""What a client may be told besides, while upstreams or Redis are away. Sans-IO."""

from typing import Final

from bench.chaos.questions import OUTAGE, Answer, Errand, Question, code_of, judge

__all__ = ["judge_neither", "judge_outage", "judge_unheard"]

_OUT: Final = frozenset(["upstream_unreachable", "upstream_error", "upstream_disconnected", "upstream_unavailable"])


def judge_outage(question: Question, answer: Answer, *, left: bool) -> bool:
    """Whether this may be what a request came to whose upstream went away under it, while no other was asked.

    Who has `left` has cut the answer himself.
    """
    if answer.cache == "STALE":
        return not judge(question, answer, stale=True)[1]
    if answer.status in (502, 503) and answer.whole:
        return code_of(answer.body) in _OUT | {f"as_asked_{OUTAGE}"}
    return answer.status == 200 and not answer.whole and not left


def judge_neither(question: Question, answer: Answer) -> bool:
    """Whether this may be what a request came to that the first upstream has no time for, while the other is left alone
    for what was asked of it in an outage: questions that it is silent at fail two seconds later, one after another.
    """
    if question.errand is not Errand.ELSEWHERE or not answer.whole:
        return False
    refused = f"as_asked_{question.order.status}"
    return (answer.status, code_of(answer.body)) in {(question.order.status, refused), (OUTAGE, "upstream_unavailable")}


def judge_unheard(answer: Answer) -> bool:
    """Whether this is what a worker says that has never heard how much a key may spend."""
    return answer.status == 503 and answer.whole and code_of(answer.body) == "limits_unavailable"
