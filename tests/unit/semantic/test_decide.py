"""Which candidate is served, by which tier, and what is labelled where none is."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic import foreign
from cache.semantic.decide import (
    AUDIT,
    CONTESTED,
    GRAY,
    LICENSED_AUDIT,
    NOTHING,
    THRESHOLD,
    VERIFIER,
    VETOED,
    WITNESSES,
    Candidate,
    Deciding,
    Decision,
    Reading,
    Settings,
    Thresholds,
    Tier,
    decide,
)
from cache.semantic.guard import LESSER, RULES, Compared, Finding

OPEN = Compared(Finding.OPEN, "content")
VETO = Compared(Finding.VETO, "number")
LESSER_VETO = Compared(Finding.VETO, "modal")
LICENSED = Compared(Finding.LICENSED, "synonym")
SAME = Compared(Finding.SAME, "same")
GREATER = [
    *("number", "date", "unit", "symbol", "code", "url", "quoted", "negation", "antonym", "person", "comparative"),
    *("preposition", "contrast", "entity", "order"),
]
Near = tuple[Candidate, Compared]


def made(
    *near: Near, threshold: float = inf, witnessed: float = inf, draw: float = 1.0, guarded: bool = True
) -> Decision:
    deciding = Deciding(Settings(), Thresholds(threshold, witnessed), lambda: draw, guarded=guarded)
    return decide(deciding, [candidate for candidate, _ in near], lambda at: near[at][1])


def at(similarity: float, compared: Compared = OPEN, **learned: Any) -> Near:
    return Candidate(similarity, **learned), compared


@pytest.mark.parametrize(
    ("near", "tier", "rule"),
    [
        (at(0.60, LICENSED), Tier.LICENSED, "synonym"),
        (at(0.60, SAME), Tier.LICENSED, "same"),
        (at(0.92), Tier.CALIBRATED, THRESHOLD),
        (at(0.59, LICENSED), None, NOTHING),
        (at(0.91), None, GRAY),
        (at(0.99, VETO), None, VETOED),
        (at(0.99, LESSER_VETO), None, VETOED),
    ],
)
def test_tiers(near: Near, tier: Tier | None, rule: str) -> None:
    """Each from its similarity on, and what is vetoed from none."""
    decision = made(near, threshold=0.92)
    assert (decision.tier, decision.rule) == (tier, rule)


def test_shut() -> None:
    """Without a threshold nothing is served for its similarity."""
    assert made(at(1.0)).tier is None


def test_a_veto_is_passed_over() -> None:
    """The next candidate may be it; what refused is told."""
    decision = made(at(0.99, VETO), at(0.98, LESSER_VETO), at(0.70, LICENSED))
    assert (decision.served, decision.vetoes) == (2, ("number", "modal"))


def test_compared_only_where_it_matters() -> None:
    """Nothing behind a hit, nothing that is too far, nothing that only its own question may have."""
    seen: list[int] = []

    def compare(index: int) -> Compared:
        seen.append(index)
        return OPEN if index == 1 else LICENSED

    candidates = [Candidate(0.99, exact_only=True), Candidate(0.98), Candidate(0.97), Candidate(0.96)]
    assert decide(Deciding(Settings(), Thresholds(), lambda: 1.0), candidates, compare).served == 2
    assert seen == [1, 2]
    assert decide(Deciding(Settings(), Thresholds(), lambda: 1.0), [Candidate(0.59)], compare).rule == NOTHING
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("learned", "served"), [({"min_similarity": 0.96}, -1), ({"min_similarity": 0.95}, 0), ({"exact_only": True}, -1)]
)
def test_what_labels_taught_of_one(learned: dict[str, Any], served: int) -> None:
    """An answer that was wrong takes a higher similarity from then on, or its own question."""
    assert made(at(0.95, **learned), threshold=0.9).served == served


def test_what_the_rules_serve_may_be_audited() -> None:
    """A part of it, and none where nobody compares; it is compared with what would have been served."""
    near = at(0.9, SAME)

    def drawn(draw: float, audit_rules: float = 0.0) -> Decision:
        deciding = Deciding(Settings(audit_rules=audit_rules), Thresholds(), lambda: draw)
        return decide(deciding, [near[0]], lambda _: near[1])

    audited = drawn(0.01, audit_rules=0.02)
    assert (audited.tier, audited.rule, audited.gray, audited.audited) == (None, LICENSED_AUDIT, 0, True)
    assert drawn(0.03, audit_rules=0.02).rule == drawn(0.0).rule == "same"


def test_what_is_barred_lets_others_through() -> None:
    """Of one answer, the next question may do where its labels bar the best."""
    assert made(at(0.95, min_similarity=0.97, family="a"), at(0.94, family="a"), threshold=0.9).served == 1


@pytest.mark.parametrize(
    ("families", "second", "served"),
    [(("a", "a"), 0.94, 0), (("a", "b"), 0.94, -1), (("", ""), 0.94, -1), (("a", "b"), 0.89, 0)],
)
def test_contested(families: tuple[str, str], second: float, served: int) -> None:
    """Two that are nearly as near and not known to say the same are not told apart by similarity."""
    near = at(0.95, family=families[0]), at(second, family=families[1])
    assert made(*near, threshold=0.9).served == served
    assert made(*near, threshold=0.96).rule == (GRAY if served == 0 else CONTESTED)


def test_a_veto_contests_nothing() -> None:
    """The guard can tell it apart."""
    assert made(at(0.95), at(0.94, VETO), threshold=0.9).served == 0


@pytest.mark.parametrize(
    ("near", "rule"),
    [
        ([at(0.95, LESSER_VETO, family="a", voices=3)], WITNESSES),
        ([at(0.95, LESSER_VETO, family="a"), at(0.8, VETO, family="a", voices=2)], WITNESSES),
        ([at(0.95, OPEN, family="a", voices=3)], WITNESSES),
        ([at(0.95, LESSER_VETO, family="a", voices=2)], VETOED),
        ([at(0.95, LESSER_VETO, family="", voices=3)], VETOED),
        ([at(0.95, VETO, family="a", voices=9)], VETOED),
        ([at(0.95, LESSER_VETO, family="a", voices=3), at(0.93, VETO, family="b")], VETOED),
        ([at(0.95, LESSER_VETO, family="a", voices=3, min_similarity=0.96)], VETOED),
    ],
)
def test_witnesses(near: list[Near], rule: str) -> None:
    """Three questions of one answer overrule a lesser veto, if nothing with another is near; never a greater one."""
    decision = made(*near, witnessed=0.9)
    assert (decision.rule, decision.witnessed) == (rule, rule == WITNESSES)


def test_witnesses_have_a_threshold_of_their_own() -> None:
    """Which that of the others does not open; below it they are labelled as what they are."""
    decision = made(at(0.95, LESSER_VETO, family="a", voices=3), threshold=0.9)
    assert (decision.tier, decision.rule, decision.gray, decision.witnessed) == (None, GRAY, 0, True)


def test_what_is_never_overruled() -> None:
    """What tells one question from another in any domain."""
    assert LESSER <= RULES
    assert LESSER.isdisjoint(GREATER)


@pytest.mark.parametrize(("draw", "tier"), [(0.019, None), (0.02, Tier.CALIBRATED)])
def test_audits(draw: float, tier: Tier | None) -> None:
    """Two in a hundred calibrated hits are asked upstream all the same, to be compared; of the others none."""
    audited = made(at(0.95), threshold=0.9, draw=draw)
    assert (audited.tier, audited.audited, audited.gray) == (tier, tier is None, 0 if tier is None else -1)
    assert audited.rule == (AUDIT if tier is None else THRESHOLD)
    assert made(at(0.95, LICENSED), draw=0.0).tier is Tier.LICENSED


def test_what_is_labelled() -> None:
    """The best that no veto met; of those that met one, one that witnesses might overrule."""
    assert made(at(0.9, VETO), at(0.8), at(0.7)).gray == 1
    assert made(at(0.9, VETO), at(0.8, LESSER_VETO)).gray == 1
    assert made(at(0.9, VETO), at(0.8, VETO)).gray == 0
    assert made().gray == -1


@pytest.mark.parametrize(
    ("near", "rival"),
    [
        ((at(0.9, family="f"), at(0.88, family="g"), at(0.88, family="h")), 1),
        ((at(0.9, family="f"), at(0.89, VETO, family="g"), at(0.88, family="h")), 2),
        ((at(0.9, family="f"), at(0.89, family="f"), at(0.88, VETO, family="g")), 2),
        ((at(0.9, VETO, family="f"), at(0.88, family="g")), 0),
        ((at(0.9, family="f"), at(0.89, family="g", exact_only=True), at(0.88, family="g", refused=True)), -1),
        ((at(0.9, family="f"), at(0.87, family="g")), -1),
        ((at(0.9, family="f"),), -1),
    ],
)
def test_what_may_be_right_in_its_stead(near: list[Near], rival: int) -> None:
    """The best that contests what is labelled, vetoed only where all are. Of a hit there is none."""
    assert made(*near).rival == rival
    assert made(at(0.95, SAME), *near).rival == -1


@pytest.mark.parametrize(("similarity", "served"), [(0.969, -1), (0.97, 0)])
def test_a_language_that_no_guard_knows(similarity: float, served: int) -> None:
    """Takes more, however low the threshold is; and nothing while that is shut."""
    assert made(at(similarity), threshold=0.8, guarded=False).served == served
    assert made(at(similarity), guarded=False).served == -1


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        ("Was kostet der Tarif mit 5 GB?", "Was kostet der Tarif mit 6 GB?", "number"),
        ("¿Vuelo de 5 a 6?", "¿Vuelo de 6 a 5?", "number"),
        ("Что такое «мир»?", "Что такое «война»?", "quoted"),
        ("Siehe https://a.example/x", "Siehe https://a.example/y", "url"),
        ("Écrire à a@b.example", "Écrire à c@b.example", "url"),
        ("Was macht foo.bar()?", "Was macht foo.baz()?", "code"),
        ("Wie lernt man C++?", "Wie lernt man C#?", "code"),
        ("什么是 `ls -l`?", "什么是 `ls -a`?", "code"),
    ],
)
def test_what_changes_a_question_in_any_language(one: str, other: str, rule: str) -> None:
    """Numbers, quotations, addresses and code refuse where words can't be read."""
    assert foreign.compare(one, other) == foreign.compare(other, one) == (Finding.VETO, rule)
    assert rule in foreign.RULES
    assert foreign.compare(one, one.replace("?", " ?")).finding is Finding.OPEN


FINDINGS = st.sampled_from([OPEN, VETO, LESSER_VETO, LICENSED, SAME])
NEAR = st.lists(
    st.tuples(
        st.builds(Candidate, st.floats(0.5, 1.0), st.floats(0.0, 1.0), st.booleans(), st.sampled_from(["", "a", "b"])),
        FINDINGS,
    ),
    max_size=8,
).map(lambda near: sorted(near, key=lambda each: -each[0].similarity))
THRESHOLDS = st.one_of(st.just(inf), st.floats(0.6, 1.0))


@given(NEAR, THRESHOLDS, THRESHOLDS, st.floats(0, 0.999))
def test_laws(near: Sequence[Near], threshold: float, witnessed: float, draw: float) -> None:
    """Nothing is served below its bounds, nothing against a greater veto, and a miss says what it is one for."""
    decision = made(*near, threshold=threshold, witnessed=witnessed, draw=draw)
    assert (decision.served >= 0) == (decision.tier is not None)
    assert decision.audited == (decision.rule == AUDIT)
    if decision.tier is None:
        assert (decision.gray < 0) == (decision.rule == NOTHING)
        return
    candidate, (finding, rule) = near[decision.served]
    assert candidate.similarity >= Settings().least
    assert not candidate.exact_only
    assert finding is not Finding.VETO or (decision.witnessed and rule in LESSER)
    if decision.tier is Tier.CALIBRATED:
        assert candidate.similarity >= max(candidate.min_similarity, witnessed if decision.witnessed else threshold)


@given(NEAR, THRESHOLDS)
def test_a_lower_threshold_takes_nothing_away(near: Sequence[Near], threshold: float) -> None:
    """What one serves, a lower one does too; and what is labelled GRAY is what a lower one would serve."""
    high, low = made(*near, threshold=threshold), made(*near, threshold=0.6)
    assert high.tier is None or low.tier is not None
    if high.rule == GRAY and not high.witnessed:
        assert low.served == high.gray


def test_refused_for_this_question() -> None:
    """It is not served again, by whatever rule, nor compared again; and what is not much nearer is as doubtful."""
    refused = at(0.97, LICENSED, refused=True)
    assert made(refused, threshold=0.80).rule == NOTHING
    assert made(refused, threshold=0.80).gray == -1
    assert made(refused, at(0.95), threshold=0.80).rule == CONTESTED
    assert made(refused, at(0.95, family="f"), threshold=0.80).gray == 1
    assert made(at(0.99), refused, threshold=0.80).rule == CONTESTED
    assert made(at(0.99), at(0.95, refused=True), threshold=0.80).tier is Tier.CALIBRATED
    assert made(refused, at(0.70, LICENSED)).tier is Tier.LICENSED
    assert made(refused, at(0.70, VETO)).gray == 1


def test_hidden() -> None:
    """How far it is, and nothing of a question."""
    deciding = Deciding(Settings(), Thresholds(), lambda: 1.0)
    compare: Callable[[], Compared] = lambda: OPEN  # noqa: E731
    deciding.next(Candidate(0.9), compare)
    assert repr(deciding) == "<Deciding 1 seen, 1 near>"


def read(*near: Near, scores: Sequence[float | None], verified: float = 0.9, **how: Any) -> Decision:
    """What a verifier that may read three makes of a miss."""
    guarded = how.pop("guarded", True)
    draw = how.pop("draw", 1.0)
    deciding = Deciding(Settings(read=3), Thresholds(verified=verified, **how), lambda: draw, guarded=guarded)
    miss = decide(deciding, [candidate for candidate, _ in near], lambda at: near[at][1])
    return deciding.read(miss, scores) if miss.unread else miss


def test_a_verifier_reads_the_best_that_no_veto_met() -> None:
    """Nor their own labels bar; and serves the one that it scores highest."""
    barred, quarantined = at(0.97, min_similarity=0.98), at(0.96, exact_only=True)
    near = at(0.99, VETO), at(0.98, LESSER_VETO), barred, quarantined, at(0.89), at(0.88), at(0.8), at(0.7)
    decision = read(*near, scores=[0.2, None, 0.95])
    assert (decision.tier, decision.served, decision.rule) == (Tier.VERIFIED, 6, VERIFIER)
    assert decision.reading == Reading(6, 0.95, enough=True)
    assert decision.vetoes == ("number", "modal")


@pytest.mark.parametrize("scores", [[0.89, 0.1], [None, None], [0.99, 0.97]])
def test_a_verifier_that_is_not_sure_changes_nothing(scores: list[float | None]) -> None:
    """No score is enough, or another answer has nearly as good a one."""
    near = at(0.9), at(0.8)
    decision = read(*near, scores=scores)
    assert decision._replace(reading=None) == made(*near)


def test_answers_that_say_the_same_do_not_make_it_unsure() -> None:
    """Each of them will do."""
    decision = read(at(0.9, family="f"), at(0.8, family="f"), scores=[0.97, 0.99])
    assert (decision.tier, decision.served) == (Tier.VERIFIED, 1)


def test_a_verifier_is_audited() -> None:
    """What would have been its hit is compared as such, beside what is gray for its similarity."""
    decision = read(at(0.9), at(0.7), scores=[0.1, 0.99], draw=0.0199)
    assert (decision.tier, decision.gray, decision.rule) == (None, 0, GRAY)
    assert decision.reading == Reading(1, 0.99, enough=True)


def test_what_the_calibrated_tier_audits_is_not_read() -> None:
    """Else the verifier would serve what is to be compared."""
    decision = read(at(0.9), scores=[], plain=0.8, draw=0.0)
    assert (decision.rule, decision.unread) == (AUDIT, ())


def test_where_no_guard_knows_the_language_a_verifier_reads_what_is_very_near() -> None:
    """Nobody has looked for negations there."""
    assert made(at(0.98)).unread == ()
    near = at(0.98), at(0.96)
    deciding = Deciding(Settings(read=3), Thresholds(), lambda: 1.0, guarded=False)
    assert decide(deciding, [candidate for candidate, _ in near], lambda at: near[at][1]).unread == (0,)


@given(
    st.lists(st.tuples(st.floats(0.6, 1), st.sampled_from([OPEN, VETO, LESSER_VETO])), max_size=8),
    st.lists(st.none() | st.floats(0, 1), min_size=3, max_size=3),
)
def test_a_verifier_never_serves_what_was_vetoed(
    found: list[tuple[float, Compared]], scores: list[float | None]
) -> None:
    """Nor anything below its score, nor anything that it was not shown."""
    near = [at(similarity, compared) for similarity, compared in sorted(found, key=lambda each: -each[0])]
    unread = decide(
        Deciding(Settings(read=3), Thresholds(), lambda: 1.0), [each for each, _ in near], lambda at: near[at][1]
    ).unread
    decision = read(*near, scores=scores[: len(unread)])
    if decision.tier is Tier.VERIFIED:
        assert near[decision.served][1].finding is not Finding.VETO
        score = scores[unread.index(decision.served)]
        assert score is not None
        assert score >= 0.9


def test_a_verifier_does_not_serve_beside_what_was_wrong() -> None:
    """What is hardly nearer than an answer that was found wrong for this very question is as doubtful."""
    wrong = at(0.9, refused=True)
    assert read(wrong, at(0.88), scores=[0.99]).tier is None
    assert read(wrong, at(0.8), scores=[0.99]).tier is None
    assert read(at(0.9), at(0.8, refused=True), scores=[0.99]).tier is Tier.VERIFIED
