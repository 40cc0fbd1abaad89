"""What requests cost and save: what an upstream tells counts, and what it does not tell is counted."""

from fractions import Fraction
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from limits import Demand, Kind, MemoryLimiter
from proxy import billing
from proxy.exchange import CacheNote, Exchange, Outcome
from proxy.ledger.row import Row
from proxy.limiting.bill import Bill
from proxy.openai.estimate import Estimate, Method
from proxy.openai.usage import Report, merged, told
from proxy.routes import find
from proxy.telemetry.prices import Listing, Prices, override_of
from tests.fakes.frames import chat_frame
from tests.fakes.limited import IN, OUT, Desk, asking
from tests.fakes.limiting import Time
from tests.unit.test_metrics import named

TOLD = b'{"model":"m-2025","usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}'
COST = 11 * IN + 7 * OUT
ESTIMATE = Estimate(20, 0, capped=False, method=Method.BYTES, units={})
TEXT = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}]}'


@pytest.fixture
def desk() -> Desk:
    time = Time()
    return Desk(MemoryLimiter(time, time), time)


def called(**fields: object) -> Exchange:
    """A request that an upstream has answered."""
    exchange = asking(model=str(fields.pop("model", "m")))
    exchange.attempts, exchange.reached, exchange.upstream_status, exchange.upstream = 1, True, 200, "test"
    exchange.acted_on, exchange.outcome = True, Outcome.RELAYED
    exchange.bill = bill = Bill()
    bill.estimate = ESTIMATE
    for name, value in fields.items():
        setattr(exchange, name, value)
    return exchange


def row(of: Desk, exchange: Exchange) -> Row:
    of.bills.account(exchange, "chat/completions", 200, "")
    of.bills.count(exchange, "chat/completions")
    return of.rows[-1]


def test_what_is_told_counts(desk: Desk) -> None:
    """And not what was estimated."""
    made = row(desk, called(usage_text=TOLD))
    assert (made.used, made.cost, made.served) == ({"input": 11, "output": 7}, COST, "m-2025")
    assert not made.estimated


def test_answers_of_a_session_are_priced_by_their_models(desk: Desk) -> None:
    """Each has a row of its own, by the session's call id and its number."""
    exchange = called()
    for number, model in enumerate(("", "m-other", "dear"), 1):
        worth = desk.bills.worth_of(exchange, Report({"input_tokens": 3, "output_tokens": 2}, model, ""))
        desk.bills.answered(exchange, number, worth, 0.5, estimated=False)
    assert [(made.call_id, made.used, made.cost, made.duration) for made in desk.rows] == [
        (f"{exchange.call_id}.{number}", {"input": 3, "output": 2}, 3 * IN + 2 * OUT, 500_000) for number in (1, 2, 3)
    ]
    assert [made.served for made in desk.rows] == ["", "m-other", "dear"]


def test_who_served_is_who_is_paid() -> None:
    """Unless a price was set for what was asked, or nobody knows one for who served."""
    time = Time()
    desk = Desk(MemoryLimiter(time, time), time)
    listed = {"cheap": 1, "dear": 100}

    def listing(model: str, *_: object) -> Listing | None:
        return Listing(((0, {"input": Fraction(listed[model]), "output": Fraction(0)}),)) if model in listed else None

    desk.bills._prices = Prices(SimpleNamespace(find=listing), [override_of("set", {"input": 7.0, "output": 0.0})])
    asked = {(asked, served): asked for asked in ("cheap", "set") for served in ("", "unknown", "dear")}
    paid = {"cheap": 1_000, "dear": 100_000, "set": 7_000}
    for (model, served), expected in {**asked, ("cheap", "dear"): "dear", ("other", "dear"): "dear"}.items():
        told = b'{"model":"%b","usage":{"input_tokens":1}}' % served.encode()
        assert row(desk, called(model=model, usage_text=told)).cost == paid[expected], (model, served)


def test_an_answer_that_tells_nothing_is_counted_here(desk: Desk) -> None:
    """What went in as estimated, what came out by its text; the row says so, and a metric."""
    made = row(desk, called(usage_text=TEXT % (b"four" * 9)))
    assert (made.used, made.cost, made.estimated) == ({"input": 20, "output": 9}, 20 * IN + 9 * OUT, True)
    assert list(named(desk.metrics, "askonce_estimated_requests_total").values()) == [1.0]


BROKEN = {
    "infinity": b'{"choices":[{"logprobs":-Infinity,"message":{"content":"%b"}}]%b}',
    "mark": b'\xef\xbb\xbf{"choices":[{"message":{"content":"%b"}}]%b}',
    "tab": b'{"choices":[{"message":{"content":"\t%b"}}]%b}\n',
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_what_is_no_json_to_us_is_paid_for(desk: Desk, answer: bytes) -> None:
    """Its client may well read it: by the usage at its end, and without one by what came."""
    told = row(desk, called(usage_text=answer % (b"four", b',"usage":{"prompt_tokens":8,"completion_tokens":400}')))
    assert (told.used, told.cost, told.estimated) == ({"input": 8, "output": 400}, 8 * IN + 400 * OUT, False)
    untold = answer % (b"four" * 40, b"")
    guessed = row(desk, called(usage_text=untold))
    assert (guessed.used, guessed.estimated) == ({"input": 20, "output": len(untold) // 4}, True)


@pytest.mark.parametrize("usage", [b"{}", b'{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'])
def test_noughts_tell_nothing(desk: Desk, usage: bytes) -> None:
    """From an upstream that does not count: ledger and limits go by what is counted here."""
    made = row(desk, called(usage_text=(TEXT % (b"four" * 9))[:-1] + b',"usage":%b}' % usage))
    assert (made.used, made.cost, made.estimated) == ({"input": 20, "output": 9}, 20 * IN + 9 * OUT, True)


def test_a_stream_that_was_left_is_counted_as_far_as_it_came(desk: Desk) -> None:
    """By its frames."""
    frames = b"".join(chat_frame("word") for _ in range(40))
    made = row(desk, called(upstream_bytes=len(frames), tail=frames, stream=True))
    assert (made.used, made.estimated) == ({"input": 20, "output": 40}, True)


def test_noughts_at_the_end_of_a_stream_tell_nothing(desk: Desk) -> None:
    """Its frames are counted."""
    frames = b"".join(chat_frame("word") for _ in range(40))
    text = b'{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}'
    made = row(desk, called(usage_text=text, upstream_bytes=len(frames), tail=frames, stream=True))
    assert (made.used, made.estimated) == ({"input": 20, "output": 40}, True)


def test_a_large_answer_that_tells_nothing_is_counted_by_its_size(desk: Desk) -> None:
    """If it is text: four bytes a token, and the row says so."""
    text = TEXT % (b"four" * 50_000)
    made = row(desk, called(upstream_bytes=len(text), tail=text[-16_384:]))
    assert made.used["output"] == len(text) // 4
    assert made.estimated
    images = called(upstream_bytes=len(text), tail=text[-16_384:])
    images.route = find("POST", "/v1/images/edits")
    assert row(desk, images).used == {"input": 20}


BEGUN = (
    b'{"type":"message_start","message":{"model":"m-2025","usage":{"input_tokens":11,"output_tokens":1,'
    b'"cache_read_input_tokens":5}}}'
)


def test_a_message_that_was_left_is_counted_as_far_as_it_came(desk: Desk) -> None:
    """What went in as it is told, what came out by its frames; never less than is told."""
    block = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "word"}}
    frames = b"data: %b\n\n" % msgspec.json.encode(block) * 40
    made = row(desk, called(usage_text=BEGUN, upstream_bytes=len(frames), tail=frames, stream=True))
    assert (made.used, made.estimated) == ({"input": 16, "cached_input": 5, "output": 40}, True)
    assert made.served == "m-2025"
    assert row(desk, called(usage_text=BEGUN, stream=True)).used["output"] == 1


def test_a_message_that_came_to_its_end_is_not_counted_here(desk: Desk) -> None:
    """Whatever is known of how much of it came."""
    exchange = called(usage_text=merged(BEGUN, b'{"usage":{"output_tokens":7}}'), upstream_bytes=10_000, stream=True)
    made = row(desk, exchange)
    assert (made.used["output"], made.estimated) == (7, False)


NOTHING = [
    {"acted_on": False},
    {"upstream_status": 400},
    {"upstream_status": 500},
    {"attempts": 0},
    {"attempts": 0, "usage_text": TOLD},
    {"usage_text": TOLD, "note": CacheNote("k", collapsed=True)},
]


@pytest.mark.parametrize("fields", NOTHING, ids=lambda fields: " ".join(fields))
def test_what_was_not_answered_costs_nothing(desk: Desk, fields: dict[str, object]) -> None:
    """It was never sent, or the upstream refused it; or it is somebody else's answer, after an attempt of one's own."""
    made = row(desk, called(**fields))
    assert (made.used, made.cost, made.estimated) == ({}, 0, False)


def test_a_cost_that_is_told_goes_before_the_price(desk: Desk) -> None:
    """As OpenRouter does, in USD."""
    made = row(desk, called(usage_text=TOLD.replace(b'"total_tokens":18', b'"total_tokens":18,"cost":0.5')))
    assert made.cost == 500_000_000


def test_a_price_is_that_of_the_model_that_was_asked(desk: Desk) -> None:
    """Or, if it has none, of the one that answered; else it is unknown, counted, and never 0."""
    assert row(desk, called(usage_text=TOLD, model="alias")).cost == COST
    unknown = row(desk, called(usage_text=TOLD.replace(b"m-2025", b"x"), model="alias"))
    assert (unknown.cost, unknown.used) == (None, {"input": 11, "output": 7})
    assert list(named(desk.metrics, "askonce_unpriced_requests_total").values()) == [1.0]


def test_without_prices_tokens_are_counted_all_the_same() -> None:
    """And nothing is told of money."""
    time = Time()
    desk = Desk(MemoryLimiter(time, time), time, priced=False)
    exchange = called(usage_text=TOLD)
    desk.bills.tell(exchange)
    made = row(desk, exchange)
    assert (made.used, made.cost) == ({"input": 11, "output": 7}, None)
    assert named(desk.metrics, "askonce_unpriced_requests_total") == {}


def test_a_stored_answer_saves_what_it_cost(desk: Desk) -> None:
    """And costs nothing."""
    exchange = asking()
    exchange.note = CacheNote("k", usage=b'{"prompt_tokens":11,"completion_tokens":7}', upstream="test")
    desk.bills.tell(exchange)
    made = row(desk, exchange)
    assert (made.saved, made.cost, made.used) == (COST, 0, {})
    assert list(named(desk.metrics, "askonce_saved_usd_total").values()) == [COST / 1e9]
    assert named(desk.metrics, "askonce_cost_usd_total") == {}


TIERS = {"input": IN / 1e3, "output": OUT / 1e3, "priority": {"input": IN / 100, "output": OUT / 100}}


def test_a_tier_costs_and_saves_its_price(desk: Desk) -> None:
    """For whom it is made, who shares it, and who is given it from the store; each is told apart from the usual."""
    desk.bills._prices = Prices(None, [override_of("m*", TIERS)])
    usage = b'{"prompt_tokens":11,"completion_tokens":7}'
    for tier, cost in (("priority", 10 * COST), ("", COST), ("default", COST)):
        assert row(desk, called(usage_text=told(usage, "m-2025", tier))).cost == cost
        shared, stored = asking(), asking()
        shared.note, shared.usage_text = CacheNote("k", collapsed=True), told(usage, "m-2025", tier)
        stored.note = CacheNote("k", usage=usage, upstream="test", served_model="m-2025", tier=tier)
        assert [row(desk, each).saved for each in (shared, stored)] == [cost, cost]


def test_a_stored_answer_saves_the_price_of_who_served_it(desk: Desk) -> None:
    """Where the model that was asked for has none."""
    exchange = asking(model="alias")
    usage = b'{"prompt_tokens":11,"completion_tokens":7}'
    exchange.note = CacheNote("k", usage=usage, upstream="test", served_model="m-2025")
    assert row(desk, exchange).saved == COST


def test_a_shared_answer_saves_what_it_cost(desk: Desk) -> None:
    """The one who led pays."""
    exchange = asking()
    exchange.note, exchange.usage_text, exchange.upstream = CacheNote("k", collapsed=True), TOLD, "test"
    made = row(desk, exchange)
    assert (made.saved, made.cost, made.used) == (COST, 0, {})


def test_what_a_batch_had_already_is_saved(desk: Desk) -> None:
    """At the price of input."""
    exchange = called(usage_text=TOLD)
    exchange.note = CacheNote("", saved_tokens=5)
    made = row(desk, exchange)
    assert (made.saved, made.cost) == (5 * IN, COST)


def test_prices_of_usage_that_comes_again_are_remembered_up_to_a_bound(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many answers there are."""
    monkeypatch.setattr(billing, "MAX_WORTHS", 10)
    for number in range(30):
        exchange = asking()
        usage = b'{"prompt_tokens":%d,"completion_tokens":7}' % number
        exchange.note = CacheNote("k", usage=usage, upstream="test")
        assert row(desk, exchange).saved == number * IN + 7 * OUT
    assert len(desk.bills._worths) == 10


def test_a_row_says_all_that_is_known(desk: Desk) -> None:
    """Of the request, its caller and its times."""
    exchange = called(usage_text=TOLD, started_at=10.0, first_byte_at=10.5, ended_at=12.0, event_stream=True)
    exchange.headers = [(b"x-askonce-cache-tags", b" a, b,,a,\xe9")]
    exchange.note = CacheNote("k")
    made = row(desk, exchange)
    assert (made.call_id, made.key, made.model, made.upstream, made.cache) == ("c", "a", "m", "test", "MISS")
    assert (made.duration, made.first_token, made.attempts) == (2_000_000, 500_000, 1)
    assert made.tags == ("a", "b", "é")
    assert (made.bytes_in, made.endpoint, made.status) == (exchange.body.received, "chat/completions", 200)


def test_tags_are_bounded(desk: Desk) -> None:
    """Sixteen of them."""
    exchange = called()
    exchange.headers = [(b"x-askonce-cache-tags", b",".join(b"t%d" % n for n in range(50)))]
    assert row(desk, exchange).tags == tuple(f"t{n}" for n in range(16))


@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.integers(0, 99), st.sampled_from(["told", "guessed", "hit"])), max_size=20
    )
)
async def test_limits_ledger_and_metrics_say_the_same(calls: list[tuple[int, int, str]]) -> None:
    """Tokens and money of every call, whoever told them."""
    time = Time()
    desk = Desk(MemoryLimiter(time, time), time, key={Kind.SPEND: 10**12, Kind.TOKENS: 10**6})
    for asked, answered, sort in calls:
        if sort == "hit":
            exchange = asking()
            exchange.note = CacheNote("k", usage=b'{"prompt_tokens":1,"completion_tokens":1}', upstream="test")
        else:
            usage = {"usage": {"prompt_tokens": asked, "completion_tokens": answered}}
            text = TEXT % (b"four" * answered) if sort == "guessed" else msgspec.json.encode(usage)
            exchange = called(usage_text=text)
            exchange.acted_on = False
            await desk.charge(exchange, b"x" * 80, "test")
            exchange.acted_on = True
        desk.bills.settle(exchange)
        row(desk, exchange)
    cost = sum(made.cost or 0 for made in desk.rows)
    tokens = sum(sum(made.used.values()) for made in desk.rows)
    limits = desk.limits._terms.of("a", None).spending
    grant = await desk.limiter.reserve([Demand(limit, 0) for limit in limits])
    left = {state.limit.kind: state.remaining for state in grant.states}
    assert left == {Kind.SPEND: 10**12 - cost, Kind.TOKENS: 10**6 - tokens}
    assert sum(named(desk.metrics, "askonce_tokens_total").values()) == tokens
    assert sum(named(desk.metrics, "askonce_cost_usd_total").values()) == pytest.approx(cost / 1e9)


@pytest.mark.parametrize(("capped", "output"), [(1, 16), (0, 60)])
def test_an_answer_that_breaks_off_costs_no_more_than_its_bound(desk: Desk, capped: int, output: int) -> None:
    """Though the JSON around it would come to more, if it were text."""
    text = TEXT % (b"four" * 40)
    cut = called(upstream_bytes=240, tail=text[:240])
    assert cut.bill is not None
    cut.bill.estimate = replace(ESTIMATE, output=16, capped=bool(capped))
    assert row(desk, cut).used == {"input": 20, "output": output}
