"""L1: nor is a budget overspent by asking in another way: another spelling, an upload, a history, and leaving."""

import asyncio
import dataclasses
import json
from collections import Counter
from typing import Any, Final

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.fakes.answers import RESET, SILENCE, Answer, event_stream, json_answer
from tests.fakes.asking import herd
from tests.fakes.budgets import FITTING, RESERVED, left, usd, used_answer
from tests.fakes.polling import until
from tests.fakes.raw import compose
from tests.fakes.realtime import realtime_upstream, session
from tests.fakes.team import StartTeam
from tests.fakes.upstream import ScriptedUpstream

BUDGET: Final = 0.05
PICTURE: Final = json_answer(
    {"created": 1, "data": [{"b64_json": "x"}], "usage": {"input_tokens": 50, "output_tokens": 950}}
)
BOUNDARY: Final = "frontier"
FORM: Final = [("content-type", f"multipart/form-data; boundary={BOUNDARY}")]


def form(*parts: tuple[str, bytes]) -> bytes:
    lines = [
        b'--%b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (BOUNDARY.encode(), name.encode(), value)
        for name, value in parts
    ]
    return b"".join([*lines, b"--%b--\r\n" % BOUNDARY.encode()])


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize(
    "path",
    [
        *("chat/completion%73", "%63hat/completions", "chat/completions/", "/chat/completions", "chat//completions"),
        *("Chat/Completions", "chat/completions;v=1", "chat%2Fcompletions", "chat\\completions", "response%73"),
        *("images/generation%73", "images/edits/", "audio/speec%68", "embeddings/", "chat/completions/%20"),
        *("chat/completions%3Fx", "chat/completions/%00", "chat/%2563ompletions", "chat;x/completions"),
    ],
)
async def test_l1_a_path_is_written_in_one_way(start_team: StartTeam, upstream: ScriptedUpstream, path: str) -> None:
    """Others, which upstreams may take for it, go to none: what is known of a path would not hold."""
    team = await start_team()
    member = await team.key(budgets={"usd_in_all": BUDGET})
    refused = await team.ask(member, FITTING, target=f"/v1/{path}")
    assert (refused.status, refused.error_code, upstream.requests) == (404, "unknown_route", [])


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize(
    "path",
    [
        *("chat/other", "chat/completions/c/d", "responses/r", "responses/r/other", "images/other", "audio/voices"),
        *(
            "containers",
            "realtime/client_secrets",
            "realtime/sessions",
            "realtime/calls",
            "realtime",
            "organization/admin_api_keys",
        ),
    ],
)
async def test_l1_what_can_not_be_told_beforehand_is_not_for_budgets(
    start_team: StartTeam, upstream: ScriptedUpstream, path: str
) -> None:
    """Nor a secret of the upstream's with which it would be asked elsewhere; nor for keys whose tokens are bounded."""
    team = await start_team()
    poor = await team.key(budgets={"usd_in_all": BUDGET}, endpoints=["*"])
    bounded = await team.key("b", max_tokens=10, endpoints=["*"])
    refused = await team.ask(poor, {"model": "m"}, target=f"/v1/{path}")
    assert (refused.status, refused.error_code) == (429, "insufficient_quota")
    refused = await team.ask(bounded, {"model": "m"}, target=f"/v1/{path}")
    assert (refused.status, upstream.requests) == (400, [])


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_what_is_looked_at_again_is_for_everybody(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """It costs nothing, whatever usage is told of making it."""
    upstream.script(used_answer(9_000, 9_000))
    team = await start_team()
    member = await team.key(budgets={"usd_in_all": BUDGET})
    for path in ("/v1/chat/completions/c1", "/v1/responses/r/cancel", "/v1/responses/input_tokens"):
        assert (await team.ask(member, {"metadata": {}}, target=path)).status == 200
    assert [row["cost_usd"] for row in await team.rows(3)] == ["0.00"] * 3


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_pictures_are_made_of_pictures_for_money(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """As much is held for each as it may come to, so that a herd of them spends no more than there is."""
    upstream.script(PICTURE)
    team = await start_team(prices__models__piecewise__image=0.02)
    member = await team.key(budgets={"usd_in_all": BUDGET})
    body = form(("image", b"\x89PNG" * 50_000), ("prompt", b"a hat"), ("model", b"m"))
    found = Counter(
        answer.status for answer in await herd(team.gateway, 40, body, [*member.headers, *FORM], "/v1/images/edits")
    )
    assert found.keys() == {200, 429}
    many = form(("image", b"x"), ("model", b"piecewise"), ("n", b"10"))
    assert (await team.ask(member, many, FORM, target="/v1/images/edits")).error_code == "insufficient_quota"
    spent = float((await team.usage())["total"]["cost_usd"])
    assert spent == pytest.approx(found[200] * 0.00955)
    assert spent <= BUDGET


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize("path", ["images/edits", "images/variations", "audio/transcriptions"])
async def test_l1_an_upload_whose_model_has_no_price_is_not_for_budgets(
    start_team: StartTeam, upstream: ScriptedUpstream, path: str
) -> None:
    """Wherever in the form it is named."""
    team = await start_team()
    member = await team.key(budgets={"usd_in_all": BUDGET})
    for parts in ([("file", b"x" * 100_000), ("model", b"dear")], [("file", b"x" * 100_000)]):
        refused = await team.ask(member, form(*parts), FORM, target=f"/v1/{path}")
        assert (refused.status, refused.error_code) == (429, "insufficient_quota")
    assert upstream.requests == []


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_l1_sound_is_reserved_by_its_length(
    start_team: StartTeam, upstream: ScriptedUpstream, *, chunked: bool
) -> None:
    """Whether it is told beforehand or not; and counted, where the upstream tells nothing."""
    upstream.script(Answer(body=[b"It was said."], headers=[("content-type", "text/plain")]))
    team = await start_team(prices__models__whisper__second=0.0001)
    rich, poor = await team.key(budgets={"usd_in_all": 1.0}), await team.key("p", budgets={"usd_in_all": 0.001})
    body = form(("file", b"x" * 400_000), ("model", b"whisper"))
    headers = [*FORM, ("transfer-encoding", "chunked")] if chunked else FORM
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    assert (await team.ask(poor, sent, headers, target="/v1/audio/transcriptions")).error_code == "insufficient_quota"
    assert (await team.ask(rich, sent, headers, target="/v1/audio/transcriptions")).status == 200
    row = (await team.rows(2))[-1]
    assert (row["used"].keys(), row["estimated"]) == ({"audio_ms"}, True)
    assert float(row["cost_usd"]) == pytest.approx(len(body) // 4 / 1e3 * 0.0001, rel=0.01)


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_speech_is_counted(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """No upstream tells what it used: two tokens for each character, where it is paid for by tokens."""
    upstream.script(Answer(body=[b"sound" * 100], headers=[("content-type", "audio/mpeg")]))
    team = await start_team()
    member = await team.key()
    assert (await team.ask(member, {"model": "m", "input": "x" * 1_000}, target="/v1/audio/speech")).status == 200
    (row,) = await team.rows(1)
    assert (row["used"]["output"], row["estimated"]) == (2_000, True)


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "r1"},
        {"conversation": "c1"},
        {"prompt": {"id": "p1"}},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        {"tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_l1_what_the_upstream_alone_has_may_be_long(
    start_team: StartTeam, upstream: ScriptedUpstream, more: dict[str, Any]
) -> None:
    """All that is left of a budget is held for one that may be; another waits until it is known."""
    gate = asyncio.Event()
    usage = {"input_tokens": 40_000, "output_tokens": 16, "total_tokens": 40_016}
    upstream.script(
        dataclasses.replace(json_answer({"id": "r", "object": "response", "model": "m", "usage": usage}), before=gate)
    )
    team = await start_team(cache__enabled=False)
    member = await team.key(budgets={"usd_in_all": BUDGET})
    body = {"model": "m", "input": "and then?", "max_output_tokens": 16} | more
    asked = asyncio.Task(herd(team.gateway, 20, body, member.headers, "/v1/responses"))
    async with asyncio.timeout(10):
        while await team.gateway.sample("askonce_limit_decisions_total", result="refused") < 19:
            await asyncio.sleep(0.02)
    gate.set()
    assert Counter(answer.status for answer in await asked) == {200: 1, 429: 19}


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_the_tier_that_is_asked_for_is_reserved(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    upstream.script(used_answer(9, 7))
    team = await start_team(prices__models__m__priority__output=1_000.0)
    member = await team.key(budgets={"usd_in_all": 0.001})
    refused = await team.ask(member, FITTING | {"service_tier": "priority"})
    assert (refused.error_code, upstream.requests) == ("insufficient_quota", [])
    assert (await team.ask(member, FITTING)).status == 200


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize(
    ("path", "fields"),
    [("/realtime?model=dear", {"budgets": {"usd_in_all": BUDGET}}), ("/responses", {"max_tokens": 9})],
)
async def test_l1_a_session_that_can_not_be_bounded_is_not_for_bounded_keys(
    start_team: StartTeam, path: str, fields: dict[str, Any]
) -> None:
    """Its model has no price, or its answers no bound."""

    async def respond(_: object) -> None:
        raise AssertionError("nobody is to be asked")

    async with realtime_upstream(respond) as url:
        team = await start_team(url)
        member = await team.key(**fields)
        with pytest.raises(InvalidStatus) as refused:
            async with session(team.gateway, path, additional_headers=dict(member.headers)):
                pass
        assert refused.value.response.status_code in {400, 429}


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_a_session_ends_with_what_has_no_price(start_team: StartTeam) -> None:
    """Where nobody named the model beforehand; seconds of sound are those of what writes them down, and priced."""
    told = [
        {"type": "transcribed", "usage": {"type": "duration", "seconds": 60}},
        {"type": "response.done", "response": {"model": "m", "usage": {"input_tokens": 1_000}}},
        {"type": "response.done", "response": {"model": "dear", "usage": {"input_tokens": 1_000}}},
    ]

    async def respond(server: ServerConnection) -> None:
        for event in told:
            await server.send(json.dumps(event))
        await server.wait_closed()

    async with realtime_upstream(respond) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": BUDGET})
        async with session(team.gateway, "/responses", additional_headers=dict(member.headers)) as client:
            for _ in told:
                await client.recv()
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (1008, "insufficient_quota")
        rows = await team.rows(4)
        assert [row["cost_usd"] for row in rows] == ["0.006", "0.001", None, "0.00"]
        assert (await left(team, member))["key usd_in_all"] == 50_000_000 - 7_000_000


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_an_answer_of_a_session_that_is_left_is_counted(start_team: StartTeam) -> None:
    """As far as it came; its last event, which tells what it used, is not waited for."""
    delta = json.dumps({"type": "response.output_text.delta", "delta": "word"})

    async def respond(server: ServerConnection) -> None:
        for _ in range(100):
            await server.send(delta)
        await server.wait_closed()

    async with realtime_upstream(respond) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": BUDGET})
        async with session(team.gateway, "/realtime?model=m", additional_headers=dict(member.headers)) as client:
            for _ in range(100):
                await client.recv()
        (row,) = await team.rows(1)
        assert (row["used"], row["cost_usd"], row["estimated"]) == ({"output": 100}, "0.001", True)
        assert (await left(team, member))["key usd_in_all"] == 49_000_000


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize("how", ["revoked", "lowered"])
async def test_l1_a_session_is_held_to_what_its_key_may_now(start_team: StartTeam, how: str) -> None:
    """It ends with the next answer."""
    done = json.dumps({"type": "response.done", "response": {"usage": {"input_tokens": 1_000}}})

    async def respond(server: ServerConnection) -> None:
        async for _ in server:
            await server.send(done)

    async with realtime_upstream(respond) as url:
        team = await start_team(url)
        member = await team.key(budgets={"usd_in_all": BUDGET})
        async with session(team.gateway, "/realtime?model=m", additional_headers=dict(member.headers)) as client:
            await client.send("more")
            await client.recv()
            if how == "revoked":
                await team.revoke(member)
            else:
                await team.change(member, budgets={"usd_in_all": 0.001})
            with pytest.raises(ConnectionClosed):
                for _ in range(9):
                    await client.send("more")
                    await client.recv()
                    await asyncio.sleep(0.01)
            assert client.close_code == 1008


# who leaves


LONG: Final = FITTING | {"max_tokens": 5_000}
BEGUN: Final = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{"choi'
HELD: Final = 50_009_000
"""Nano-dollars that it is reserved at."""


async def test_l1_who_leaves_before_the_answer_pays_for_what_it_may_have_been(
    start_team: StartTeam, upstream: ScriptedUpstream
) -> None:
    """Nobody will tell what it was; to leave is no way to be answered for the price of the question."""
    upstream.script(SILENCE)
    team = await start_team(cache__enabled=False)
    member = await team.key(budgets={"usd_in_all": 0.06})
    async with team.gateway.client() as client:
        await client.send(compose(body=LONG, headers=member.headers))
        await upstream.received()
    (row,) = await team.rows(1)
    assert (row["cost_usd"], row["estimated"], row["used"]) == ("0.050009", True, {"input": 9, "output": 5_000})
    assert (await team.ask(member, LONG)).error_code == "insufficient_quota"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("store", ["alone"])
@pytest.mark.parametrize(
    "answer",
    [SILENCE, RESET, Answer(raw=BEGUN)],
    ids=["time-out", "reset", "broken off"],
)
async def test_l1_an_answer_that_never_came_whole_is_paid_for(
    start_team: StartTeam, upstream: ScriptedUpstream, answer: Answer
) -> None:
    """As far as it may have been made."""
    upstream.script(answer)
    team = await start_team(cache__enabled=False, timeouts__first_byte=0.3, timeouts__idle=0.3)
    member = await team.key(budgets={"usd_in_all": 0.06})
    await team.ask(member, LONG)
    (row,) = await team.rows(1)
    assert (row["cost_usd"], row["estimated"]) == ("0.050009", True)
    assert (await left(team, member))["key usd_in_all"] == 60_000_000 - HELD


@pytest.mark.parametrize("first", [SILENCE, RESET], ids=["time-out", "reset"])
async def test_l1_each_call_that_may_have_been_acted_on_counts(
    start_team: StartTeam, upstream: ScriptedUpstream, first: Answer
) -> None:
    """Of the same upstream too, where it is asked again; the request itself counts once."""
    upstream.script(first, used_answer(9, 7))
    team = await start_team(
        cache__enabled=False, retry__attempts=3, retry__on_ambiguous=True, retry__base=0.01, timeouts__first_byte=0.3
    )
    member = await team.key(budgets={"usd_in_all": 1.0}, limits={"requests_per_day": 100, "concurrent_requests": 1})
    assert (await team.ask(member, LONG)).status == 200
    (row,) = await team.rows(1)
    assert (row["attempts"], row["estimated"], row["cost_usd"]) == (2, True, "0.050088")
    assert await left(team, member) == {
        "key requests_per_day": 99,
        "key concurrent_requests": 1,
        "key usd_in_all": 1_000_000_000 - HELD - RESERVED,
    }


async def test_l1_what_was_refused_at_the_second_call_is_not_counted(
    start_team: StartTeam, upstream: ScriptedUpstream
) -> None:
    """The first is, once: ledger and limits say the same."""
    upstream.script(RESET, used_answer(9, 7))
    team = await start_team(cache__enabled=False, retry__attempts=3, retry__on_ambiguous=True, retry__base=0.01)
    member = await team.key(budgets={"usd_in_all": 0.06})
    assert (await team.ask(member, LONG)).error_code == "insufficient_quota"
    (row,) = await team.rows(1)
    assert (row["cost_usd"], row["attempts"]) == (f"{usd(HELD):.6f}", 1)
    assert (await left(team, member))["key usd_in_all"] == 60_000_000 - HELD


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_a_lost_call_hides_no_unknown_price(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """And what is not known is no price of 0: what was reserved is charged."""
    upstream.script(RESET, used_answer(9, 7, model="dear"))
    team = await start_team(
        cache__enabled=False,
        limits__unknown_price="allow",
        retry__attempts=3,
        retry__on_ambiguous=True,
        retry__base=0.01,
    )
    member = await team.key(budgets={"usd_in_all": 1.0})
    assert (await team.ask(member, LONG | {"model": "dear"})).status == 200
    (row,) = await team.rows(1)
    assert (row["cost_usd"], row["used"]["output"]) == (None, 5_007)


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_a_lost_call_is_in_the_ledger_of_a_key_without_a_budget(
    start_team: StartTeam, upstream: ScriptedUpstream
) -> None:
    upstream.script(RESET, used_answer(9, 7))
    team = await start_team(cache__enabled=False, retry__attempts=3, retry__on_ambiguous=True, retry__base=0.01)
    member = await team.key(limits={"requests_per_day": 9})
    assert (await team.ask(member, FITTING)).status == 200
    (row,) = await team.rows(1)
    assert (row["attempts"], row["estimated"], row["used"]["input"]) == (2, True, 18)
    assert float(row["cost_usd"]) == pytest.approx(2 * usd(RESERVED))


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_a_stale_answer_does_not_pay_for_the_call(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """That did not come in time, in whose place it is given."""
    upstream.script(used_answer(9, 7), SILENCE)
    team = await start_team(
        cache__enabled=True, cache__ttl__chat_completions=0.01, cache__stale_if_error=60.0, timeouts__first_byte=0.3
    )
    member = await team.key(budgets={"usd_in_all": 1.0})
    assert (await team.ask(member, LONG)).status == 200
    await asyncio.sleep(0.02)  # it is stale then
    assert (await team.ask(member, LONG)).header(b"x-cache-status") == b"STALE"
    assert float((await team.rows(2))[-1]["cost_usd"]) == pytest.approx(usd(HELD))


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_what_is_made_in_the_background_is_paid_for(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Also if it is asked for as a stream, and left."""
    begun = b'data: {"type":"response.created","response":{"id":"r","status":"queued"}}\n\n'
    upstream.script(event_stream([begun, asyncio.Event()]))
    team = await start_team(cache__enabled=False)
    member = await team.key(budgets={"usd_in_all": 1.0})
    body = {"model": "m", "input": "hello", "max_output_tokens": 5_000, "background": True, "stream": True}
    async with team.gateway.client() as client:
        await client.send(compose("POST", "/v1/responses", body, member.headers))
        await client.start()
    (row,) = await team.rows(1)
    assert (row["used"]["output"], row["estimated"]) == (5_000, True)


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_speech_is_reserved_as_speech(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Where its price is known; else it is refused."""
    team = await start_team(prices__models__m__audio_output=1_000.0)
    member = await team.key(budgets={"usd_in_all": 0.001})
    spoken = FITTING | {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
    assert (await team.ask(member, spoken)).error_code == "insufficient_quota"
    assert (await team.ask(member, spoken | {"model": "m-2"})).error_code == "insufficient_quota"
    assert upstream.requests == []


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_a_completion_without_a_bound_has_none(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Though some upstreams cut it."""
    team = await start_team()
    member = await team.key(max_tokens=100)
    refused = await team.ask(member, {"model": "m", "prompt": "hello"}, target="/v1/completions")
    assert (refused.status, refused.json()["error"]["param"], upstream.requests) == (400, "max_tokens", [])


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_pictures_by_their_addresses(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """In JSON, whose model is read as in a form."""
    upstream.script(PICTURE)
    team = await start_team()
    member = await team.key(budgets={"usd_in_all": 1.0})
    body = {"model": "m", "prompt": "a hat", "images": [{"image_url": "https://a.example/b.png"}]}
    assert (await team.ask(member, body, target="/v1/images/edits")).status == 200
    (row,) = await team.rows(1)
    assert (row["model"], row["cost_usd"]) == ("m", "0.00955")


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_numbers_are_numbers(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Also with a point in them; and no key is in the ledger, wherever its owner writes it."""
    usage = {"prompt_tokens": 1_000.0, "completion_tokens": 1_000.0, "total_tokens": 2_000.0}
    upstream.script(json_answer({"id": "c", "object": "chat.completion", "model": "m", "choices": [], "usage": usage}))
    team = await start_team(limits__unknown_price="allow", cache__enabled=False)
    member = await team.key()
    await team.ask(member, FITTING)
    await team.ask(member, FITTING | {"model": member.secret}, [("x-askonce-cache-tags", member.secret)])
    first, second = await team.rows(2)
    assert (first["used"], first["estimated"]) == ({"input": 1_000, "output": 1_000}, False)
    assert member.secret not in str(second)


async def test_l1_a_lost_call_is_settled_though_nothing_is_measured(
    start_team: StartTeam, upstream: ScriptedUpstream
) -> None:
    """What it held comes back with its request, and not when somebody looks for the dead."""
    upstream.script(RESET, used_answer(9, 7))
    again = {"attempts": 3, "on_ambiguous": True, "base": 0.01}
    settings: dict[str, Any] = {f"retry__{name}": value for name, value in again.items()}
    team = await start_team("", cache__enabled=False, ledger__mode="off", **settings)
    member = await team.key(limits={"requests_per_day": 9, "concurrent_requests": 1})
    for _ in range(2):
        assert (await team.ask(member, FITTING)).status == 200
        await team.gateway.settled()
    assert await left(team, member) == {"key requests_per_day": 7, "key concurrent_requests": 1}


# what is learned


@pytest.mark.parametrize("store", ["alone"])
async def test_l1_many_answers_teach_how_long_one_is(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """And one that came to its bound teaches nothing."""
    team = await start_team(cache__enabled=False)
    member = await team.key(limits={"tokens_per_minute": 1_000_000})
    upstream.script(used_answer(9, 1_000))
    for _ in range(6):
        await team.ask(member, {"model": "m", "messages": [], "n": 10})
    upstream.script(used_answer(9, 7))
    for _ in range(6):
        await team.ask(member, FITTING)
    await until(lambda: len(upstream.requests) == 12)
    metering = team.gateway.app._pipeline._metering
    assert metering is not None
    assert 100 <= metering.limits.measure._outputs.expect("m") <= 200
