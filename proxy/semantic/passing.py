"""Questions of one person or of a moment: an answer to one is none to the next who asks it. Sans-IO."""

import re
from typing import Final

__all__ = ["USUAL", "usual"]

USUAL: Final = (
    *("my order", "my parcel", "my delivery", "my booking", "my flight", "my balance", "my appointment"),
    *("my results", "my password is", "my name is", "today", "tonight", "tomorrow", "yesterday", "right now"),
    *("at the moment", "currently", "this week", "this month", "this year", "latest", "breaking", "price of"),
    *("stock price", "exchange rate", "weather", "forecast", "what time is it", "news"),
)
"""What is of one person, or does not hold for long."""
_MAYBE_TOLD: Final = (
    "allowed|able|entitled|eligible|required|liable|covered|obliged|obligated|supposed|permitted|insured|responsible"
    "|protected|charged|taxed|paid|going|legally|automatically|meant|free|still|also|not|only|being|using|doing|seeing"
    "|getting"
)
"""Behind *am I* these ask for a rule."""
_TRADED: Final = (
    "bitcoin|btc|ethereum|eth|crypto|gold|silver|copper|oil|gas|petrol|diesel|fuel|gasoline|share|spot|house"
)
_OFFICES: Final = (
    "president|prime\\s+minister|chancellor|king|queen|pope|ceo|mayor|governor|champions?|leader|minister|price|rate|rates"
    "|time|date|year|version|record|holder|status|temperature|score|population"
)
_CONTESTS: Final = (
    "match|game|fight|race|election|elections|debate|final|finals|cup|series|toss|title|championship|tournament|derby"
    "|lottery|raffle|oscar|oscars|show|season"
)
_PATTERNS: Final = (
    rf"\A\W*(?:so\W+|and\W+|hi\W+|hey\W+)?am\s+i\s+(?!(?:{_MAYBE_TOLD})\b)\w+",
    r"\b(?:who|where|how\s+old|how\s+tall)\s+am\s+i\b",
    r"\bwhat(?:'s|\s+is)\s+my\s+(?:name|age|birthday|salary|address)\b",
    r"\b(?:did|have)\s+i\s+(?:just\s+)?(?:ask(?:ed)?|say|said|tell|told|mention(?:ed)?|wr[io]te|written)\b",
    r"\bdo\s+you\s+remember\b|\bmy\s+(?:last|previous|first|earlier)\s+(?:question|message)s?\b",
    r"\b(?:do\s+i\s+have|have\s+i\s+got|have\s+i|i\s+have)\s+left\b",
    (
        r"\bwhen\s+(?:does|do|is|are|will|did)\s+my\s+(?:\w+\s+){1,3}?(?:end|ends|expire|expires|due|start|begin"
        r"|finish|arrive"
        r"|run\s+out|renew|over)\b"
    ),
    rf"\b(?:{_TRADED})\s+prices?\b|\bcurrent\s+(?:{_OFFICES})\b",
    r"\b(?:open|closed|available|live|playing|streaming|raining|snowing|happening|on)\s+now\b",
    r"\bwhat\s+(?:day|date|month|year|week)(?:\s+of\s+the\s+\w+)?\s+is\s+(?:it|this)\b",
    r"\bwhat(?:'s|\s+is)\s+the\s+(?:date|day|year|time|score)\W*\Z",
    rf"\bwho(?:'s|\s+is|\s+has)?\s+(?:won|winning)\s+the\s+(?:\w+\s+)?(?:{_CONTESTS})\b(?!.{{0,200}}\d)",
    r"\b(?:roll|throw|toss|flip)\s+(?:a|the|two|some)\s+(?:die|dice|coins?)\b",
    (
        r"\A\W*(?:(?:please|can\s+you|could\s+you|would\s+you|now|ok|okay)\W+){0,3}(?:generate|give|tell|show|pick"
        r"|choose|create|make"
        r"|suggest|name|think\s+of|write|send|do|draw|say)\s+(?:(?:me|us)\s+)?(?:(?:a|an|some|one)\s+)?(?:\w+\s+)?"
        r"(?:random|another|more)\b"
    ),
    r"\A\W*(?:another|one\s+more|once\s+more|again|more|continue|go\s+on|surprise\s+me|next)\b[^?]{0,20}\Z",
)
usual: Final = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS), re.IGNORECASE | re.DOTALL).search
"""Where a question is of their kind, though it holds none of these phrases. Repetitions are bounded: linear."""
