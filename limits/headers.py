"""What a client is told of its limits, in OpenAI's words. Sans-IO.

https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from limits.policy import Kind, Limit, Mode

__all__ = ["duration", "rate_limit", "retry_after"]

Headers: TypeAlias = list[tuple[bytes, bytes]]

FAMILIES: Final = {
    Kind.REQUESTS: "requests",
    Kind.DAILY: "requests",
    Kind.TOKENS: "tokens",
}
_NAMES: Final = {
    family: tuple(f"x-ratelimit-{what}-{family}".encode() for what in ("limit", "remaining", "reset"))
    for family in ("requests", "tokens")
}


def duration(ms: int) -> str:
    """As Go writes them: "17ms", "1.2s", "6m0s", "24h0m0s"."""
    if 0 < ms < 1_000:
        return f"{ms}ms"
    seconds, thousandths = divmod(max(0, ms), 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{seconds}.{thousandths:03}".rstrip("0") + "s" if thousandths else f"{seconds}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def rate_limit(states: Sequence[tuple[Limit, int, int]]) -> Headers:
    """Three headers for requests and three for tokens, of the limit that comes first to its end. `states`: as State.

    None of a limit in shadow mode: it holds up nobody.
    """
    tightest: dict[str, tuple[Limit, int, int]] = {}
    for state in states:
        limit, remaining, reset = state
        family = FAMILIES.get(limit.kind)
        if family is None or limit.mode is Mode.SHADOW:
            continue
        best = tightest.get(family)
        if best is None or remaining < best[1] or (remaining == best[1] and reset > best[2]):
            tightest[family] = state
    headers: Headers = []
    for family, (limit, remaining, reset) in tightest.items():
        values = (b"%d" % limit.amount, b"%d" % remaining, duration(reset).encode())
        headers += zip(_NAMES[family], values, strict=True)
    return headers


def retry_after(ms: int) -> Headers:
    """Both spellings; nothing where it does not help to wait. Rounded up: who comes back then is not too early."""
    if ms < 0:
        return []
    return [(b"retry-after", b"%d" % -(-ms // 1_000)), (b"retry-after-ms", b"%d" % ms)]
