"""Usage objects of every API → tokens by kind. Shapes are those of the references named; the numbers are made up."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.tokens import PARTS, TOKENS, UNITS, reported_cost, sum_usages, tokens_of, units_of, used_of

GOLDEN: dict[str, tuple[dict[str, object], dict[str, int]]] = {
    "OpenAI, chat: the completion object": (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0, "cache_write_tokens": 80},
            "completion_tokens_details": {
                "reasoning_tokens": 128,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 3,
                "rejected_prediction_tokens": 5,
            },
        },
        {"input": 2006, "cached_input": 1920, "cache_write": 80, "output": 300, "reasoning": 128},
    ),
    "OpenAI, chat with sound in and out": (
        {
            "prompt_tokens": 120,
            "completion_tokens": 90,
            "total_tokens": 210,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 100, "text_tokens": 20, "image_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 70, "text_tokens": 20},
        },
        {"input": 120, "audio_input": 100, "output": 90, "audio_output": 70},
    ),
    "OpenAI, legacy completions": (
        {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
        {"input": 5, "output": 7},
    ),
    "OpenAI, responses: the response object": (
        {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 32, "cache_write_tokens": 0},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 123,
        },
        {"input": 36, "cached_input": 32, "output": 87, "reasoning": 64},
    ),
    "OpenAI, embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, {"input": 8}),
    "OpenAI, transcription in tokens": (
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
            "output_tokens": 45,
            "total_tokens": 59,
        },
        {"input": 14, "audio_input": 10, "output": 45},
    ),
    "OpenAI, images": (
        {
            "total_tokens": 4500,
            "input_tokens": 450,
            "output_tokens": 4050,
            "input_tokens_details": {"text_tokens": 50, "image_tokens": 400},
            "output_tokens_details": {"text_tokens": 50, "image_tokens": 4000},
        },
        {"input": 450, "image_input": 400, "output": 4050, "image_output": 4000},
    ),
    "OpenAI, realtime: response.done": (
        {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 60,
                "audio_tokens": 50,
                "image_tokens": 22,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 30, "audio_tokens": 24, "image_tokens": 10},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        },
        {
            "input": 132,
            "cached_input": 64,
            "audio_input": 50,
            "cached_audio_input": 24,
            "image_input": 22,
            "cached_image_input": 10,
            "output": 121,
            "audio_output": 91,
        },
    ),
    "Azure OpenAI, chat": (
        {
            "completion_tokens": 33,
            "completion_tokens_details": {"reasoning_tokens": 0},
            "prompt_tokens": 37,
            "prompt_tokens_details": {"cached_tokens": 0},
            "total_tokens": 70,
        },
        {"input": 37, "output": 33},
    ),
    "vLLM, without prefix caching": (
        {"prompt_tokens": 34, "total_tokens": 60, "completion_tokens": 26, "prompt_tokens_details": None},
        {"input": 34, "output": 26},
    ),
    "Gemini, OpenAI compatibility: thoughts only in the total": (
        {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
        {"input": 20, "output": 603, "reasoning": 405},
    ),
    "Gemini behind a proxy: nothing but thoughts": (
        {
            "completion_tokens": 0,
            "total_tokens": 81,
            "prompt_tokens": 21,
            "completion_tokens_details": {"reasoning_tokens": 60},
        },
        {"input": 21, "output": 60, "reasoning": 60},
    ),
    "Anthropic, OpenAI compatibility": (
        {"prompt_tokens": 15, "completion_tokens": 40, "total_tokens": 55, "prompt_tokens_details": None},
        {"input": 15, "output": 40},
    ),
    "Anthropic, messages: what the cache took part in is beside input_tokens": (
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": 500,
            "cache_read_input_tokens": 1000,
            "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 100},
            "output_tokens": 393,
            "service_tier": "standard",
        },
        {"input": 1521, "cached_input": 1000, "cache_write": 500, "cache_write_1h": 100, "output": 393},
    ),
    "LiteLLM in front of Anthropic: prompt_tokens has it in": (
        {
            "prompt_tokens": 1521,
            "completion_tokens": 10,
            "total_tokens": 1531,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens": 500,
        },
        {"input": 1521, "cached_input": 1000, "cache_write": 500, "output": 10},
    ),
    "a proxy whose prompt_tokens leaves the cache out, and whose total does not": (
        {
            "prompt_tokens": 21,
            "completion_tokens": 10,
            "total_tokens": 1031,
            "prompt_tokens_details": {"cached_tokens": 1000},
        },
        {"input": 1021, "cached_input": 1000, "output": 10},
    ),
    "Mistral, chat": (
        {"prompt_tokens": 16, "completion_tokens": 34, "total_tokens": 50, "prompt_audio_seconds": {}},
        {"input": 16, "output": 34},
    ),
    "Mistral, transcription: sound counts in the total alone": (
        {"prompt_audio_seconds": 203, "prompt_tokens": 4, "total_tokens": 3264, "completion_tokens": 635},
        {"input": 4, "output": 635},
    ),
    "DeepSeek": (
        {
            "completion_tokens": 12,
            "prompt_tokens": 116,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 52,
            "total_tokens": 128,
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
        {"input": 116, "cached_input": 64, "output": 12, "reasoning": 2},
    ),
    "xAI, chat: completion_tokens without reasoning": (
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "prompt_tokens_details": {"text_tokens": 32, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0},
            "num_sources_used": 0,
        },
        {"input": 32, "cached_input": 6, "output": 103, "reasoning": 94},
    ),
    "Groq": (
        {
            "queue_time": 0.03,
            "prompt_tokens": 18,
            "prompt_time": 0.0006,
            "completion_tokens": 556,
            "completion_time": 0.46,
            "total_tokens": 574,
            "total_time": 0.46,
            "prompt_tokens_details": {"cached_tokens": 16},
        },
        {"input": 18, "cached_input": 16, "output": 556},
    ),
    "Moonshot": (
        {"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40, "cached_tokens": 10},
        {"input": 19, "cached_input": 10, "output": 21},
    ),
    "OpenRouter: usage accounting": (
        {
            "completion_tokens": 20,
            "completion_tokens_details": {"reasoning_tokens": 4, "image_tokens": 2},
            "cost": 0.95,
            "cost_details": {"upstream_inference_cost": 19},
            "prompt_tokens": 194,
            "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 100, "audio_tokens": 0},
            "total_tokens": 214,
        },
        {"input": 194, "cached_input": 40, "cache_write": 100, "output": 20, "reasoning": 4, "image_output": 2},
    ),
    "Perplexity, deep research": (
        {
            "prompt_tokens": 33,
            "completion_tokens": 7000,
            "total_tokens": 7033,
            "citation_tokens": 2000,
            "num_search_queries": 21,
            "reasoning_tokens": 19000,
        },
        {"input": 33, "output": 28000, "reasoning": 19000, "citation": 2000},
    ),
    "reasoning told on the top, as part of the output": (
        {"prompt_tokens": 3, "completion_tokens": 10, "reasoning_tokens": 4, "total_tokens": 13},
        {"input": 3, "output": 10, "reasoning": 4},
    ),
    "reasoning told on the top, beside the output": (
        {"prompt_tokens": 3, "completion_tokens": 10, "reasoning_tokens": 40, "total_tokens": 53},
        {"input": 3, "output": 50, "reasoning": 40},
    ),
    "Voyage, embeddings": ({"total_tokens": 10}, {"input": 10}),
}

MOST = 1 << 36


@pytest.mark.parametrize("shape", GOLDEN)
def test_every_shape_has_its_tokens(shape: str) -> None:
    """Each API's usage becomes the same kinds, with the same meaning."""
    usage, tokens = GOLDEN[shape]
    assert tokens_of(usage) == tokens


@pytest.mark.parametrize("shape", GOLDEN)
def test_all_that_is_told_at_once(shape: str) -> None:
    """Is what is told piece by piece."""
    usage, _ = GOLDEN[shape]
    assert used_of(usage) == (tokens_of(usage) | units_of(usage), reported_cost(usage))


@given(st.integers(1, MOST), st.integers(1, MOST), st.integers(-2, 2), st.sampled_from([0, None, 3, True, 2.0, {}]))
def test_plain_usage_is_read_as_any_other(asked: int, made: int, off: int, cached: object) -> None:
    """A name that nobody knows makes it unusual, and changes nothing."""
    details = {"cached_tokens": cached, "audio_tokens": 0}
    usage: dict[str, object] = {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made + off}
    usage["prompt_tokens_details"] = details
    assert tokens_of(usage) == tokens_of({**usage, "of_nobody": 0})


NAMES = sorted({name for usage, _ in GOLDEN.values() for name in usage} | {"reasoning_tokens", "seconds", "type"})
INNER = sorted(
    {name for usage, _ in GOLDEN.values() for inner in usage.values() if isinstance(inner, dict) for name in inner}
)
COUNTS = st.integers(0, 200) | st.sampled_from([MOST, MOST + 1, -1, 1 << 70])
NONSENSE = st.none() | st.booleans() | st.text(max_size=3) | st.floats() | st.lists(st.integers(), max_size=2)
USAGES = st.dictionaries(
    st.sampled_from(NAMES),
    COUNTS | st.dictionaries(st.sampled_from(INNER), COUNTS | NONSENSE, max_size=5) | NONSENSE,
    max_size=8,
)

DETAILED = st.fixed_dictionaries(
    {
        "prompt_tokens": COUNTS,
        "prompt_tokens_details": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"), COUNTS)
        ),
        "completion_tokens": COUNTS,
        "completion_tokens_details": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("reasoning_tokens", "audio_tokens", "image_tokens"), COUNTS)
        ),
    },
    optional={"cache_creation": st.fixed_dictionaries({"ephemeral_1h_input_tokens": COUNTS}), "total_tokens": COUNTS},
)


@given(USAGES | DETAILED)
@example({"input_tokens": 10, "input_tokens_details": {"cache_write_tokens": 8, "audio_tokens": 8}})
@example({"completion_tokens": 10, "reasoning_tokens": 9, "citation_tokens": MOST, "total_tokens": 1})
def test_parts_never_exceed_their_whole(usage: dict[str, object]) -> None:
    """Whatever an upstream says: kinds are known ones above 0, and all that is apart fits into its whole."""
    tokens = tokens_of(usage)
    assert set(tokens) <= set(TOKENS)
    assert all(type(amount) is int and amount > 0 for amount in tokens.values())
    for part, wholes in PARTS.items():
        assert all(tokens.get(part, 0) <= tokens.get(whole, 0) for whole in wholes)
    both = tokens.get("cached_audio_input", 0) + tokens.get("cached_image_input", 0)
    apart = sum(tokens.get(kind, 0) for kind in ("cached_input", "cache_write", "audio_input", "image_input"))
    assert apart - both <= tokens.get("input", 0)
    assert both <= tokens.get("cached_input", 0)
    made = sum(tokens.get(kind, 0) for kind in ("reasoning", "audio_output", "image_output", "citation"))
    assert made <= tokens.get("output", 0)


@given(USAGES)
def test_units_and_costs_are_total(usage: dict[str, object]) -> None:
    """Whatever an upstream says, units are known ones above 0, and a cost is no negative number."""
    units, cost = units_of(usage), reported_cost(usage)
    assert set(units) <= set(UNITS)
    assert all(type(amount) is int and amount > 0 for amount in units.values())
    assert cost is None or (type(cost) is int and cost >= 0)


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        ({"type": "duration", "seconds": 9}, {"audio_ms": 9000}),
        ({"type": "duration", "seconds": 1.2345}, {"audio_ms": 1235}),
        ({"prompt_audio_seconds": 203, "prompt_tokens": 4}, {"audio_ms": 203_000}),
        ({"input_tokens": 5, "server_tool_use": {"web_search_requests": 2}}, {"searches": 2}),
        ({"num_search_queries": 21, "citation_tokens": 5}, {"searches": 21}),
        ({"type": "duration", "seconds": float("inf")}, {}),
        ({"type": "duration", "seconds": True}, {}),
        ({"prompt_tokens": 4}, {}),
    ],
)
def test_sound_and_searches(usage: dict[str, object], units: dict[str, int]) -> None:
    """OpenAI's and Mistral's seconds are milliseconds; Anthropic's and Perplexity's searches are counted."""
    assert units_of(usage) == units


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.00014}, 140_000),
        ({"cost": 0}, 0),
        ({"cost": {"input_tokens_cost": 0.01, "total_cost": 0.02}}, 20_000_000),
        ({"cost_in_usd_ticks": 37_756_000}, 3_775_600),
        ({"cost": "0.1"}, None),
        ({"cost": -1}, None),
        ({"cost": 1_000_000}, 10**15),
        ({"cost": 1_000_000.5}, None),
        ({"cost": {"total_cost": 1e9}}, None),
        ({"cost_in_usd_ticks": 10**16}, 10**15),
        ({"cost_in_usd_ticks": 10**16 + 1}, None),
        ({"cost": float("nan")}, None),
        ({}, None),
    ],
)
def test_what_an_upstream_says_it_charged(usage: dict[str, object], cost: int | None) -> None:
    """OpenRouter's and Perplexity's dollars and xAI's ticks are nano-dollars; more than a million is a mistake."""
    assert reported_cost(usage) == cost


def test_counts_beyond_any_answer_are_none() -> None:
    """Tokens, searches and seconds."""
    assert tokens_of({"prompt_tokens": MOST, "completion_tokens": MOST + 1}) == {"input": MOST}
    assert units_of({"num_search_queries": MOST + 1, "seconds": MOST / 1_000 + 1}) == {}
    assert units_of({"num_search_queries": MOST, "seconds": MOST / 1_000}) == {"searches": MOST, "audio_ms": MOST}


@given(st.lists(st.sampled_from([usage for usage, _ in GOLDEN.values()]), max_size=4))
def test_sums_keep_the_wholes(usages: list[dict[str, object]]) -> None:
    """Every count of the usage of several answers is the sum of theirs."""
    total: dict[str, object] = {}
    for usage in usages:
        total = sum_usages(total, usage)
    for name in ("total_tokens", "prompt_tokens", "output_tokens"):
        assert total.get(name, 0) == sum(count for usage in usages if isinstance(count := usage.get(name), int))


def test_a_realtime_session_adds_up() -> None:
    """Two responses of a session are twice one, details included, and neither is changed."""
    usage, tokens = GOLDEN["OpenAI, realtime: response.done"]
    both = sum_usages(usage, usage)
    assert tokens_of(both) == {kind: 2 * amount for kind, amount in tokens.items()}
    assert tokens_of(usage) == tokens
