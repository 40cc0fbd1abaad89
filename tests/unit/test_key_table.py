"""Who a credential belongs to, answered from memory."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.keys.key import Refusal, Team, VirtualKey
from proxy.keys.table import MAX_CREDENTIAL, Record, Table
from tests.fakes.keyring import NOW, PEPPER, virtual_key

SECRETS = [b"s%d" % number for number in range(8)]
IDS = st.sampled_from(["a", "b", "c"])
FRESH = st.sampled_from(range(len(SECRETS)))


def table(*records: Record) -> Table:
    made = Table(PEPPER)
    made.replace(records)
    return made


class Tables(RuleBasedStateMachine):
    """A secret opens the key that has it now, or had it until its grace was over, and no other; whatever is put,
    replaced, dropped and declared in between.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(PEPPER)
        self.model: dict[str, VirtualKey] = {}
        self.revision = 0
        self.now = NOW
        self.free = set(range(len(SECRETS)))

    def take(self, wanted: int) -> bytes | None:
        """No two keys have one secret."""
        used = {key.digest for key in self.model.values()} | {key.previous for key in self.model.values()}
        digest = PEPPER.digest(SECRETS[wanted])
        return None if digest in used else digest

    @rule(name=IDS, secret=FRESH)
    def create(self, name: str, secret: int) -> None:
        if (digest := self.take(secret)) is not None and name not in self.model:
            self.put(virtual_key(id=name, digest=digest))

    @rule(name=IDS, secret=FRESH, grace=st.sampled_from([0.0, 5.0]))
    def rotate(self, name: str, secret: int, grace: float) -> None:
        if (digest := self.take(secret)) is not None and name in self.model:
            self.put(self.model[name].rotated(digest, "", self.now, grace))

    @rule(name=IDS)
    def revoke(self, name: str) -> None:
        if name in self.model:
            self.put(msgspec.structs.replace(self.model[name], revoked=self.now))

    @rule(name=IDS)
    def drop(self, name: str) -> None:
        if name in self.model:
            self.table.drop(self.model.pop(name))

    @rule()
    def replace(self) -> None:
        self.table.replace(list(self.model.values()))

    @rule(name=IDS)
    def late_news(self, name: str) -> None:
        if name in self.model:
            self.table.update([msgspec.structs.replace(self.model[name], revoked=None, revision=0)])

    @rule(seconds=st.sampled_from([1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def put(self, key: VirtualKey) -> None:
        self.revision += 1
        self.model[key.id] = msgspec.structs.replace(key, revision=self.revision)
        self.table.update([self.model[key.id]])

    @invariant()
    def agrees(self) -> None:
        for secret in SECRETS:
            digest = PEPPER.digest(secret)
            owners = [key for key in self.model.values() if key.refusal(digest, self.now) is None]
            found = self.table.find(secret, self.now)
            assert ([found] if isinstance(found, VirtualKey) else []) == owners
        assert {key.id: key for key in self.table.listed()} == self.model


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize(
    ("credential", "why"),
    [
        (b"", Refusal.MISSING),
        (b"sk-ask-", Refusal.UNKNOWN),
        (b"\xff\0", Refusal.UNKNOWN),
        (b"x" * (MAX_CREDENTIAL + 1), Refusal.UNKNOWN),
        (b"gone", Refusal.EXPIRED),
        (b"revoked", Refusal.REVOKED),
        (b"old", Refusal.ROTATED),
    ],
)
def test_why_a_credential_opens_nothing(credential: bytes, why: Refusal) -> None:
    """It is told from the others for the metric's sake; and none of them counts as a use."""
    known = table(
        virtual_key("gone", expires=NOW),
        virtual_key("revoked", revoked=NOW - 1),
        virtual_key("new", previous=PEPPER.digest(b"old"), previous_until=NOW),
    )
    assert known.find(credential, NOW) is why
    assert known.used == {}


def test_nothing_is_refused_for_good_before_the_keys_are_known() -> None:
    """But declared keys work from the first moment."""
    waiting = Table(PEPPER)
    waiting.declare([virtual_key("declared", id="config-a", source="config")])
    assert waiting.find(b"other", NOW) is Refusal.NOT_LOADED
    assert isinstance(waiting.find(b"declared", NOW), VirtualKey)
    waiting.replace([])
    assert waiting.find(b"other", NOW) is Refusal.UNKNOWN


def test_declared_keys_go_and_come_with_the_configuration() -> None:
    """Whatever happens in the store meanwhile; a team that both have is the declared one."""
    known = table(virtual_key("stored", id="a"), Team(name="t", created=NOW))
    known.declare([virtual_key("declared", id="config-a", source="config"), Team(name="t", created=0, source="config")])
    known.update([Team(name="t", created=NOW, revision=9), virtual_key("more", id="b", revision=10)])
    assert [key.id for key in known.listed()] == ["a", "b", "config-a"]
    assert [team.source for team in known.teams()] == ["config"]
    known.declare([])
    assert [key.id for key in known.listed()] == ["a", "b"]
    assert known.teams() == [Team(name="t", created=NOW, revision=9)]
    assert known.find(b"declared", NOW) is Refusal.UNKNOWN


def test_a_use_is_noted_with_its_time() -> None:
    """The last one."""
    known = table(key := virtual_key("s"))
    for at in (1.0, 2.0):
        known.find(b"s", NOW + at)
    assert known.used == {key.id: NOW + 2.0}


def test_what_is_found_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the whole digest, and not by what a dict compares."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("proxy.keys.key.hmac.compare_digest", compare)
    key = virtual_key("s")
    assert table(key).find(b"s", NOW) == key
    assert compared == [(key.digest, key.digest)]
