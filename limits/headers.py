"""What a client is told of its limits, in OpenAI's words. Sans-IO.

https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
"""

from typing import Final, TypeAlias

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


_FIELDS: Final = b"x-ratelimit-limit-%b: %%d\r\nx-ratelimit-remaining-%b: %%d\r\nx-ratelimit-reset-%b: %%b\r\n"
_OF_REQUESTS: Final = _FIELDS % (b"requests", b"requests", b"requests")
_OF_TOKENS: Final = _FIELDS % (b"tokens", b"tokens", b"tokens")


def rate_limit(requests: Left | None, tokens: Left | None) -> bytes:
    """Three field lines for requests and three for tokens."""
    lines = b"" if requests is None else _OF_REQUESTS % (requests[0], requests[1], _duration(requests[2]))
    if tokens is not None:
        lines += _OF_TOKENS % (tokens[0], tokens[1], _duration(tokens[2]))
    return lines


def retry_after(ms: int) -> Headers:
    """Both spellings; nothing where it does not help to wait. Rounded up: who comes back then is not too early."""
    if ms < 0:
        return []
    return [(b"retry-after", b"%d" % -(-ms // 1_000)), (b"retry-after-ms", b"%d" % ms)]
