"""What labels do to an answer, and for whom, through a gateway that runs."""

import asyncio

from cache.semantic.learning.calibrate import EDGES
from cache.semantic.learning.evidence import Party
from cache.semantic.learning.label_log import Label
from tests.fakes.admin import Operator
from tests.fakes.alike import BREAD, LOAVES, ROLLS, ask, counted, learnt, started, told
from tests.fakes.asking import completion_answer, status_of
from tests.fakes.gateway import Gateway, StartGateway
from tests.fakes.raw import Response
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import Member, StartTeam, Team
from tests.fakes.upstream import ScriptedUpstream

FAN = "My laptop fan {} in video calls"


async def wrong(gateway: Gateway, count: int) -> None:
    await counted(gateway, "askonce_semantic_labels_total", count, verdict="wrong")


async def stored(gateway: Gateway, count: int) -> None:
    """Until so many questions have been remembered."""
    await counted(gateway, "askonce_semantic_records_total", count, result="stored")


async def found(gateway: Gateway, count: int) -> None:
    """Until just so many questions can be."""
    async with asyncio.timeout(10.0):
        while await gateway.sample("askonce_semantic_questions") != count:
            await asyncio.sleep(0.02)


async def forgotten(gateway: Gateway, key: str) -> None:
    """The answer and its question, of this process."""
    await Operator(gateway).purge(key=key)


async def test_one_question_counts_once_however_often_it_is_asked(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """Two different ones are plain enough; the same in other letters is not compared a second time."""
    upstream.script(*[completion_answer(f"It takes {days} days.") for days in (5, 7, 9, 11)])
    gateway = await started(start)
    async with gateway.client() as client:
        key = told(await ask(client, BREAD), "cache-key")
        await stored(gateway, 1)
        again = told(await ask(client, LOAVES), "cache-key")
        await stored(gateway, 2)
        await forgotten(gateway, again)
        assert status_of(await ask(client, LOAVES.upper())) == "MISS"
        await stored(gateway, 3)
        assert (await Operator(gateway).get(f"cache/questions/{key}"))["wrong"] == 1
        assert await gateway.sample("askonce_semantic_labels_total", verdict="wrong") == 1
        await ask(client, ROLLS)
        await wrong(gateway, 2)
    assert (await Operator(gateway).get(f"cache/questions/{key}"))["own_question_only"]


async def test_what_was_refused_is_refused_the_other_way_round(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """And nobody compares the two again, or could be served the one for the other."""
    upstream.script(*[completion_answer(f"It takes {days} days.") for days in (5, 7, 9, 11)])
    gateway = await started(start, semantic__threshold=0.5, semantic__audit=1.0)
    async with gateway.client() as client:
        key = told(await ask(client, BREAD), "cache-key")
        await stored(gateway, 1)
        await ask(client, ROLLS)
        await stored(gateway, 2)
        await forgotten(gateway, key)
        assert status_of(await ask(client, BREAD)) == "MISS"
        await stored(gateway, 3)
    assert await gateway.sample("askonce_semantic_labels_total", verdict="wrong") == 1
    assert await gateway.sample("askonce_semantic_lookups_total", result="nothing") == 1


async def test_what_the_best_is_wrong_for_may_be_of_its_rivals_family(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """Which is compared then, for whoever asks for labels to see."""
    upstream.script(*[completion_answer(f"It takes {days} days.") for days in (5, 7, 7)])
    gateway = await started(start)
    async with gateway.client() as client:
        for count, question in enumerate((ROLLS, LOAVES, BREAD), 1):
            key = told(await ask(client, question), "cache-key")
            await stored(gateway, count)
    assert await gateway.sample("askonce_semantic_labels_total", verdict="right", by="answer", of="rival") == 1
    semantics = gateway.app._caches.semantics
    assert semantics is not None
    kept = (await semantics.records.get([key]))[key]
    assert (kept.text, bool(kept.family)) == (BREAD, True)
    await semantics._learner.turn()
    labels = (await Operator(gateway).get("cache/labels"))["labels"]
    assert [(each["a"], each["b"], each["same_answer"]) for each in labels if each["rival"]] == [(LOAVES, BREAD, True)]


def opened(gateway: Gateway, party: Party) -> None:
    """For all that is at all alike, whatever else it has taught."""
    semantics = gateway.app._caches.semantics
    assert semantics is not None
    for _ in range(2_000):
        semantics._learner._count(Label(1.0, "m", 0.97, True, "gray", "content", 1.0, 1, "a" * 64, party=party))
    assert semantics._learner.thresholds("m", party).plain == EDGES[0]


async def test_who_answers_otherwise_is_of_another_family(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Though it was the first of a family that is still there: of the two answers neither is served for the other's."""
    answers = ["It takes 5 days.", *["It takes 7 days."] * 2, "Clean it, and ask again.", "Nobody can tell."]
    upstream.script(*[completion_answer(answer) for answer in answers])
    team = await start_team(cache__enabled=True, semantic__mode="on", semantic__deadline=5.0, semantic__audit=0.0)
    gateway, member = team.gateway, await team.key("alice")
    roars, screams, howls, whines = (FAN.format(each) for each in ("roars", "screams", "howls", "whines"))
    keys = []
    for count, question in enumerate((roars, screams, howls), 1):
        keys.append(told(await of(team, member, question), "cache-key"))
        await found(gateway, count)
    assert await gateway.sample("askonce_semantic_labels_total", verdict="right", by="answer", of="rival") == 1
    for key in keys[:2]:
        await forgotten(gateway, key)
    await found(gateway, 1)
    assert status_of(await of(team, member, screams)) == "MISS"
    await found(gateway, 2)
    opened(gateway, Party(f"key:{member.id}", vouched=True))
    assert status_of(await of(team, member, whines)) == "MISS"
    await found(gateway, 3)


async def of(team: Team[Gateway], member: Member, question: str) -> Response:
    return await team.ask(member, {"model": "m", "messages": [{"role": "user", "content": question}]})


async def taught(gateway: Gateway, labels: list[Label]) -> None:
    """Until all of them count."""
    semantics = gateway.app._caches.semantics
    assert semantics is not None
    for label in labels:
        semantics._learner.add(label)
    while semantics._learner._waiting:
        await semantics._learner.turn()


def right(party: Party) -> list[Label]:
    return [Label(1.0, "m", 0.8, True, "gray", "content", 1.0, 1, "a" * 64, party=party)] * 400


async def test_what_one_key_has_fed_is_served_to_it_alone(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Though they share their answers; and what a key asks is counted as its own."""
    upstream.script(completion_answer("Fold it, and let it rest."), completion_answer("Elsewhere, of course."))
    team = await start_team(
        cache__enabled=True, cache__scope="global", semantic__mode="on", semantic__deadline=5.0, semantic__audit=0.0
    )
    mallory, alice = await team.key("mallory"), await team.key("alice")
    await taught(team.gateway, right(Party(f"key:{mallory.id}", vouched=True)))
    await of(team, mallory, BREAD)
    await learnt(team.gateway)
    hit = await of(team, mallory, LOAVES)
    assert (status_of(hit), told(hit, "semantic-rule")) == ("SEMANTIC-HIT", "calibrated/threshold")
    assert status_of(await of(team, alice, LOAVES)) == "MISS"
    assert await team.gateway.sample("askonce_semantic_threshold") == EDGES[0]


FROZEN = (("GET", "cache/questions/{key}"), ("POST", "cache/questions/{key}/distrust"), ("GET", "cache/labels"))


async def test_a_redis_that_does_not_answer(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """503, and not that nothing is known; and why."""
    upstream.script(completion_answer())
    gateway = await started(start, redis__url=redis_server.url, redis__deadline=0.2)
    async with gateway.client() as client:
        key = told(await ask(client, BREAD), "cache-key")
    await learnt(gateway)
    assert (await Operator(gateway).ask("GET", f"cache/questions/{'0' * 64}")).status == 404
    with redis_server.frozen():
        for method, path in FROZEN:
            said = await Operator(gateway).ask(method, path.format(key=key))
            assert (said.status, said.json()["reason"] in ("timeout", "open", "down")) == (503, True)


async def test_how_far_behind_a_worker_is(
    start: StartGateway, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """It grows while Redis is away, and is next to nothing while it is there."""
    upstream.script(completion_answer())
    gateway = await started(start, redis__url=redis_server.url, redis__deadline=0.2)
    async with gateway.client() as client:
        await ask(client, BREAD)
    await learnt(gateway)
    with redis_server.frozen():
        await counted(gateway, "askonce_semantic_lag_seconds", 1)
    for _ in range(250):
        if await gateway.sample("askonce_semantic_lag_seconds") < 1:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it is behind")
