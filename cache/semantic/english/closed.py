"""The closed classes of English, and what it means when a word of one is on one side only."""

from typing import Final

from cache.semantic.english.lexicon import listed

__all__ = [
    "ALWAYS_LIGHT", "COMPARATIVE", "DEEDS", "EMPTY", "FIRST", "HEADS", "HEDGES", "MODALS", "MUST", "NEGATIONS",
    "PEOPLE", "PERSONS", "PREPOSITIONS", "REDUNDANT", "SECOND", "THIRD", "TIMES", "WH",
]  # fmt: skip

EMPTY: Final = listed("a an the some is are am be been being there . , s 's")
"""Says nothing between the other words; dropped when prepared."""
HEDGES: Final = listed("please um uh er erm hmm kindly basically honestly frankly umm uhh err ah oh lol")
"""Colours a question without changing it; dropped when prepared."""
PEOPLE: Final = listed(
    "child kid baby boy girl adult man woman parent student pupil teacher senior pensioner member guest visitor"
    " customer client user employee staff worker manager nurse doctor patient prisoner tenant landlord agent owner"
    " buyer seller driver passenger player employer company bank veteran smoker dog cat pet horse animal people person"
)
"""A thing may be for them or about them: *the price for dogs*, *of dogs*."""
DEEDS: Final = listed(
    "cancel renew return change update edit modify amend alter reset activate deactivate enable disable close delete"
    " upgrade downgrade extend transfer pay book reserve make reschedule postpone delay move track submit file lodge"
    " apply applyfor register withdraw unlock unblock restore recover repair fix mend replace exchange swap sell insure"
    " clean wash charge lose redeem claim freeze pause connect pair link set setup install uninstall verify download"
    " upload print scan bring take carry wear need cook feed train walk groom treat bathe lower improve increase reduce"
    " save backup restart reboot protect sync enroll create start ship send sendback collect pickup dispose keep"
    " recycle store remove format prune plant water grow descale unclog repot build write rent park appeal contest"
    " dispute challenge complain add use request order end terminate stop switch turnoff turnon mute archive rename"
    " resize crop merge split drive renew refinance repay deposit invest retake resit pass fail study"
    " prepare improve translate convert wrap hang paint strip sand rewire bleed drain thaw defrost reheat boil roast"
)
"""What is done to one's own, so that *a* booking is *my* booking: what is blocked, found, hidden, reported may be
another's.
"""
NEGATIONS: Final = listed("not no never none nobody nothing nowhere neither nor non cannot hardly neednot")
WH: Final = listed("how what when where who whom whose why which ¿ exist price deadline")
MODALS: Final = listed(
    "can could may might must shall should will would ought dare past was passive perf able_ may_ okay_ safe_ way_"
)
TIMES: Final = listed(
    "today tomorrow yesterday tonight now before after since until till during while when ago later early"
    " earlier soon still already yet again once twice always ever often sometimes usually rarely seldom"
    " monthly daily weekly yearly annually hourly quarterly annual nightly morning afternoon evening night"
    " noon midnight weekend weekday midday recently immediately permanently temporarily overnight ongoing"
    " forever spring summer autumn fall winter christmas easter decade century fortnight hour day week"
    " month year minute midweek"
)
COMPARATIVE: Final = listed(
    "more less most least fewer fewest better best worse worst than bigger biggest larger largest smaller"
    " smallest higher highest lower lowest longer longest shorter shortest older oldest younger youngest"
    " newer newest faster fastest slower slowest cheaper cheapest safest safer easier easiest harder"
    " hardest stronger strongest weaker weakest closer closest nearer nearest further farther richer"
    " richest poorest hotter hottest colder coldest earliest latest greatest greater maximum minimum max"
    " min top bottom too enough very"
)
MUST: Final = listed(
    "without except excluding including only all every each both either neither first last next previous"
    " old new if unless whether though although because instead just even also another other same"
    " different half double second many much few several any whole versus or and but yes against off out"
    " up down over under above below between part full not only less plus minus per self abroad overseas"
    " upside back away together alone apart exactly precisely about over upto atleast atmost morethan"
    " lessthan roughly approximately outof infrontof instead insteadof becauseof incaseof assoonas afew"
    " alittle"
)
"""Changes what is asked wherever it stands, so it stands on both sides or the questions differ."""
PREPOSITIONS: Final = listed(
    "of in on at for to from by with about into onto through via within inside outside near across toward"
    " along around behind beside beyond among upon as like regarding concerning throughout despite past"
    " amid opposite @"
)
FIRST: Final = listed("i me my mine myself")
SECOND: Final = listed("you your yours yourself yourselves")
THIRD: Final = listed(
    "he him his she her hers himself herself they them their theirs themselves we us our ours ourselves"
    " it its itself this that these those someone somebody anyone anybody everyone everybody one ones"
)
PERSONS: Final = FIRST | SECOND | THIRD

ALWAYS_LIGHT: Final = listed("'s perf")
"""On one side only, changes nothing."""


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
pin isbn iban vin imei > number|atm > machine|lcd led > display|pdf csv jpeg png mp3 > file
hiv > virus|wifi > network|washing > machine
application registration approval verification cancellation > process procedure
""")
"""A head that adds nothing to the noun before it: *contents insurance policy*."""
REDUNDANT: Final = _bigrams("""
swimming > pool|end > result|past > history|airplane plane > flight|zip postal > code
added > bonus|close > proximity|driving driver drivers > license|rail > ticket|phone telephone > number
""")
"""A modifier that its noun implies: *swimming pool*. A free modifier (joint account) is never here."""
