"""The books of a team: one row for each request, which says what became of it, and sums that are the upstream's own."""

import asyncio
import random
from collections import Counter
from decimal import Decimal
from typing import Any, final

import msgspec
import pytest

from tests.fakes.answers import RESET, Answer, event_stream, json_answer
from tests.fakes.asking import completion, completion_answer, herd
from tests.fakes.frames import CHAT, COUNTED, DONE, STREAM
from tests.fakes.gateway import StartGateway
from tests.fakes.polling import until
from tests.fakes.raw import Response, compose
from tests.fakes.realtime import realtime_upstream, session
from tests.fakes.streams.writing import OPENAI, chunk, event
from tests.fakes.team import COST, PRICE, Member, StartTeam, Team
from tests.fakes.upstream import Request, ScriptedUpstream

UPGRADE = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
UPGRADE += [("sec-websocket-key", "x" * 22 + "==")]
VECTOR = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
VECTORS = {
    "object": "list",
    "model": "m",
    "data": [VECTOR],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
EMBED = {"model": "m", "input": ["a"]}
ESTIMATED = "estimated"
MILLION = Decimal(1_000_000)
BUDGET = 1_000
RELAYED = [
    (completion_answer(), "POST", "chat/completions", CHAT, ("chat/completions", "MISS", 200, "", 1, "0.000081")),
    (RESET, "POST", "chat/completions", CHAT, ("chat/completions", "HIT", 200, "", 0, "0.00")),
    (json_answer(VECTORS), "POST", "embeddings", EMBED, ("embeddings", "MISS", 200, "", 1, "0.000003")),
    (
        json_answer(VECTORS),
        *("POST", "embeddings", EMBED | {"input": ["a", "b"]}),
        ("embeddings", "PARTIAL-HIT", 200, "", 1, "0.000003"),
    ),
    (
        json_answer({"error": {}}, 500),
        *("POST", "chat/completions", CHAT | {"seed": 1}),
        ("chat/completions", "MISS", 500, "", 1, "0.00"),
    ),
    (
        RESET,
        *("POST", "chat/completions", CHAT | {"seed": 2}),
        ("chat/completions", "MISS", 502, "upstream_error", 1, ESTIMATED),
    ),
    (json_answer({"data": []}), "GET", "files", b"", ("files", "BYPASS", 200, "", 1, "0.00")),
]
REFUSED = [
    ("POST", "chat/completions", b"{", ("chat/completions", "", 400, "invalid_json")),
    ("POST", "chat/completions", CHAT | {"model": "x"}, ("chat/completions", "", 404, "model_not_found")),
    ("GET", "embeddings", b"", ("unknown", "", 405, "method_not_allowed")),
    ("GET", "../x", b"", ("unknown", "", 400, "invalid_request")),
    ("GET", "/../../x", b"", ("unknown", "", 400, "invalid_request")),
]


def said(row: dict[str, Any], *more: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("endpoint", "cache", "status", "error", *more))


def call_id(response: Response) -> str:
    return (response.header(b"x-askonce-call-id") or b"").decode()


@pytest.mark.parametrize("cache", [False, True], ids=["relayed", "cached"])
async def test_t5_a_stream_that_ends_in_an_error_has_failed(
    start_team: StartTeam, upstream: ScriptedUpstream, *, cache: bool
) -> None:
    """Whatever status it began with: its row says so, and those who count failures count it."""
    team = await start_team(cache__enabled=cache)
    alice = await team.key()
    error = b'data: {"error":{"message":"overloaded","type":"server_error","param":null,"code":"oops"}}\n\n'
    upstream.script(event_stream([chunk({"content": "word"}), error, DONE]))
    assert error in (await team.ask(alice, STREAM)).body
    (row,) = await team.rows()
    assert (row["status"], row["error"]) == (200, "upstream_error")
    assert (await team.usage())["total"]["failed"] == 1


async def test_one_row_for_each_that_went_upstream_or_need_not(
    start_team: StartTeam, upstream: ScriptedUpstream
) -> None:
    """Miss, hit, partial hit, an upstream's error, its silence; found by the call id that the client was told."""
    team = await start_team(cache__enabled=True, keys__listing="all")
    alice = await team.key(team="t")
    ids = []
    for answer, method, target, body, _ in RELAYED:
        upstream.script(answer)
        ids.append(call_id(await team.ask(alice, body, method=method, target=f"/v1/{target}")))
    rows = await team.rows()
    assert [row["call_id"] for row in rows] == ids
    costs = [ESTIMATED if row["estimated"] else row["cost_usd"] for row in rows]
    assert [(*said(row, "attempts"), cost) for row, cost in zip(rows, costs, strict=True)] == [
        wanted for *_, wanted in RELAYED
    ]
    assert {(row["key"], row["team"]) for row in rows} == {(alice.id, "t")}


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
async def test_what_nobody_has_counted_is_not_free(start: StartGateway, upstream: ScriptedUpstream, body: Any) -> None:
    """Where there are no keys nothing is estimated: what an answer without usage cost is not known, and not 0."""
    priced: dict[str, Any] = {f"prices__models__m*__{kind}": price for kind, price in PRICE.items()}
    gateway = await start(**priced)
    upstream.script(event_stream([chunk({"content": "word"}), DONE]) if body is STREAM else json_answer({"id": "x"}))
    async with gateway.client() as client:
        response = await client.ask(body=body)
    assert (response.status, response.header(b"x-askonce-cost-usd")) == (200, None)
    await gateway.comes_to(1, "askonce_unpriced_requests_total")
    assert await gateway.sample("askonce_cost_usd_total") == 0


async def test_one_row_for_each_that_was_refused(start_team: StartTeam) -> None:
    """What has no route is nobody's, and whoever looks whether the gateway lives has none; none costs anything."""
    team = await start_team(cache__enabled=True)
    alice = await team.key(models=["m"])
    for method, target, body, _ in REFUSED:
        await team.ask(alice, body, method=method, target=f"/v1/{target}")
    await team.ask(alice, b"", method="GET", target="/healthz")
    await team.ask(alice, b"", method="GET", target="/nowhere")
    rows = await team.rows()
    wanted = [*(wanted for *_, wanted in REFUSED), ("unknown", "", 404, "unknown_route")]
    assert [said(row) for row in rows] == wanted
    assert {(row["attempts"], row["cost_usd"], row["saved_usd"]) for row in rows} == {(0, "0.00", "0.00")}


async def test_one_row_for_each_of_those_who_share_a_call(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """One of them pays, the others know what they saved."""
    gate = asyncio.Event()
    upstream.script(completion_answer(before=gate))
    team = await start_team(cache__enabled=True)
    alice = await team.key()
    together = asyncio.Task(herd(team.gateway, 5, CHAT, alice.headers))
    await until(lambda: len(team.gateway.app.clients.crew.serving) == 5)
    gate.set()
    ids = [call_id(response) for response in await together]
    rows = await team.rows(5)
    assert Counter(row["call_id"] for row in rows) == Counter(ids)
    assert Counter((row["cache"], row["cost_usd"], row["saved_usd"]) for row in rows) == {
        ("MISS", "0.000081", "0.00"): 1,
        ("COALESCED", "0.00", "0.000081"): 4,
    }


async def test_a_session_is_one_request(start_team: StartTeam) -> None:
    """With a row for each of its answers, and its own, which says how it ended: or the refusal of what it asked for."""
    used = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}

    async def talk(server: Any) -> None:
        async for _ in server:
            await server.send(msgspec.json.encode({"type": "response.done", "response": {"usage": used}}).decode())

    async with realtime_upstream(talk) as url:
        team = await start_team(url)
        alice = await team.key(models=["m*"])
        options = {"additional_headers": dict(alice.headers)}
        async with session(team.gateway, "/realtime?model=m-live", **options) as client:
            for _ in range(3):
                await client.send("{}")
                await client.recv()
        response = await team.ask(alice, b"", UPGRADE, method="GET", target="/v1/realtime?model=x")
        *answers, last, second = await team.rows(5)
        usage = await team.operator.get("usage?by=endpoint")
        async with asyncio.timeout(5):
            while usage["total"]["requests"] < 2:
                usage = await team.operator.get("usage?by=endpoint")
    assert response.error_code == "model_not_found"
    for row in answers:
        assert said(row, "used", "cost_usd") == ("realtime", "", 101, "", {"input": 5, "output": 2}, "0.000025")
    assert said(last, "used", "cost_usd") == ("realtime", "", 101, "", {}, "0.00")
    assert [row["call_id"] for row in answers] == [f"{last['call_id']}.{number}" for number in (1, 2, 3)]
    assert (usage["total"]["requests"], usage["total"]["cost_usd"]) == (2, "0.000075")
    assert said(second, "used", "cost_usd") == ("realtime", "", 404, "model_not_found", {}, "0.00")


@final
class Load:
    """What an upstream is to do with each request, and what it has told that it used."""

    def __init__(self, seed: int) -> None:
        self.told: Counter[str] = Counter()
        self._draw = random.Random(seed)
        self._nobody = asyncio.Event()

    def questions(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        kinds = ["json", "stream", "counted", "json", "stream", "error", "reset", "left", "left early", "refused"]
        return [(kind, self._body(kind, n)) for n in range(count) for kind in [self._draw.choice(kinds)]]

    def _body(self, kind: str, number: int) -> dict[str, Any]:
        again = kind in {"json", "stream", "counted"}
        bodies: dict[str, dict[str, Any]] = {"stream": STREAM, "counted": COUNTED, "left": STREAM}
        return bodies.get(kind, CHAT) | {"seed": self._draw.randrange(20) if again else 1_000 + number}

    def answer(self, request: Request) -> Answer:
        kind = (request.header(b"x-kind") or b"").decode()
        if kind == "error":
            return json_answer({"error": {"message": "no"}}, 500)
        if kind == "reset":
            return RESET
        if kind == "left":
            return event_stream([*[chunk({"content": "word"})] * 5, self._nobody])
        if kind == "left early":
            return completion_answer(before=self._nobody)
        given, made = self._draw.randint(1, 50), self._draw.randint(1, 50)
        self.told.update(input=given, output=made)
        used = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
        if kind == "json":
            return json_answer(completion(usage=used))
        last = event({**OPENAI, "choices": [], "usage": used})
        return event_stream([chunk({"content": "word"}), chunk({}, "stop"), last, DONE])

    async def ask(self, team: Team[Any], member: Member, kind: str, body: dict[str, Any]) -> None:
        async with team.gateway.client() as client:
            await client.send(
                compose(body=b"{" if kind == "refused" else body, headers=[*member.headers, ("x-kind", kind)])
            )
            if kind == "left":
                response = await client.start()
                while response.body.count(b"word") < 5:
                    await client.chunk(response)
            elif kind == "left early":
                await until(lambda: team.gateway.app.clients.crew.serving)
            else:
                await client.response()


@pytest.mark.parametrize("cache", [False, True], ids=["relayed", "cached"])
async def test_the_ledger_is_what_the_upstream_told(
    start_team: StartTeam, upstream: ScriptedUpstream, cache: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Over answers, streams, hits, shared calls, errors, refusals and leavers: tokens, money, budgets, sums by day."""
    load, count = Load(7), 200
    upstream.script(load.answer)
    team = await start_team(cache__enabled=cache)
    people = [await team.key(f"{n}", team="ab"[n % 2], budgets={"usd_in_all": BUDGET}) for n in range(3)]
    questions = load.questions(count)

    async def work(at: int) -> None:
        for number in range(at, count, 10):
            await load.ask(team, people[number % 3], *questions[number])

    await asyncio.gather(*map(work, range(10)))
    rows = await team.rows(count)
    assert len({row["call_id"] for row in rows}) == len(rows) == count
    used: Counter[str] = Counter()
    for row in rows:
        used.update({} if row["estimated"] else row["used"])
        assert usd(row) == sum(int(PRICE[kind]) * amount for kind, amount in row["used"].items()) / MILLION
    assert used == load.told
    await until(lambda: not getattr(team.limiter, "waiting", 0))
    upstream.script(completion_answer())
    lines = {line["name"]: line for line in (await team.usage("key"))["lines"]}
    for number, member in enumerate(people):
        line, own = lines[member.id], [row for row in rows if row["key"] == member.id]
        assert (line["requests"], usd(line)) == (len(own), sum(map(usd, own)))
        last = await team.ask(member, CHAT | {"seed": 5_000 + number})
        assert usd_left(last) == BUDGET - usd(line) - COST / MILLION / 1_000


def usd(line: dict[str, Any]) -> Decimal:
    return Decimal(line["cost_usd"])


def usd_left(response: Response) -> Decimal:
    return Decimal((response.header(b"x-askonce-budget-remaining-usd") or b"nan").decode())
