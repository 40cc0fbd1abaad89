"""The admin API's part about keys: what it takes, what it answers, and what it refuses."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, final

import pytest

from proxy.keys.key import Refusal, Team
from tests.fakes.admin import TOKEN
from tests.fakes.keyring import NOW, Keyring, Medium, WorkerKeys, virtual_key
from tests.fakes.raw import RawClient, Response
from tests.fakes.redis_server import RedisServer


@final
class Operator:
    """Asks one worker, with its token."""

    def __init__(self, worker: WorkerKeys, url: str) -> None:
        self.worker = worker
        self._url = url

    async def ask(self, method: str, path: str, body: object = None, *, token: str = TOKEN) -> Response:
        headers = [("authorization", f"Bearer {token}")] if token else []
        async with RawClient(self._url) as client:
            return await client.ask(method, f"/admin/v1/{path}", b"" if body is None else body, headers)

    async def done(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        response = await self.ask(method, path, body)
        assert response.status == status, response.body
        return response.json()

    async def refused(self, method: str, path: str, body: object = None) -> Any:
        response = await self.ask(method, path, body)
        assert response.header(b"content-type") == b"application/problem+json"
        problem = response.json()
        assert problem["status"] == response.status
        return problem

    async def create(self, **fields: Any) -> Any:
        return await self.done("POST", "keys", {"name": "ann", **fields}, 201)


Start = Callable[[], Awaitable[Operator]]


@pytest.fixture(params=["sqlite", "redis"])
async def start(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts workers that share keys."""
    async with AsyncExitStack() as stack:
        keyring = Keyring(Medium(tmp_path, redis_server.url if request.param == "redis" else ""), tmp_path, stack)

        async def start_worker() -> Operator:
            worker = await keyring.start()
            return Operator(worker, await stack.enter_async_context(worker.served()))

        yield start_worker


@pytest.fixture
async def operator(start: Start) -> Operator:
    return await start()


def opens(operator: Operator, secret: str) -> bool:
    return operator.worker.opens(secret)


async def test_a_key_is_made_with_all_that_it_may_have(operator: Operator) -> None:
    """Its secret is in this answer and in no other."""
    await operator.done("POST", "teams", {"name": "red"}, 201)
    wanted = {
        "name": "Ann of red", "team": "red", "expires": NOW + 60, "models": ["gpt-5*"],
        "endpoints": ["chat/completions", "files", "audio/*"], "max_tokens": 9,
        "limits": {"requests_per_minute": 60, "tokens_per_minute": 10_000, "requests_per_day": 9,
                   "concurrent_requests": 2},
        "budgets": {"usd_per_day": 0.01, "usd_per_month": 5, "usd_in_all": 0.000000001},
        "cache_scope": "team", "semantic": "off", "priority": "batch", "metadata": {"cost-centre": "7"},
    }  # fmt: skip
    made = await operator.done("POST", "keys", wanted, 201)
    secret, key = made["secret"], made["key"]
    assert {name: key[name] for name in wanted} == wanted
    assert (key["state"], key["source"], key["created"], key["last_used"]) == ("active", "store", NOW, None)
    assert key["secret"] == f"sk-ask-…{secret[-4:]}"
    assert opens(operator, secret)
    shown, listed = await operator.done("GET", f"keys/{key['id']}"), await operator.done("GET", "keys")
    assert listed == {"keys": [shown], "cursor": None}
    assert shown == key | {"last_used": NOW}
    found = operator.worker.find(secret)
    assert {kind.value: amount for kind, amount in found.budgets.items()} == {  # type: ignore[union-attr]
        "usd_per_day": 10_000_000, "usd_per_month": 5_000_000_000, "usd_in_all": 1,
    }  # fmt: skip


async def test_an_amount_of_0_is_kept_as_such(operator: Operator) -> None:
    """It allows nothing, as it does in config.toml."""
    nothing = {"limits": {"tokens_per_minute": 0}, "budgets": {"usd_in_all": 0}, "max_tokens": 0}
    key = (await operator.create(**nothing))["key"]
    assert {name: key[name] for name in nothing} == nothing


async def test_the_audit_tells_amounts_as_they_were_given(operator: Operator) -> None:
    """In USD, as every other answer has them; null where one was taken away."""
    key = (await operator.create(budgets={"usd_per_day": 0.01}, limits={"requests_per_minute": 5}))["key"]
    await operator.done("PATCH", f"keys/{key['id']}", {"budgets": {"usd_per_day": None, "usd_in_all": 20}})
    made, changed = (details for _, _, _, _, details in operator.worker.audit.changes)
    assert (made["budgets"], made["limits"]) == ({"usd_per_day": 0.01}, {"requests_per_minute": 5})
    assert changed == {"budgets": {"usd_per_day": None, "usd_in_all": 20}}


async def test_a_change_touches_what_it_names(operator: Operator) -> None:
    """Members of tables one by one; null takes them away."""
    given = {"limits": {"requests_per_minute": 5}, "metadata": {"a": "1", "b": "2"}, "expires_in": 60}
    key = (await operator.create(**given))["key"]
    assert key["expires"] == NOW + 60
    change: dict[str, Any] = {
        "limits": {"requests_per_day": 7}, "metadata": {"a": None}, "expires": None, "models": ["m"]
    }  # fmt: skip
    changed = await operator.done("PATCH", f"keys/{key['id']}", change)
    limits = {"requests_per_minute": 5, "requests_per_day": 7}
    assert changed == key | {"limits": limits, "metadata": {"b": "2"}, "expires": None, "models": ["m"]}
    change = {"limits": {"requests_per_minute": None}, "models": None}
    emptied = await operator.done("PATCH", f"keys/{key['id']}", change)
    assert (emptied["limits"], emptied["models"]) == ({"requests_per_day": 7}, [])


@pytest.mark.parametrize(("asked", "grace"), [(None, 3_600), ({"grace": 5}, 5), ({"grace": 0}, 0)])
async def test_a_rotation_gives_a_new_secret(operator: Operator, asked: object, grace: float) -> None:
    """The old one opens until its grace is over."""
    old = await operator.create()
    new = await operator.done("POST", f"keys/{old['key']['id']}/rotate", asked)
    assert new["secret"] != old["secret"]
    assert new["key"]["previous_until"] == (NOW + grace if grace else None)
    assert opens(operator, new["secret"])
    assert opens(operator, old["secret"]) == bool(grace)
    operator.worker.clock.advance(grace)
    assert not opens(operator, old["secret"])


async def test_a_revoked_key_is_ended_for_good(operator: Operator) -> None:
    """With both of its secrets; it stays to be looked at, and is revoked once."""
    made = await operator.create()
    path = f"keys/{made['key']['id']}"
    rotated = await operator.done("POST", f"{path}/rotate")
    revoked = await operator.done("DELETE", path)
    assert (revoked["state"], revoked["revoked"], revoked["previous_until"]) == ("revoked", NOW, None)
    assert {operator.worker.find(each["secret"]) for each in (made, rotated)} == {Refusal.REVOKED}
    operator.worker.clock.advance(5.0)
    assert await operator.done("DELETE", path) == revoked
    for method, where, body in (("PATCH", path, {"name": "x"}), ("POST", f"{path}/rotate", {})):
        assert (await operator.refused(method, where, body))["reason"] == "revoked"


async def test_what_one_worker_confirmed_every_worker_shows(start: Start) -> None:
    """At once: who asks twice may reach two of them."""
    one, other = await start(), await start()
    made = await one.create()
    key = await other.done("GET", f"keys/{made['key']['id']}")
    assert key["name"] == "ann"
    await other.done("POST", "teams", {"name": "red"}, 201)
    await one.create(team="red")
    assert [team["keys"] for team in (await other.done("GET", "teams"))["teams"]] == [1]


async def test_pages_hold_every_key_once(operator: Operator) -> None:
    """In the order in which they were made; the filters apply before."""
    made = []
    for number in range(7):
        made.append((await operator.create(name=f"k{number}"))["key"]["id"])
        operator.worker.clock.advance(1.0)
    await operator.done("DELETE", f"keys/{made[2]}")
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await operator.done("GET", f"keys?state=active&limit=2&cursor={cursor}")
        found += [key["id"] for key in page["keys"]]
        cursor = page["cursor"]
    assert found == made[:2] + made[3:]
    assert [key["id"] for key in (await operator.done("GET", "keys?state=revoked"))["keys"]] == [made[2]]
    assert (await operator.done("GET", "keys?team=none"))["keys"] == []


async def test_teams(operator: Operator) -> None:
    """Are made, changed, shown and removed."""
    made = await operator.done("POST", "teams", {"name": "red", "budgets": {"usd_per_day": 1.5}}, 201)
    assert made == {
        "name": "red", "source": "store", "created": NOW, "keys": 0, "limits": {}, "budgets": {"usd_per_day": 1.5},
        "metadata": {},
    }  # fmt: skip
    assert (await operator.refused("POST", "teams", {"name": "red"}))["reason"] == "exists"
    changed = await operator.done("PATCH", "teams/red", {"limits": {"tokens_per_minute": 5}})
    assert changed == made | {"limits": {"tokens_per_minute": 5}}
    key = (await operator.create(team="red"))["key"]
    assert await operator.done("GET", "teams/red") == changed | {"keys": 1}
    assert (await operator.refused("DELETE", "teams/red"))["reason"] == "in_use"
    await operator.done("PATCH", f"keys/{key['id']}", {"team": None})
    await operator.done("DELETE", "teams/red")
    assert (await operator.refused("GET", "teams/red"))["status"] == 404


async def test_what_the_configuration_declares_is_shown_and_left_alone(operator: Operator) -> None:
    """Whoever wants it otherwise is told where."""
    declared = virtual_key("s", id="config-ci", name="ci", source="config", created=0.0)
    operator.worker.table.declare([declared, Team(name="ops", created=0.0, source="config")])
    (shown,) = (await operator.done("GET", "keys"))["keys"]
    assert (shown["id"], shown["source"], shown["secret"], shown["created"]) == ("config-ci", "config", None, None)
    attempts: list[tuple[str, str, Any]] = [
        ("PATCH", "keys/config-ci", {"name": "x"}),
        ("POST", "keys/config-ci/rotate", {}),
        ("DELETE", "keys/config-ci", None),
        ("PATCH", "teams/ops", {"metadata": {}}),
        ("DELETE", "teams/ops", None),
        ("POST", "teams", {"name": "ops"}),
    ]
    for attempt in attempts:
        problem = await operator.refused(*attempt)
        assert (problem["status"], problem["reason"]) == (409, "declared")


async def test_a_digest_for_the_configuration(operator: Operator) -> None:
    """Declared, its secret opens; nothing of it is kept."""
    made = await operator.done("POST", "keys/digest")
    assert (await operator.done("GET", "keys"))["keys"] == []
    assert not opens(operator, made["secret"])
    operator.worker.table.declare([virtual_key(id="config-a", digest=bytes.fromhex(made["digest"]), source="config")])
    assert opens(operator, made["secret"])


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "name"),
    ({"name": ""}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "sk-ask-canary"}, "name"),
    ({"name": 5}, "name"),
    ({"name": "a", "team": "a b"}, "team"),
    ({"name": "a", "team": "nobody"}, "team"),
    ({"name": "a", "expires": NOW}, "expires"),
    ({"name": "a", "expires": 1e12}, "expires"),
    ({"name": "a", "expires": NOW + 1, "expires_in": 1}, "expires_in"),
    ({"name": "a", "models": ["m m"]}, "models"),
    ({"name": "a", "models": ["m"] * 101}, "models"),
    ({"name": "a", "models": "gpt"}, "models"),
    ({"name": "a", "endpoints": ["chat/completion"]}, "endpoints"),
    ({"name": "a", "endpoints": ["/v1/embeddings"]}, "endpoints"),
    ({"name": "a", "endpoints": ["../healthz"]}, "endpoints"),
    ({"name": "a", "limits": {"requests_per_minute": -1}}, "limits.requests_per_minute"),
    ({"name": "a", "limits": {"requests_per_minute": 1.5}}, "limits.requests_per_minute"),
    ({"name": "a", "limits": {"requests_per_minute": 10**12}}, "limits.requests_per_minute"),
    ({"name": "a", "limits": {"rpm": 5}}, "limits"),
    ({"name": "a", "budgets": {"usd_per_day": -1}}, "budgets.usd_per_day"),
    ({"name": "a", "budgets": {"usd_per_day": 1e-10}}, "budgets"),
    ({"name": "a", "budgets": {"usd_per_day": 1e10}}, "budgets.usd_per_day"),
    ({"name": "a", "metadata": {"k": "v" * 513}}, "metadata"),
    ({"name": "a", "metadata": {str(n): "" for n in range(17)}}, "metadata"),
    ({"name": "a", "cache_scope": "sk-ask-canary"}, "cache_scope"),
    ({"name": "a", "priority": "sk-ask-canary"}, "priority"),
    ({"name": "a", "sk-ask-canary": 1}, ""),
    ({"name": "a", "digest": "00"}, ""),
]


@pytest.mark.parametrize("start", ["sqlite"], indirect=True)
async def test_what_a_key_cannot_have(operator: Operator) -> None:
    """Is refused with the field's name, and what looks like a secret is not repeated."""
    for fields, field in BAD:
        problem = await operator.refused("POST", "keys", fields)
        assert problem["status"] == 400, fields
        assert problem.get("field", problem.get("reason", "")).startswith(field) or field in problem["detail"], fields
        assert "canary" not in repr(problem)
    assert (await operator.done("GET", "keys"))["keys"] == []


@pytest.mark.parametrize("start", ["sqlite"], indirect=True)
async def test_what_is_no_question(operator: Operator) -> None:
    """Bodies that are no object, pages that are none, parameters and paths that nobody knows."""
    key = (await operator.create())["key"]["id"]
    statuses = {
        ("POST", "keys", b"[]"): 400,
        ("POST", "keys", b"{"): 400,
        ("POST", "keys", b"x" * 70_000): 413,
        ("POST", "keys", b'{"name":"x","name":"y"}'): 400,
        ("POST", "keys", b'{"name":"x","budgets":{"usd_in_all":1,"usd_in_\\u0061ll":9}}'): 400,
        ("PATCH", f"keys/{key}", b'{"metadata":{"a":"1","a":"2"}}'): 400,
        ("POST", f"keys/{key}/rotate", b'{"grace":1,"grace":2}'): 400,
        ("POST", "teams", b'{"name":"x","name":"x"}'): 400,
        ("PATCH", f"keys/{key}", b""): 400,
        ("PATCH", f"keys/{key}", b'{"id":"x"}'): 400,
        ("POST", f"keys/{key}/rotate", b'{"grace":-1}'): 400,
        ("POST", f"keys/{key}/rotate", b'{"grace":1e9}'): 400,
        ("GET", "keys?limit=0", b""): 400,
        ("GET", "keys?limit=1001", b""): 400,
        ("GET", "keys?stat=active", b""): 400,
        ("GET", "keys?state=alive", b""): 400,
        ("GET", "teams?team=red", b""): 400,
        ("GET", "keys/nobody", b""): 404,
        ("DELETE", "keys/nobody", b""): 404,
        ("POST", "keys/nobody/rotate", b""): 404,
        ("PATCH", "teams/nobody", b'{"metadata":{}}'): 404,
        ("PATCH", "teams/nobody", b'{"name":"x"}'): 400,
        ("DELETE", "keys", b""): 405,
    }
    for (method, path, body), status in statuses.items():
        assert (await operator.refused(method, path, body))["status"] == status, (method, path)


ROUTES = [
    ("GET", "keys"), ("POST", "keys"), ("POST", "keys/digest"), ("GET", "keys/x"), ("PATCH", "keys/x"),
    ("POST", "keys/x/rotate"), ("DELETE", "keys/x"), ("GET", "teams"), ("POST", "teams"), ("GET", "teams/x"),
    ("PATCH", "teams/x"), ("DELETE", "teams/x"),
]  # fmt: skip


@pytest.mark.parametrize("start", ["sqlite"], indirect=True)
async def test_a7_no_user_key_opens_the_admin_api(operator: Operator) -> None:
    """Neither a good one nor none at all; nothing is changed."""
    made = await operator.create()
    tokens = ["", made["secret"]]
    for method, path in ROUTES[:5]:
        where = path.replace("/x", f"/{made['key']['id']}")
        for token in tokens:
            assert (await operator.ask(method, where, {"name": "evil"}, token=token)).status in (401, 429)
    for method, path in ROUTES:
        assert (await operator.ask(method, path, {}, token="")).status in (401, 429)
    assert [key.name for key in operator.worker.table.listed()] == ["ann"]


@pytest.mark.parametrize("start", ["redis"], indirect=True)
async def test_without_the_store_nothing_is_confirmed(operator: Operator, redis_server: RedisServer) -> None:
    """503 says to ask again; what is known can still be looked at."""
    made = await operator.create()
    path = f"keys/{made['key']['id']}"
    redis_server.kill()
    for method, where, body in (
        ("POST", "keys", {"name": "b"}),
        ("PATCH", path, {"name": "b"}),
        ("POST", f"{path}/rotate", {}),
        ("DELETE", path, None),
        ("POST", "teams", {"name": "b"}),
    ):
        assert (await operator.refused(method, where, body))["status"] == 503
    assert (await operator.done("GET", "keys"))["keys"] == [made["key"]]
    assert opens(operator, made["secret"])


@pytest.mark.parametrize("what", ["keys", "teams"])
async def test_metadata_has_sixteen_members_in_all(operator: Operator, what: str) -> None:
    """However many changes they come in; for one that goes another may come."""
    made = await operator.done("POST", what, {"name": "a", "metadata": {str(n): "" for n in range(10)}}, 201)
    path = f"keys/{made['key']['id']}" if what == "keys" else "teams/a"
    await operator.done("PATCH", path, {"metadata": {str(n): "" for n in range(16)}})
    problem = await operator.refused("PATCH", path, {"metadata": {"x": ""}})
    assert (problem["status"], problem["reason"]) == (400, "metadata")
    changed = await operator.done("PATCH", path, {"metadata": {"0": None, "x": ""}})
    assert len(changed["metadata"]) == 16
