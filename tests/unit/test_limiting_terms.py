"""Which limits hold for whom."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from limits import Kind, Mode, OnFailure
from proxy.accounts import is_ours
from proxy.keys.key import BUDGETS, LIMITS, Team, VirtualKey
from proxy.limiting.terms import MAX_KNOWN, Rule, Terms
from tests.fakes.keyring import virtual_key
from tests.fakes.limited import Amounts, book

PER_REQUEST = (Kind.REQUESTS, Kind.DAILY, Kind.CONCURRENT)
AMOUNTS = st.dictionaries(st.sampled_from(Kind), st.integers(0, 10**9), max_size=7)


def parted(amounts: Amounts) -> dict[str, Any]:
    """As keys and teams have them."""
    return {
        "limits": {kind: amount for kind, amount in amounts.items() if kind in LIMITS},
        "budgets": {kind: amount for kind, amount in amounts.items() if kind in BUDGETS},
    }


def told(terms: Terms) -> dict[tuple[str, Kind], int]:
    limits = [*(demand.limit for demand in terms.requests), *terms.spending]
    found = {(limit.subject, limit.kind): limit.amount for limit in limits}
    assert len(found) == len(limits), "a limit that holds twice"
    return found


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_what_somebody_sets_goes_before_what_holds_for_all_of_his_sort(
    own: Amounts, keys: Amounts, of_team: Amounts, teams: Amounts, gateway: Amounts
) -> None:
    """For each amount by itself; a key's, its team's and the gateway's limits hold together."""
    team = Team(name="t", created=0.0, **parted(of_team))
    terms = book(key=keys, team=teams, gateway=gateway, teams=lambda _: team).of(
        "k", virtual_key(id="k", team="t", **parted(own))
    )
    wanted = {("key:k", kind): amount for kind, amount in {**keys, **own}.items()}
    wanted |= {("team:t", kind): amount for kind, amount in {**teams, **of_team}.items()}
    wanted |= {("global", kind): amount for kind, amount in gateway.items()}
    assert told(terms) == wanted
    assert {demand.limit.kind for demand in terms.requests} <= {*PER_REQUEST}
    assert not {limit.kind for limit in terms.spending} & {*PER_REQUEST}
    assert {demand.cost for demand in terms.requests} <= {1}


def test_two_keys_of_a_team_are_counted_as_one() -> None:
    """By the team's name, and each as itself; also in a team that nobody has described."""
    terms = book(key={Kind.DAILY: 5}, team={Kind.DAILY: 9})
    one, other = (told(terms.of(name, virtual_key(id=name, team="t"))) for name in "ab")
    assert one == {("key:a", Kind.DAILY): 5, ("team:t", Kind.DAILY): 9}
    assert other == {("key:b", Kind.DAILY): 5, ("team:t", Kind.DAILY): 9}


def test_who_is_in_no_team_is_counted_in_none() -> None:
    """Nor is a client that brings a key of its own."""
    terms = book(team={Kind.DAILY: 9}, gateway={Kind.REQUESTS: 7})
    for key in (None, virtual_key(id="k")):
        assert told(terms.of("k", key)) == {("global", Kind.REQUESTS): 7}


def test_a_bucket_holds_as_much_as_it_gathers() -> None:
    """In so many seconds, at least one, and none where nothing is allowed; other kinds have no burst."""
    amounts = {Kind.REQUESTS: 600, Kind.TOKENS: 7, Kind.DAILY: 600}
    limits = [demand.limit for demand in book(key=amounts, burst=6.0).of("a", None).requests]
    limits += book(key=amounts, burst=6.0).of("a", None).spending
    assert {limit.kind: limit.burst for limit in limits} == {Kind.REQUESTS: 60, Kind.TOKENS: 1, Kind.DAILY: 0}
    (nothing,) = book(key={Kind.TOKENS: 0}).of("a", None).spending
    assert (nothing.amount, nothing.burst) == (0, 0)


def test_budgets_warn_from_a_part_of_them() -> None:
    """And nothing else does; nor one on trial."""
    amounts = {Kind.SPEND: 1_000, Kind.TOKENS: 1_000}
    assert [limit.soft for limit in book(key=amounts, soft=0.8).of("a", None).spending] == [0, 800]
    assert [each.soft for each in book(key=Rule(amounts, Mode.SHADOW), soft=0.8).of("a", None).spending] == [0, 0]
    assert [each.soft for each in book(key=amounts, soft=0.0).of("a", None).spending] == [0, 0]


def test_mode_and_failure_are_those_of_the_sort() -> None:
    """Of a key's own amounts as well."""
    rule = Rule({}, Mode.SHADOW, OnFailure.CLOSED)
    key = virtual_key(id="k", limits={Kind.DAILY: 5}, budgets={Kind.SPEND: 5})
    terms = book(key=rule, gateway={Kind.SPEND: 9}).of("k", key)
    assert (terms.requests[0].limit.mode, terms.requests[0].limit.on_failure) == (Mode.SHADOW, OnFailure.CLOSED)
    assert [limit.mode for limit in terms.spending] == [Mode.SHADOW, Mode.ENFORCE]
    assert terms.budgeted
    assert not book(key=rule).of("k", key).budgeted


def test_upstreams_have_limits_of_their_own() -> None:
    """Theirs before those of all; one that nobody knows has none."""
    terms = book(upstream={Kind.DAILY: 9, Kind.SPEND: 8}, upstreams={"one": {Kind.DAILY: 3}, "two": {}})
    assert told(terms.of_upstream("one")) == {("upstream:one", Kind.DAILY): 3, ("upstream:one", Kind.SPEND): 8}
    assert told(terms.of_upstream("two")) == {("upstream:two", Kind.DAILY): 9, ("upstream:two", Kind.SPEND): 8}
    assert told(terms.of_upstream("three")) == {}


def test_a_change_counts_at_once() -> None:
    """Of the key and of its team; what did not change is not made again."""
    teams: dict[str, Team] = {}
    terms = book(teams=teams.get)
    key = virtual_key(id="k", team="t", limits={Kind.DAILY: 5})
    first = terms.of("k", key)
    assert terms.of("k", key) is first
    assert told(terms.of("k", virtual_key(id="k", team="t", limits={Kind.DAILY: 6}))) == {("key:k", Kind.DAILY): 6}
    teams["t"] = Team(name="t", created=0.0, limits={Kind.DAILY: 2})
    assert told(terms.of("k", key)) == {("key:k", Kind.DAILY): 5, ("team:t", Kind.DAILY): 2}
    del teams["t"]
    assert told(terms.of("k", key)) == told(first)


def test_what_is_remembered_is_bounded() -> None:
    """However many clients bring keys of their own."""
    terms = book(key={Kind.DAILY: 5})
    for number in range(MAX_KNOWN + 10):
        terms.of(f"{number}", None)
    assert repr(terms) == f"<TermsBook {MAX_KNOWN} known>"


def test_idle_is_where_nobody_is_limited() -> None:
    """Neither keys, teams and gateway, nor any upstream; a key that sets its own is another matter."""
    assert book().idle
    assert book(upstreams={"one": {Kind.DAILY: 1}}).empty
    assert not book(upstreams={"one": {Kind.DAILY: 1}}).idle
    for limited in (book(key={Kind.DAILY: 1}), book(team={Kind.DAILY: 1}), book(gateway={Kind.DAILY: 1})):
        assert not limited.idle
        assert not limited.empty
    key: VirtualKey = virtual_key(id="k", limits={Kind.DAILY: 5})
    assert told(book().of("k", key)) == {("key:k", Kind.DAILY): 5}
    assert told(book().of("k", None)) == {}


def test_clients_own_keys_are_made_up_by_anybody() -> None:
    """All other subjects are made by who may."""
    assert [is_ours(name) for name in ("global", "team:t", "upstream:u", "key:dc1", "key:~0123")] == [True] * 4 + [
        False
    ]
