"""What a client is told of its limits, in OpenAI's words. Sans-IO.

https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
"""

from typing import TypeAlias

__all__ = ["Left", "duration", "rate_limit", "retry_after", "tightest"]

Headers: TypeAlias = list[tuple[bytes, bytes]]

Left: TypeAlias = tuple[int, int, int]
"""The amount of a limit, what remains of it, and the milliseconds until all of it is there again."""


def _duration(ms: int) -> bytes:
    return b"%dms" % ms if 0 < ms < 1_000 else duration(ms).encode() if ms > 0 else b"0s"


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


def tightest(one: Left, other: Left) -> Left:
    """Which comes first to its end."""
    if other[1] < one[1] or (other[1] == one[1] and other[2] > one[2]):
        return other
    return one


def rate_limit(headers: Headers, requests: Left | None, tokens: Left | None) -> None:
    """Three headers more for requests and three for tokens."""
    if requests is not None:
        amount, remaining, reset = requests
        headers += (
            (b"x-ratelimit-limit-requests", b"%d" % amount),
            (b"x-ratelimit-remaining-requests", b"%d" % remaining),
            (b"x-ratelimit-reset-requests", _duration(reset)),
        )
    if tokens is not None:
        amount, remaining, reset = tokens
        headers += (
            (b"x-ratelimit-limit-tokens", b"%d" % amount),
            (b"x-ratelimit-remaining-tokens", b"%d" % remaining),
            (b"x-ratelimit-reset-tokens", _duration(reset)),
        )


def retry_after(ms: int) -> Headers:
    """Both spellings; nothing where it does not help to wait. Rounded up: who comes back then is not too early."""
    if ms < 0:
        return []
    return [(b"retry-after", b"%d" % -(-ms // 1_000)), (b"retry-after-ms", b"%d" % ms)]
