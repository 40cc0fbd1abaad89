"""Whose labels count for whom: nobody is served for what another alone has fed."""

from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.semantic.learning.calibrate import Calibration, Party, Seen, Settings
from cache.semantic.learning.evidence import EDGES, NOBODY, Counts, Pooled
from proxy.keys.key import VirtualKey
from proxy.semantic.parties import party_of

MALLORY, ALICE, *OTHERS = [Party(f"key:{name}", vouched=True) for name in ("mallory", "alice", "bob", "carol", "dave")]
RATE = 0.03


def right(party: Party, count: int, similarity: float = 0.8, group: str = "m") -> list[Seen]:
    return [Seen(group, similarity, True, party=party)] * count


def wrong(party: Party, count: int, similarity: float = 0.8) -> list[Seen]:
    return [Seen("m", similarity, False, party=party)] * count


def learned(*labels: Sequence[Seen]) -> Calibration:
    calibration = Calibration(Settings(max_error_rate=RATE))
    for some in labels:
        calibration.fold(some)
    return calibration


def test_one_opens_it_for_itself_alone() -> None:
    """However much it feeds, and under whatever names of models."""
    calibration = learned(right(MALLORY, 2_000), right(MALLORY, 2_000, group="other"), right(ALICE, 50))
    assert calibration.threshold("m", MALLORY) == EDGES[0]
    assert calibration.threshold("m", ALICE) == calibration.threshold("m", OTHERS[0]) == inf


def test_many_open_it_for_who_has_few() -> None:
    """Where it would be proven without any one of them; three at least."""
    each = [right(party, 300) for party in OTHERS]
    assert learned(*each).threshold("m", ALICE) == EDGES[0]
    two = learned(right(OTHERS[0], 3_000), right(OTHERS[1], 3_000))
    assert two.threshold("m", ALICE) == inf
    assert learned(right(OTHERS[0], 3_000), right(OTHERS[1], 90), right(OTHERS[2], 90)).threshold("m", ALICE) == inf


def test_a_flood_hides_no_wrong_labels() -> None:
    """What is bad for the others stays shut, whatever one of them adds to it."""
    bad = [[*right(party, 190), *wrong(party, 10)] for party in OTHERS]
    assert learned(*bad, right(MALLORY, 5_000)).threshold("m", ALICE) == inf
    assert learned(*[right(party, 200) for party in OTHERS], right(MALLORY, 5_000)).threshold("m", ALICE) < inf


def test_wrong_labels_count_whosesoever_they_are() -> None:
    """One can shut for all who have few, and nothing for who has enough."""
    calibration = learned(*[right(party, 500) for party in OTHERS], wrong(MALLORY, 400))
    assert calibration.threshold("m", ALICE) == inf
    assert calibration.threshold("m", OTHERS[0]) == EDGES[0]


def test_few_of_ones_own_speak_against_what_others_prove() -> None:
    """What is wrong for one is not served to it."""
    calibration = learned(*[right(party, 300) for party in OTHERS], wrong(ALICE, 50))
    assert calibration.threshold("m", ALICE) > 0.8


@pytest.mark.parametrize("fed", [right, wrong])
def test_who_is_not_vouched_for_counts_for_itself_alone(fed: object) -> None:
    """Who may be many proves nothing to others, and nobody proves anything to them."""
    strangers = [Party(f"own:{number}") for number in range(5)]
    found = learned(*[right(party, 300) for party in OTHERS], *[fed(party, 399) for party in strangers])  # type: ignore[operator]
    assert found.threshold("m", ALICE) == EDGES[0]
    assert found.threshold("m", strangers[0]) == inf


@pytest.mark.parametrize(("scope", "party"), [("key", Party("own:1")), ("team", Party("own:1")), ("global", NOBODY)])
def test_a_clients_own_key_is_nobody_that_others_heed(scope: str, party: Party) -> None:
    """Whoever can make himself another; where all share, all of them are one."""
    assert party_of(None, "own:1", scope) == party


@pytest.mark.parametrize(
    ("team", "own", "scope", "name"),
    [
        ("", None, "global", "key:k"),
        ("ops", None, "team", "team:ops"),
        ("ops", None, "global", "team:ops"),
        ("ops", None, "key", "key:k"),
        ("ops", "key", "global", "key:k"),
        ("ops", "team", "key", "team:ops"),
    ],
)
def test_a_virtual_key_is_vouched_for(team: str, own: Any, scope: str, name: str) -> None:
    """It is one with its team, unless its answers are kept apart from those of its team."""
    key = VirtualKey(id="k", name="k", digest=b"", created=0.0, team=team, cache_scope=own)
    assert party_of(key, "account", scope) == Party(name, vouched=True)


def test_parties_are_bounded() -> None:
    """What more there are count as some of those who prove something together."""
    calibration = Calibration(Settings(max_error_rate=RATE, parties=2))
    calibration.fold(seen for party in OTHERS for seen in right(party, 500))
    assert calibration.threshold("m", OTHERS[0]) == EDGES[0]
    assert calibration.estimate("m", OTHERS[2]).labels == 1_500


def test_nobody_takes_all_the_room() -> None:
    """Who is many and has fed little makes room for the next; who has enough, or most, stays."""
    calibration = Calibration(Settings(max_error_rate=RATE, parties=4))
    strangers = [Party(f"own:{number}") for number in range(50)]
    for some in (right(ALICE, 400), right(Party("own:a"), 200), *[right(each, 3) for each in strangers]):
        calibration.fold(some)
    calibration.fold(right(Party("own:a"), 200))
    assert calibration.threshold("m", ALICE) == calibration.threshold("m", Party("own:a")) == EDGES[0]
    assert calibration.estimate("m", strangers[-1]).labels == 3


def test_who_may_be_many_takes_nobodys_place_who_is_vouched_for() -> None:
    """What late labels say against a threshold is not forgotten because strangers came."""
    calibration = Calibration(Settings(max_error_rate=RATE, parties=4))
    for party in OTHERS:
        calibration.fold(right(party, 300))
    calibration.fold(wrong(ALICE, 50))
    shut = calibration.threshold("m", ALICE)
    for number in range(20):
        calibration.fold(right(Party(f"own:{number}"), 400))
    assert shut > EDGES[0]
    assert calibration.threshold("m", ALICE) == shut


def test_who_is_vouched_for_finds_room() -> None:
    """However much strangers have fed."""
    calibration = Calibration(Settings(max_error_rate=RATE, parties=4, groups=8))
    for number in range(4):
        for group in "abcd":
            calibration.fold(right(Party(f"own:{number}"), 400, group=group))
    calibration.fold(right(ALICE, 400))
    assert calibration.threshold("m", ALICE) == EDGES[0]
    assert calibration.estimate("m", ALICE).labels == 400


def test_a_minority_in_league_opens_it_for_nobody() -> None:
    """Of five and more, what two have fed proves nothing to the others."""
    few = [Party(f"team:{number}", vouched=True) for number in range(6)]
    some = [right(party, 20) for party in few]
    assert learned(right(MALLORY, 3_000), right(OTHERS[0], 3_000), *some).threshold("m", ALICE) == inf
    assert learned(*some, right(MALLORY, 3_000), right(OTHERS[0], 3_000)).threshold("m", ALICE) == inf
    assert learned(*[right(party, 200) for party in (*few, *OTHERS)]).threshold("m", ALICE) == EDGES[0]


def test_what_is_shown_is_what_somebody_is_served_from() -> None:
    """The lowest threshold there is, and what is known of that; else who has most labels."""
    assert learned(right(MALLORY, 50), right(ALICE, 20)).lowest().labels == 70
    found = learned(right(MALLORY, 500), wrong(ALICE, 700)).lowest()
    assert (found.threshold, found.labels, found.wrong) == (EDGES[0], 500, 0.0)
    witnessed = [seen._replace(witnessed=True) for seen in right(MALLORY, 400)]
    assert learned(right(ALICE, 30), witnessed).lowest().threshold == EDGES[0]


LABELS = st.lists(
    st.builds(
        Seen,
        st.just("m"),
        st.floats(0.75, 1.0),
        st.booleans(),
        weight=st.just(1.0),
        requests=st.integers(0, 3_000_000),
        party=st.sampled_from([MALLORY, ALICE, *OTHERS]),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=40)
@given(LABELS, st.sampled_from([MALLORY, ALICE, *OTHERS]))
def test_it_says_no_more_than_without_any_one(labels: list[Seen], out: Party) -> None:
    """From every edge on there are at most as many labels as if one party had fed nothing right, and all wrong ones."""
    pooled, without, at = Pooled(20_000.0), Counts(20_000.0), 0
    for seen in labels:
        at += seen.requests
        pooled.add(seen, at)
        if not (seen.right and seen.party == out):
            without.add(seen, at)
    for one, other in zip(pooled.above(at), without.above(at), strict=True):
        assert one.total <= other.total * (1 + 1e-9) + 1e-9
        assert one.wrong == pytest.approx(other.wrong, rel=1e-9, abs=1e-9)
