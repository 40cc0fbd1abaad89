"""Questions as the visitors of one large site ask them, made of a few hundred words: what for, of what, in which case,
and in which words.
"""

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["KNOWN", "Wish", "asked", "fresh", "known", "near", "reworded", "wishes"]

FRAMES: Final = (
    *("how do I {}?", "how can I {}?", "how to {}", "what is the way to {}?", "can you tell me how to {}?"),
    *("could you explain how to {}?", "please tell me how I can {}", "is it possible to {}?", "am I able to {}?"),
    *("where do I {}?", "what are the steps to {}?", "I would like to {}. What do I have to do?", "I need to {}"),
    *("do you know how to {}?", "what should I do to {}?", "who can help me {}?", "why can't I {}?"),
)
ACTIONS: Final = (
    *("cancel", "renew", "change", "pay for", "download", "print", "share", "move", "delete", "restore", "upgrade"),
    *("replace", "register", "activate", "extend", "return", "insure", "rate", "translate", "schedule", "verify"),
    *("export", "import", "archive", "encrypt", "reset", "compare", "order", "repair", "rent", "sell", "transfer"),
    *("hide", "merge", "rename", "duplicate", "lock", "track", "dispute", "appeal", "correct", "publish", "sign"),
)
THINGS: Final = (
    *("subscription", "password", "invoice", "booking", "insurance policy", "library card", "driving licence"),
    *("phone number", "delivery address", "bank account", "credit card", "profile picture", "calendar", "playlist"),
    *("photo album", "newsletter", "gift voucher", "train ticket", "boarding pass", "hotel room", "rental car"),
    *("washing machine", "bicycle", "parking permit", "tax return", "passport", "visa application", "work permit"),
    *("membership", "loyalty points", "prescription", "blood test", "vaccination record", "appointment", "diet plan"),
    *("mortgage", "savings plan", "pension", "electricity contract", "gas meter", "water bill", "internet router"),
    *("mobile plan", "e-mail signature", "mailing list", "shared folder", "spreadsheet", "presentation", "contract"),
    *("domain name", "web page", "database", "server", "API key", "test report", "source file", "pull request"),
    *("course", "exam", "school report", "scholarship", "student loan", "thesis", "museum pass", "season ticket"),
    *("garden shed", "roof", "kitchen sink", "heating", "smoke alarm", "front door", "dishwasher", "carpet"),
    *("dog licence", "cat flap", "fish tank", "bird cage", "riding lesson", "swimming course", "climbing rope"),
    *("wedding dress", "birthday cake", "flower bouquet", "wine cellar", "recipe", "shopping list", "coffee grinder"),
)
CASES: Final = (
    *("", "", "", "", "after the trial has ended", "before the end of the month", "from another country"),
    *("without a smartphone", "for my mother", "for a friend", "on a tablet", "in the evening", "while travelling"),
    *("with a company account", "as a guest", "as a student", "in two steps", "by letter", "over the telephone"),
    *("if it was damaged", "if it is too old", "because I moved", "because the price went up", "for three people"),
    *(
        "in French",
        "at the airport",
        "near the station",
        "during the holidays",
        "when nobody answers",
        "free of charge",
    ),
    *("with a discount code", "without losing data", "more than once", "at the weekend", "through the app"),
)


KNOWN: Final = 20
"""Questions that `reworded` has other words for."""
SAME: Final = (
    *("how can I {}?", "how to {}", "what is the way to {}?", "can you tell me how to {}?", "do you know how to {}?"),
    *("could you explain how to {}?", "please tell me how I can {}", "what are the steps to {}?", "how do I {}?"),
)
BEFORE: Final = ("please, ", "hello, ", "hi, ", "good morning, ", "excuse me, ", "hey, ", "hello there, ", "hi there, ")
AFTER: Final = ("", " please", " thanks", " thank you", " many thanks", " thanks in advance")
STRIDE: Final = 48_271
"""Has no divisor in common with the number of wishes, so that neighbours have little in common."""


class Wish(NamedTuple):
    action: str
    thing: str
    case: str


def wishes(draw: random.Random) -> Iterator[Wish]:
    """None comes twice; there are some 100,000."""
    seen: set[Wish] = set()
    while True:
        wish = Wish(draw.choice(ACTIONS), draw.choice(THINGS), draw.choice(CASES))
        if wish not in seen:
            seen.add(wish)
            yield wish


def near(wish: Wish, draw: random.Random) -> Wish:
    """Another one, of which one part differs."""
    match draw.randrange(3):
        case 0:
            return wish._replace(action=draw.choice(ACTIONS))
        case 1:
            return wish._replace(case=draw.choice(CASES))
    return wish._replace(thing=draw.choice(THINGS))


def asked(wish: Wish, draw: random.Random) -> str:
    """In any words."""
    return draw.choice(FRAMES).format(_words(wish))


def known(number: int) -> str:
    """One of KNOWN."""
    return f"how do I {_words(_wish(number % KNOWN))}?"


def reworded(number: int) -> str:
    """`known(number)` in words that mean the same, whatever similarity they have; none of them is known."""
    rest, at = divmod(number, KNOWN)
    rest, before = divmod(rest, len(BEFORE))
    rest, after = divmod(rest, len(AFTER))
    return f"{BEFORE[before]}{SAME[rest % len(SAME)].format(_words(_wish(at)))}{AFTER[after]}"


def fresh(number: int) -> str:
    """One that has another number is another question, for a hundred thousand of them."""
    return FRAMES[number % len(FRAMES)].format(_words(_wish(number)))


def _wish(number: int) -> Wish:
    rest, action = divmod(number * STRIDE, len(ACTIONS))
    rest, thing = divmod(rest, len(THINGS))
    return Wish(ACTIONS[action], THINGS[thing], CASES[3 + rest % (len(CASES) - 3)])


def _words(wish: Wish) -> str:
    return f"{wish.action} my {wish.thing} {wish.case}".strip()
