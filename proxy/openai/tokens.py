"""A usage object → what was used, by kind. Sans-IO and total: what is not understood is left out.

Every upstream names its counts differently, and they disagree on what is part of what. Here `input`
and `output` are all tokens that went in and came out, and every other kind of token is a *part*
(`PARTS`): what is priced is the whole, and what a part costs more or less. So nothing is priced
twice, and who knows only the two wholes still adds up.

    input   cached_input, cache_write (of it cache_write_1h), audio_input, image_input
            cached_audio_input: both cached and audio; cached_image_input: both cached and an image
    output  reasoning, audio_output, image_output, citation

Where upstreams count differently:

    Anthropic's own names    input_tokens leaves out what was read from and written to its cache
    xAI, Gemini (compatible) completion_tokens leaves out reasoning, total_tokens does not
    Perplexity               reasoning_tokens and citation_tokens stand beside completion_tokens
    Mistral (audio)          total_tokens has tokens of sound that prompt_tokens has not
    Voyage                   total_tokens alone

Parts that do not fit into their whole are cut to it; sound and images overlap with what was cached
as far as they must.
"""

from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType
from typing import Final

__all__ = ["MAX_COUNT", "PARTS", "TOKENS", "UNITS", "reported_cost", "sum_usages", "tokens_of", "units_of", "used_of"]

PARTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "cached_input": ("input",),
    "cache_write": ("input",),
    "cache_write_1h": ("cache_write",),
    "audio_input": ("input",),
    "cached_audio_input": ("cached_input", "audio_input"),
    "image_input": ("input",),
    "cached_image_input": ("cached_input", "image_input"),
    "reasoning": ("output",),
    "audio_output": ("output",),
    "image_output": ("output",),
    "citation": ("output",),
})  # fmt: skip
"""Kinds of tokens that are part of another, or of two at once."""

TOKENS: Final = ("input", "output", *PARTS)
UNITS: Final = ("audio_ms", "searches", "images", "characters")
"""What is paid for beside tokens: milliseconds of sound, searches of the web, images made, characters spoken.
The last two stand in no usage object; who reads the request knows them."""

MAX_COUNT: Final = 1 << 36
MAX_SECONDS: Final = MAX_COUNT / 1_000
MAX_DOLLARS: Final = 1_000_000
"""What is beyond these is a mistake, and no answer's."""
MAX_DEPTH: Final = 4
NANO: Final = 1_000_000_000
MAX_TICKS: Final = MAX_DOLLARS * 10_000_000_000
NANO_PER_TICK: Final = 10  # xAI's: 10,000,000,000 a dollar
_NONE: Final[Mapping[str, object]] = MappingProxyType({})
_USUAL: Final = frozenset(
    ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"]
)
"""All that most answers tell."""


def tokens_of(usage: Mapping[str, object]) -> dict[str, int]:
    """Tokens by kind (`TOKENS`), each above 0; the parts of a whole together are no more than it."""
    plain = _plain(usage)
    if plain is not None:
        return plain
    tokens: dict[str, int] = {}
    taken = _input(usage, tokens)
    made = _output(usage, tokens)
    total = _count(usage.get("total_tokens"))
    if total > taken + made:
        _add_the_rest(usage, tokens, total - taken - made)
    if len(tokens) > ("input" in tokens) + ("output" in tokens):
        _fit(tokens)
    return tokens


def _plain(usage: Mapping[str, object]) -> dict[str, int] | None:
    """Of two wholes that add up, with nothing beside them but noughts: as nearly all are, so that it pays to ask first.

    None where there is more to it.
    """
    asked, made = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if (
        type(asked) is int
        and type(made) is int
        and 0 < asked <= MAX_COUNT
        and 0 < made <= MAX_COUNT
        and usage.get("total_tokens") == asked + made
        and usage.keys() <= _USUAL
        and not any(_details(usage, "prompt_tokens_details").values())
        and not any(_details(usage, "completion_tokens_details").values())
    ):
        return {"input": asked, "output": made}
    return None


def used_of(usage: Mapping[str, object]) -> tuple[dict[str, int], int | None]:
    """Tokens and units by kind, and the cost that is told with them: what `tokens_of` and the other two say."""
    plain = _plain(usage)
    if plain is not None:
        return plain, None
    return tokens_of(usage) | units_of(usage), reported_cost(usage)


def units_of(usage: Mapping[str, object]) -> dict[str, int]:
    """What is no token, by kind (`UNITS`), each above 0."""
    units = {}
    for name in ("seconds", "prompt_audio_seconds", "billable_audio_seconds"):
        seconds = usage.get(name)
        if (type(seconds) is int or type(seconds) is float) and 0 < seconds <= MAX_SECONDS:
            if milliseconds := int(seconds * 1000 + 0.5):
                units["audio_ms"] = milliseconds
            break
    searches = _count(_inner(usage, "server_tool_use").get("web_search_requests")) or _count(
        usage.get("num_search_queries")
    )
    if searches:
        units["searches"] = searches
    return units


def reported_cost(usage: Mapping[str, object]) -> int | None:
    """Nano-dollars that the upstream says it charged (OpenRouter, Perplexity, xAI); its word, not a price."""
    ticks = usage.get("cost_in_usd_ticks")
    if type(ticks) is int and 0 <= ticks <= MAX_TICKS:
        return (ticks + NANO_PER_TICK // 2) // NANO_PER_TICK
    cost = usage.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if (type(cost) is int or type(cost) is float) and isfinite(cost) and 0 <= cost <= MAX_DOLLARS:
        return int(cost * NANO + 0.5)
    return None


def sum_usages(before: Mapping[str, object] | None, used: Mapping[str, object]) -> dict[str, object]:
    """The usage of several answers as one: a realtime session's. Counts are added up, also inside of details."""
    return _sum(before or _NONE, used, MAX_DEPTH)


def _sum(before: Mapping[str, object], used: Mapping[str, object], depth: int) -> dict[str, object]:
    total = dict(before)
    for name, value in used.items():
        known = total.get(name)
        if isinstance(value, dict) and depth and (known is None or isinstance(known, dict)):
            total[name] = _sum(known or _NONE, value, depth - 1)
        elif _is_number(value) and _is_number(known):
            total[name] = known + value  # type: ignore[operator]
        elif known is None:
            total[name] = value
    return total


def _is_number(value: object) -> bool:
    return type(value) is int or type(value) is float


def _input(usage: Mapping[str, object], tokens: dict[str, int]) -> int:
    get = usage.get
    details = _details(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    whole = _count(get("prompt_tokens"))
    read = written = 0
    if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
        read, written = _count(get("cache_read_input_tokens")), _count(get("cache_creation_input_tokens"))
    if not whole:
        whole = _count(get("input_tokens"))
        if not details:
            whole += read + written
    if not whole:
        return 0
    tokens["input"] = whole
    if details:
        read = _count(details.get("cached_tokens")) or _count(details.get("cache_read_input_tokens")) or read
        written = _count(details.get("cache_write_tokens")) or _count(details.get("cache_creation_tokens")) or written
        _sound_and_images(details, tokens)
    if not read:
        read = _count(get("prompt_cache_hit_tokens")) or _count(get("cached_tokens"))
    if read:
        tokens["cached_input"] = read
    if written:
        tokens["cache_write"] = written
        if longer := _count(_inner(usage, "cache_creation").get("ephemeral_1h_input_tokens")):
            tokens["cache_write_1h"] = longer
    return whole


def _sound_and_images(details: Mapping[str, object], tokens: dict[str, int]) -> None:
    sound, images = _count(details.get("audio_tokens")), _count(details.get("image_tokens"))
    if not sound and not images:
        return
    cached = _inner(details, "cached_tokens_details")
    found = {
        "audio_input": sound,
        "image_input": images,
        "cached_audio_input": _count(cached.get("audio_tokens")),
        "cached_image_input": _count(cached.get("image_tokens")),
    }
    tokens.update({kind: amount for kind, amount in found.items() if amount})


def _output(usage: Mapping[str, object], tokens: dict[str, int]) -> int:
    get = usage.get
    whole = _count(get("completion_tokens")) or _count(get("output_tokens"))
    if whole:
        tokens["output"] = whole
    details = _details(usage, "completion_tokens_details", "output_tokens_details", "output_token_details")
    if details:
        reasoning = _count(details.get("reasoning_tokens")) or _count(details.get("thinking_tokens"))
        if reasoning:
            tokens["reasoning"] = reasoning
        if sound := _count(details.get("audio_tokens")):
            tokens["audio_output"] = sound
        if images := _count(details.get("image_tokens")):
            tokens["image_output"] = images
    if "reasoning_tokens" in usage and "reasoning" not in tokens:
        _beside(usage, tokens, whole)
        whole = tokens.get("output", 0)
    return whole


def _beside(usage: Mapping[str, object], tokens: dict[str, int], whole: int) -> None:
    """Reasoning that is told on the top level: beside the output where it is more than that, or citations are too."""
    reasoning, citation = _count(usage.get("reasoning_tokens")), _count(usage.get("citation_tokens"))
    if reasoning:
        tokens["reasoning"] = reasoning
    if citation:
        tokens["citation"] = citation
    if citation or reasoning > whole:
        tokens["output"] = whole + reasoning + citation


def _add_the_rest(usage: Mapping[str, object], tokens: dict[str, int], rest: int) -> None:
    """Tokens of the total that neither side names."""
    if "prompt_audio_seconds" in usage:
        return
    if "input" not in tokens and "output" not in tokens:
        tokens["input"] = rest
    elif "input" in tokens and rest == tokens.get("cached_input", 0) + tokens.get("cache_write", 0):
        tokens["input"] += rest
    elif "completion_tokens" in usage or "output_tokens" in usage or "reasoning" in tokens:
        tokens["output"] = tokens.get("output", 0) + rest
        tokens.setdefault("reasoning", rest)


def _fit(tokens: dict[str, int]) -> None:
    """Cuts parts to their wholes. What overlaps is cached sound first, then cached images."""
    get = tokens.get
    left = get("input", 0)
    cached = min(get("cached_input", 0), left)
    written = min(get("cache_write", 0), left - cached)
    sound = min(get("audio_input", 0), left)
    images = min(get("image_input", 0), left - sound)
    cached_sound = min(get("cached_audio_input", 0), cached, sound)
    cached_images = min(get("cached_image_input", 0), cached - cached_sound, images)
    over = cached + written + sound + images - cached_sound - cached_images - left
    if over > 0:
        more = min(over, sound - cached_sound, cached - cached_sound - cached_images)
        cached_sound += more
        over -= more
        more = min(over, images - cached_images, cached - cached_sound - cached_images)
        cached_images += more
        written -= over - more
    made = get("output", 0)
    reasoning = min(get("reasoning", 0), made)
    spoken = min(get("audio_output", 0), made - reasoning)
    drawn = min(get("image_output", 0), made - reasoning - spoken)
    fitted = (
        ("cached_input", cached),
        ("cache_write", written),
        ("cache_write_1h", min(get("cache_write_1h", 0), written)),
        ("audio_input", sound),
        ("cached_audio_input", cached_sound),
        ("image_input", images),
        ("cached_image_input", cached_images),
        ("reasoning", reasoning),
        ("audio_output", spoken),
        ("image_output", drawn),
        ("citation", min(get("citation", 0), made - reasoning - spoken - drawn)),
    )
    for kind, amount in fitted:
        if amount:
            tokens[kind] = amount
        elif kind in tokens:
            del tokens[kind]


def _count(value: object) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value <= MAX_COUNT else 0


def _details(usage: Mapping[str, object], *names: str) -> Mapping[str, object]:
    for name in names:
        found = usage.get(name)
        if isinstance(found, dict):
            return found
    return _NONE


def _inner(usage: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = usage.get(name)
    return found if isinstance(found, dict) else _NONE
