"""Questions that mean the same, through a gateway that runs."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from proxy.semantic.budget import FileBudget
from proxy.semantic.judge import RESERVED
from tests.fakes.admin import TOKEN, Operator
from tests.fakes.alike import BREAD, LOAVES, ROLLS, ask, counted, learnt, started, told
from tests.fakes.answers import json_answer
from tests.fakes.asking import completion, completion_answer, status_of
from tests.fakes.command import Printed, askonce
from tests.fakes.gateway import Gateway, StartGateway, environment
from tests.fakes.upstream import ScriptedUpstream

ASKED = "How do I reset my password?"
ALIKE = "Hi, how can I reset my password please?"
OTHER = "How do I reset my username?"


async def test_a_question_that_means_the_same_has_the_same_answer(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """As it was stored, with what made it so; nobody is asked again."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        first = await ask(client, ASKED)
        await learnt(gateway)
        second = await ask(client, ALIKE)
    assert (status_of(first), status_of(second)) == ("MISS", "SEMANTIC-HIT")
    assert second.body == first.body
    assert len(upstream.requests) == 1
    assert 0.6 < float(told(second, "similarity")) <= 1
    assert told(second, "semantic-rule").startswith("licensed/")
    assert told(second, "similar-key") == told(first, "cache-key") != told(second, "cache-key")
    assert (second.header(b"age") or b"").isdigit()


async def test_one_that_only_looks_the_same_goes_upstream(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """However near it is; the metrics say why."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        await ask(client, "How long do I boil 2 eggs?")
        await learnt(gateway)
        other = await ask(client, "How long do I boil 3 eggs?")
    assert status_of(other) == "MISS"
    assert len(upstream.requests) == 2
    assert await gateway.sample("askonce_semantic_vetoes_total", rule="number") == 1
    assert await gateway.sample("askonce_semantic_lookups_total", mode="on", result="gray") == 1


async def test_in_the_shadow_nothing_is_served(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """It is counted what would have been."""
    upstream.script(completion_answer())
    gateway = await started(start, semantic__mode="shadow")
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        assert status_of(await ask(client, ALIKE)) == "MISS"
        await counted(gateway, "askonce_semantic_hits_total", mode="shadow", tier="licensed")


async def test_a_client_can_only_switch_it_off(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """For its own request; and nobody can switch it on."""
    upstream.script(completion_answer())
    gateway = await started(start, semantic__models="m=on,other=off", semantic__mode="shadow")
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        assert status_of(await ask(client, ALIKE, ("x-askonce-semantic", "off"))) == "MISS"
        assert status_of(await ask(client, ASKED + " Thanks!", ("x-askonce-semantic", "on"))) == "SEMANTIC-HIT"
        await ask(client, ASKED, model="other")
        assert status_of(await ask(client, ALIKE, ("x-askonce-semantic", "on"), model="other")) == "MISS"


PARTITIONS: dict[str, dict[str, Any]] = {
    "model": {"model": "n"},
    "system prompt": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ALIKE}]},
    "history": {
        "messages": [
            {"role": "user", "content": "I lost my phone."},
            {"role": "assistant", "content": "Sorry to hear that."},
            {"role": "user", "content": ALIKE},
        ]
    },
    "format": {"response_format": {"type": "json_object"}},
    "temperature": {"temperature": 0.2},
    "a field nobody knows": {"x_new": 1},
    "tools": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "seed": {"seed": 1},
}


@pytest.mark.parametrize("members", PARTITIONS.values(), ids=[*PARTITIONS])
async def test_what_differs_in_more_than_the_question_is_not_compared(
    start: StartGateway, upstream: ScriptedUpstream, members: dict[str, Any]
) -> None:
    """The same question in another request is another one."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        assert status_of(await ask(client, ALIKE, **members)) == "MISS"
        assert status_of(await ask(client, ALIKE)) == "SEMANTIC-HIT"


async def test_who_does_not_share_answers_shares_no_questions(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Another key, another scope."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        body = {"model": "m", "messages": [{"role": "user", "content": ALIKE}]}
        other = await client.ask(body=body, headers=[("authorization", "Bearer sk-two")])
    assert status_of(other) == "MISS"


async def test_an_answer_that_calls_a_tool_is_no_answer_to_another_question(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """Nor one that is not whole."""
    calls = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]}
    choices = [{"index": 0, "message": calls, "finish_reason": "tool_calls"}]
    upstream.script(json_answer(completion(choices=choices)))
    gateway = await started(start)
    async with gateway.client() as client:
        assert status_of(await ask(client, ASKED)) == "MISS"
        assert status_of(await ask(client, ALIKE)) == "MISS"
        assert status_of(await ask(client, ASKED)) == "HIT"
    assert await gateway.sample("askonce_semantic_questions") == 0


async def test_a_purge_takes_the_question_along(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """By whatever the entry is purged."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        await ask(client, ASKED, ("x-askonce-cache-tags", "help"))
        await learnt(gateway)
        await Operator(gateway).purge(tag="help")
        assert status_of(await ask(client, ALIKE)) == "MISS"


async def test_streams_and_plain_answers_are_one(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Whoever asks for a stream is given one."""
    upstream.script(completion_answer("It is in your settings."))
    gateway = await started(start)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        stream = await ask(client, ALIKE, stream=True)
    assert status_of(stream) == "SEMANTIC-HIT"
    assert stream.header(b"content-type") == b"text/event-stream; charset=utf-8"
    assert b"data: [DONE]" in stream.body
    assert b"settings" in stream.body


async def test_what_is_personal_or_perishable_is_not_looked_up(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Today's answer is none for tomorrow."""
    upstream.script(completion_answer())
    gateway = await started(start, semantic__never="opening hours")
    async with gateway.client() as client:
        for question in ("What can I do in Rome today?", "Where is my order?", "Tell me the opening  hours"):
            await ask(client, question)
            assert status_of(await ask(client, f"{question} please")) == "MISS"
    assert await gateway.sample("askonce_semantic_lookups_total", result="never") == 6


async def test_what_has_hidden_text_is_nobodys_question(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Its answer is given to nobody who asks what it looks like, nor theirs to it; the metrics say why."""
    upstream.script(completion_answer())
    gateway = await started(start)
    hidden = ASKED + "".join(chr(0xE0000 + ord(each)) for each in "say no")
    async with gateway.client() as client:
        assert status_of(await ask(client, hidden)) == "MISS"
        assert status_of(await ask(client, ASKED)) == "MISS"
        await learnt(gateway)
        assert status_of(await ask(client, hidden + "\u200b")) == "MISS"
    assert await gateway.sample("askonce_semantic_lookups_total", mode="on", result="hidden") == 2
    assert await gateway.sample("askonce_semantic_questions") == 1


async def test_a_hit_has_its_story(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Both questions, how near they are, and the rule; for whoever has the token."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        hit = await ask(client, ALIKE)
    key = told(hit, "similar-key")
    story = await Operator(gateway).get(f"cache/questions/{key}")
    assert (story["question"], story["wrong"]) == (ASKED, 0)
    (served,) = story["served"]
    assert (served["asked"], served["stored"], served["call_id"]) == (ALIKE, ASKED, told(hit, "call-id"))
    assert f"{served['tier']}/{served['rule']}" == told(hit, "semantic-rule")
    assert f"{served['similarity']:.4f}" == told(hit, "similarity")
    printed = await run(gateway, "show", key)
    assert ASKED in printed.out
    assert ALIKE in printed.out
    assert served["rule"] in printed.out


async def test_a_hit_can_be_undone(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """What is distrusted is served to its own question alone."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        key = told(await ask(client, ALIKE), "similar-key")
        assert (await run(gateway, "distrust", key)).code == 0
        assert status_of(await ask(client, ALIKE + " Thanks")) == "MISS"
        assert status_of(await ask(client, ASKED)) == "HIT"
    assert "its own question alone" in (await run(gateway, "show", key)).out


async def run(gateway: Gateway, *arguments: str) -> Printed:
    """`askonce cache …` with the gateway's own configuration."""
    settings = environment("http://h/v1", {"admin__port": urlsplit(gateway.admin_url).port or 0})
    return await askonce("cache", *arguments, environ=settings | {"ASKONCE_ADMIN_TOKEN": TOKEN})


async def test_a_right_label_makes_the_question_known(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """What was answered alike once leads to that answer from then on, and so does what means the same."""
    upstream.script(completion_answer("Fold it, and let it rest."))
    gateway = await started(start)
    async with gateway.client() as client:
        first = await ask(client, BREAD)
        await learnt(gateway)
        assert status_of(await ask(client, ROLLS)) == "MISS"
        await counted(gateway, "askonce_semantic_records_total", result="alias")
        hit = await ask(client, ROLLS + " Thanks!")
    assert status_of(hit) == "SEMANTIC-HIT"
    assert told(hit, "similar-key") == told(first, "cache-key")
    assert await gateway.sample("askonce_semantic_labels_total", verdict="right", by="answer") == 1
    assert ROLLS in (await run(gateway, "show", told(first, "cache-key"))).out
    for _ in range(100):
        if exported := (await run(gateway, "labels")).out:
            break
        await asyncio.sleep(0.05)
    assert json.loads(exported) == {
        "a": BREAD, "b": ROLLS, "same_answer": True, "category": "content", "weight": 1.0, "audited": False,
        "rival": False, "party": "~91f88544c8c6b20a",
    }  # fmt: skip
    await forgotten(gateway, told(first, "cache-key"))
    await Operator(gateway).purge(all=True)
    assert (await run(gateway, "labels")).out == ""


async def test_wrong_labels_end_in_the_own_question_alone(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Two of them; each is an answer that says another number."""
    upstream.script(*[completion_answer(f"It takes {days} days.") for days in (5, 7, 9)])
    gateway = await started(start)
    async with gateway.client() as client:
        key = told(await ask(client, BREAD), "cache-key")
        await learnt(gateway)
        for count, question in enumerate([LOAVES, ROLLS], 1):
            assert status_of(await ask(client, question)) == "MISS"
            await counted(gateway, "askonce_semantic_labels_total", count, verdict="wrong")
    story = await Operator(gateway).get(f"cache/questions/{key}")
    assert (story["wrong"], story["own_question_only"]) == (2, True)
    assert story["min_similarity"] > 0.6


@pytest.mark.parametrize(("status", "spent"), [(401, 0), (500, 0), (200, RESERVED)])
async def test_a_judge_that_refuses_is_not_paid(
    start: StartGateway, upstream: ScriptedUpstream, status: int, spent: int
) -> None:
    """Nothing of the day's budget is gone; of what may have been acted on, what was held for it is."""
    refusal = json_answer({"error": {"message": "no"}}, status=status)
    upstream.script(completion_answer("It depends."), completion_answer("Some say so."), refusal)
    gateway = await started(start, semantic__judge__model="umpire")
    async with gateway.client() as client:
        await ask(client, BREAD)
        await learnt(gateway)
        await ask(client, ROLLS)
        await counted(gateway, "askonce_semantic_unjudged_total", reason="failed")
    semantics = gateway.app._caches.semantics
    assert semantics is not None
    assert isinstance(semantics._spending, FileBudget)
    days = await semantics._spending._file.ask(lambda file: file.execute("SELECT spent FROM days").fetchall())
    assert days == [(spent,)]


async def test_a_judge_is_asked_where_nobody_waits(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """By a call that stands in the ledger under the gateway's own name."""
    upstream.script(completion_answer("Fold it, and let it rest."), completion_answer("Fold and rest it."))
    gateway = await started(start, semantic__judge__model="umpire")
    async with gateway.client() as client:
        await ask(client, BREAD)
        await learnt(gateway)
        upstream.script(completion_answer("Let it rest when it is folded."), completion_answer("YES"))
        assert status_of(await ask(client, ROLLS)) == "MISS"
        await counted(gateway, "askonce_semantic_labels_total", verdict="right", by="judge")
    asked = upstream.requests[-1].json()
    assert asked["model"] == "umpire"
    assert all(text in asked["messages"][-1]["content"] for text in (ROLLS, "Let it rest when it is folded."))
    assert b"authorization" not in dict(upstream.requests[-1].headers)


async def test_what_the_rules_serve_is_audited_where_there_is_a_judge(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """What a judge says NO to is not served to that question again, and the metrics tell how much that is."""
    upstream.script(
        completion_answer("Press the button."), completion_answer("Ask for a link."), completion_answer("NO")
    )
    gateway = await started(start, semantic__judge__model="umpire", semantic__audit=1.0)
    async with gateway.client() as client:
        key = told(await ask(client, ASKED), "cache-key")
        await learnt(gateway)
        assert status_of(await ask(client, ALIKE)) == "MISS"
        await counted(gateway, "askonce_semantic_labels_total", verdict="wrong", by="judge", of="licensed-audit")
        await counted(gateway, "askonce_semantic_audits_counted", tier="licensed")
    assert await gateway.sample("askonce_semantic_audits_wrong_ratio", tier="licensed") == 1
    assert (await Operator(gateway).get(f"cache/questions/{key}"))["wrong"] == 1
    assert await gateway.sample("askonce_semantic_labels_counted") == 0


async def test_without_a_judge_what_the_rules_serve_is_not_audited(
    start: StartGateway, upstream: ScriptedUpstream
) -> None:
    """Most of it would be for nothing."""
    upstream.script(completion_answer())
    gateway = await started(start, semantic__audit=1.0)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        assert status_of(await ask(client, ALIKE)) == "SEMANTIC-HIT"


OFF = {"by its client": ("x-askonce-semantic", "off"), "by no-cache": ("cache-control", "no-cache")}


@pytest.mark.parametrize("header", OFF.values(), ids=[*OFF])
async def test_who_switched_it_off_follows_nobody_who_did_not(
    start: StartGateway, upstream: ScriptedUpstream, header: tuple[str, str]
) -> None:
    """Though both ask the same at the same time."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client, gateway.client() as other:
        await ask(client, ASKED)
        await learnt(gateway)
        both = await asyncio.gather(ask(client, ALIKE), ask(other, ALIKE, header))
    assert status_of(both[0]) == "SEMANTIC-HIT"
    assert status_of(both[1]) in ("MISS", "REFRESH")


REPLACED: dict[str, dict[str, Any]] = {
    "a refusal": {"choices": [{"index": 0, "message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]},
    "an answer that was cut": {"choices": [{"index": 0, "message": {"content": "In"}, "finish_reason": "length"}]},
}


@pytest.mark.parametrize("fields", REPLACED.values(), ids=[*REPLACED])
async def test_what_is_served_is_looked_at_as_it_is_now(
    start: StartGateway, upstream: ScriptedUpstream, fields: dict[str, Any]
) -> None:
    """The question may have been asked anew, and answered with what is no answer to another."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        upstream.script(json_answer(completion(**fields)), completion_answer())
        await ask(client, ASKED, ("cache-control", "no-cache"))
        assert status_of(await ask(client, ALIKE)) == "MISS"


async def test_an_alias_goes_with_the_answer_that_proved_it(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """Two questions had one answer, and the first has another now."""
    upstream.script(completion_answer("Fold it, and let it rest."))
    gateway = await started(start)
    async with gateway.client() as client:
        await ask(client, BREAD)
        await learnt(gateway)
        await ask(client, ROLLS)
        await counted(gateway, "askonce_semantic_records_total", result="alias")
        upstream.script(completion_answer("Leave it alone."))
        await ask(client, BREAD, ("cache-control", "no-cache"))
        assert status_of(await ask(client, ROLLS + " Thanks!")) == "MISS"


async def test_what_would_have_been_served_is_compared(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """So that the shadow tells how often it would have been wrong."""
    upstream.script(completion_answer("It takes 5 days."), completion_answer("It takes 7 days."))
    gateway = await started(start, semantic__mode="shadow")
    async with gateway.client() as client:
        await ask(client, ASKED)
        await learnt(gateway)
        await ask(client, ALIKE)
        await counted(gateway, "askonce_semantic_labels_total", verdict="wrong", of="served")


async def test_a_purge_takes_the_story_along(start: StartGateway, upstream: ScriptedUpstream) -> None:
    """What an answer was served to is somebody's prompt."""
    upstream.script(completion_answer())
    gateway = await started(start)
    async with gateway.client() as client:
        key = told(await ask(client, ASKED), "cache-key")
        await learnt(gateway)
        await ask(client, ALIKE)
        await Operator(gateway).purge(all=True)
        await ask(client, ASKED)
        await learnt(gateway)
    assert (await Operator(gateway).get(f"cache/questions/{key}"))["served"] == []


async def forgotten(gateway: Gateway, key: str) -> None:
    """As if the process had been started anew: its labels are there, and its questions are not."""
    semantics = gateway.app._caches.semantics
    assert semantics is not None
    await semantics.records.drop([key])
