"""The closed classes of English, and what it means when a word of one is on one side only."""

from typing import Final

from cache.semantic.english.lexicon import listed

__all__ = [
    "ALWAYS_LIGHT", "COMPARATIVE", "EMPTY", "FIRST", "HEADS", "HEDGES", "MODALS", "MUST", "NEGATIONS", "NOTHING_ADDED",
    "PERSONS", "PREPOSITIONS", "REDUNDANT", "SECOND", "THIRD", "TIMES", "WH",
]  # fmt: skip

EMPTY: Final = listed("a an the some is are am be been being there . , s 's")
"""Says nothing between the other words; dropped when prepared."""
HEDGES: Final = listed(
    "please um uh er erm hmm kindly basically literally honestly frankly actually really simply umm uhh err ah oh"
    " currently lol exactly precisely"
)
"""Colours a question without changing it; dropped when prepared."""
NEGATIONS: Final = listed("not no never none nobody nothing nowhere neither nor non cannot hardly")
WH: Final = listed("how what when where who whom whose why which ¿ exist price deadline")
MODALS: Final = listed("can could may might must shall should will would ought dare past")
TIMES: Final = listed(
    "today tomorrow yesterday tonight now before after since until till during while when ago later early earlier soon"
    " still already yet again once twice always ever often sometimes usually rarely seldom monthly daily weekly yearly"
    " annually hourly quarterly annual nightly morning afternoon evening night noon midnight weekend weekday midday"
    " recently immediately permanently temporarily overnight ongoing forever spring summer autumn fall winter"
    " christmas easter decade century fortnight hour day week month year minute midweek"
)
COMPARATIVE: Final = listed(
    "more less most least fewer fewest better best worse worst than bigger biggest larger largest smaller smallest higher"
    " highest lower lowest longer longest shorter shortest older oldest younger youngest newer newest faster fastest"
    " slower slowest cheaper cheapest safest safer easier easiest harder hardest stronger strongest weaker weakest"
    " closer closest nearer nearest further farther richer richest poorest hotter hottest colder coldest earliest latest"
    " greatest greater maximum minimum max min top bottom too enough very"
)
MUST: Final = listed(
    "without except excluding including only all every each both either neither first last next previous old new if"
    " unless whether though although because instead just even also another other same different half double second"
    " many much few several any whole versus or and but yes against off out up down over under above below between"
    " part full not only less plus minus per self abroad overseas upside back away together alone apart"
)
"""Changes what is asked wherever it stands, so it stands on both sides or the questions differ."""
PREPOSITIONS: Final = listed(
    "of in on at for to from by with about into onto through via within inside outside near across toward along around"
    " behind beside beyond among upon as like regarding concerning throughout despite past amid opposite @"
)
FIRST: Final = listed("i me my mine myself")
SECOND: Final = listed("you your yours yourself yourselves")
THIRD: Final = listed(
    "he him his she her hers himself herself they them their theirs themselves we us our ours ourselves it its itself"
    " this that these those someone somebody anyone anybody everyone everybody one ones"
)
PERSONS: Final = FIRST | SECOND | THIRD

ALWAYS_LIGHT: Final = listed("my our 's so then")
"""On one side only, changes nothing: *cancel a reservation*, *cancel my reservation*."""
NOTHING_ADDED: Final = listed(
    "possible available specific particular certain actual entire exact own various generally normally typically usually"
    " personally successfully properly correctly information detail page website site section option feature facility"
    " kind type sort"
)
"""The one leftover word that restricts nothing."""


def _bigrams(text: str) -> frozenset[tuple[str, str]]:
    return frozenset(
        (first, second)
        for group in text.replace("\n", "|").split("|")
        if group.strip()
        for firsts, seconds in [group.split(">")]
        for first in firsts.split()
        for second in seconds.split()
    )


HEADS: Final = _bigrams("""
insurance cover coverage warranty return refund cancellation privacy leave exchange > policy
delivery shipping cleaning streaming broadband internet courier postal dating repair removal > service
application registration checkout hiring recruitment approval verification claim appeal refund return > process procedure
application registration approval verification cancellation > process procedure
savings checking paypal gmail netflix spotify instagram facebook twitter linkedin github amazon tiktok > account
pin isbn iban vin imei > number|atm > machine|lcd led > display|pdf csv excel word zip jpeg jpg png mp3 mp4 json xml > file
excel google > spreadsheet|python java javascript rust kotlin scala ruby swift php > language
paypal klarna venmo > payment|vat > tax|hiv flu > virus|covid > pandemic|dishwasher washing > machine
iphone pixel android samsung > phone|macbook chromebook > laptop|hiit > workout|salsa tango > dance|yoga pilates > exercise
tuna salmon > fish|oak pine maple > tree|rose tulip > flower|wifi > network|gps > system|pizza > pie|bitcoin > currency
""")
"""A head that adds nothing to the noun before it: *contents insurance policy*."""
REDUNDANT: Final = _bigrams("""
phone telephone > number|swimming > pool|email > address|final > outcome|end > result|free > gift|past > history
tuition > fee|rail train > ticket|postage > cost|programming coding > language|computer > software|zip postal > code
added > bonus|future > plan|advance > warning|safe > haven|job employment > vacancy|airline > flight|airplane plane > ticket
drivers driver driving > license|credit > rating|web > browser|internet > browser|mobile cell > phone|birthday > card
monetary > amount|physical > exercise|close > proximity|city > town|kitchen > oven|tax > return|debit > card
""") & _bigrams("""
swimming > pool|end > result|free > gift|past > history|programming coding > language|web internet > browser
mobile cell > phone|airplane plane > flight|zip postal > code|email > address|added > bonus|close > proximity
driving driver drivers > license|physical > exercise
""")
"""A modifier that its noun implies: *swimming pool*. A free modifier (joint account) is never here."""
