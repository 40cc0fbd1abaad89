"""Which answers are compared after a look, and which thresholds hear of it."""

import pytest

from cache.semantic.decide import (
    CONTESTED,
    GRAY,
    LICENSED_AUDIT,
    NOTHING,
    READ,
    READ_AUDIT,
    THRESHOLD,
    VERIFIER,
    VETOED,
    Decision,
    Reading,
    Tier,
)
from cache.semantic.finding import Compared, Finding
from cache.semantic.lookup import Match, Result, Sought
from proxy.semantic.targets import Standing, Target, targets
from tests.fakes.records import asked, record

NEAR, SCORED, RIVAL = (
    Match(record(name), asked(name), 0.9, 1, None, refused=False) for name in ("near", "scored", "rival")
)


def missed(rule: str, gray: Match | None, *, scored: Match | None = None, reading: Reading | None = None) -> Sought:
    decision = Decision(None, -1, rule, 0, False, (), reading=reading)
    return Sought(Result.GRAY, None, decision, None, gray, scored=scored)


def labelled(sought: Sought, *, shadow: bool = False) -> list[Target]:
    return [*targets(sought, "v", shadow=shadow)]


@pytest.mark.parametrize(("rule", "counts"), [(GRAY, True), (VETOED, True), (CONTESTED, False)])
def test_without_a_verifier_one_is_compared(rule: str, counts: bool) -> None:  # noqa: FBT001
    """What it counts for, its rule says."""
    standings = [Standing(rule, 0.9, drawn=False)] if counts else []
    assert labelled(missed(rule, NEAR)) == [Target(NEAR, rule, standings, refused=rule == VETOED)]
    assert labelled(missed(NOTHING, None)) == []


def test_a_rival_comes_last() -> None:
    """Whatever was read, and it is not compared a second time."""
    rival = Target(RIVAL, "rival", [Standing("rival", 0.9, drawn=False)], last=True)
    contested = missed(CONTESTED, NEAR)._replace(rival=RIVAL)
    assert labelled(contested) == [Target(NEAR, CONTESTED, []), rival]
    vetoed = RIVAL._replace(compared=Compared(Finding.VETO, "number"))
    assert labelled(contested._replace(rival=vetoed))[-1] == rival._replace(match=vetoed, refused=True)
    reading = Reading(0, 0.7, enough=False)
    for scored, compared in ((NEAR, [NEAR, RIVAL]), (SCORED, [NEAR, SCORED, RIVAL]), (RIVAL, [NEAR, RIVAL])):
        read = missed(GRAY, NEAR, scored=scored, reading=reading)._replace(rival=RIVAL)
        assert [each.match for each in labelled(read)] == compared


def test_one_that_is_near_and_was_read_counts_for_both() -> None:
    """One comparison, for the similarity and for the score."""
    (found,) = labelled(missed(GRAY, NEAR, scored=NEAR, reading=Reading(0, 0.7, enough=False)))
    assert found == Target(NEAR, GRAY, [Standing(GRAY, 0.9, drawn=False), Standing(f"{READ}:v", 0.7, drawn=False)])


def test_two_that_differ_are_both_compared() -> None:
    """Each threshold hears of the one that it would have served."""
    near, read = labelled(missed(GRAY, NEAR, scored=SCORED, reading=Reading(1, 0.7, enough=False)))
    assert near == Target(NEAR, GRAY, [Standing(GRAY, 0.9, drawn=False)])
    assert read == Target(SCORED, READ, [Standing(f"{READ}:v", 0.7, drawn=False)])


def test_an_audit_stands_for_all_that_were_served() -> None:
    """For the score, and for the similarity of what would have been compared but for the verifier."""
    near, read = labelled(missed(GRAY, NEAR, scored=SCORED, reading=Reading(1, 0.97, enough=True)))
    assert near.standings == [Standing(GRAY, 0.9, drawn=True)]
    assert read == Target(SCORED, "audit", [Standing(f"{READ_AUDIT}:v", 0.97, drawn=True)])


def test_a_score_that_no_threshold_may_have_is_not_compared() -> None:
    """A model that says no, and is right, is no reason to blame the answer."""
    (found,) = labelled(missed(GRAY, NEAR, scored=SCORED, reading=Reading(1, 0.49, enough=False)))
    assert found.match is NEAR


@pytest.mark.parametrize(("tier", "rule"), [(Tier.VERIFIED, VERIFIER), (Tier.CALIBRATED, THRESHOLD)])
def test_in_the_shadow_all_that_is_verified_is_an_audit(tier: Tier, rule: str) -> None:
    """Every one is compared, so that each stands for itself."""
    reading = Reading(0, 0.97, enough=True) if tier is Tier.VERIFIED else None
    decision = Decision(tier, 0, rule, -1, False, (), reading=reading)
    scored = SCORED if reading is not None else None
    (found,) = labelled(Sought(Result.HIT, None, decision, SCORED, scored=scored), shadow=True)
    standings = [Standing(f"{READ_AUDIT}:v", 0.97, drawn=False)] if reading is not None else []
    assert found == Target(SCORED, "served", standings)


def test_what_the_rules_let_through_counts_for_no_threshold() -> None:
    """It says how much of it is wrong: of what was drawn, or in the shadow of all."""
    rule = LICENSED_AUDIT
    (drawn,) = labelled(missed(rule, NEAR))
    assert drawn == Target(NEAR, rule, [Standing(rule, 0.9, drawn=True)])
    (shadow,) = labelled(missed(rule, NEAR), shadow=True)
    assert shadow.standings == [Standing(rule, 0.9, drawn=False)]
    served = Decision(Tier.LICENSED, 0, "synonym", -1, False, ())
    (found,) = labelled(Sought(Result.HIT, None, served, NEAR), shadow=True)
    assert found == Target(NEAR, "served", [Standing(rule, 0.9, drawn=False)])


def test_what_is_drawn_in_the_shadow_stands_for_itself() -> None:
    """All of its like are compared as well. Those of what is near but for the verifier are not."""
    reading = Reading(1, 0.97, enough=True)
    near, read = labelled(missed(GRAY, NEAR, scored=SCORED, reading=reading), shadow=True)
    assert near.standings == [Standing(GRAY, 0.9, drawn=True)]
    assert read == Target(SCORED, "audit", [Standing(f"{READ_AUDIT}:v", 0.97, drawn=False)])
