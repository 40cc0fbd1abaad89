"""Answers that say, in words and no field, that there will be none. Sans-IO; English only."""

import re
from typing import Final

__all__ = ["is_refusal"]

LONGEST: Final = 600
"""Characters; who says more than that has said something."""
_REFUSED: Final = re.compile(
    r"\A\W{0,8}(?:(?:(?:i'm|i am)\s+(?:\w+\s+)?sorry|sorry|(?:i|we)\s+apologi[sz]e|my\s+apologies"
    r"|unfortunately|regrettably"
    r"|thank\s+you[^.!]{0,80}|as\s+an?\s+(?:ai|artificial|language|large)[^,.]{0,80})[^\w']{1,4})?"
    r"(?:(?:but|however|for\s+(?:that|the\s+\w+)|about\s+that|though|as\s+an?\s+ai[^,.]{0,80})[^\w']{1,4}){0,3}"
    r"(?:i|we)(?:\s+(?:can't|cannot|can\s+not|won't|will\s+not|couldn't|must\s+decline|have\s+to\s+decline|decline"
    r"|don't\s+feel\s+comfortable|do\s+not\s+feel\s+comfortable|don't\s+have\s+(?:access|the\s+ability|information)"
    r"|do\s+not\s+have\s+(?:access|the\s+ability|information))"
    r"|(?:'m|\s+am|'re|\s+are)\s+(?:unable|not\s+able|not\s+allowed|not\s+permitted|not\s+comfortable))\b"
    r"(?!\s+(?:wait|stress|emphasi[sz]e|recommend|overstate|thank))",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """The usual phrases, at the start of a short answer."""
    return len(text) <= LONGEST and _REFUSED.search(text.replace("’", "'")) is not None
