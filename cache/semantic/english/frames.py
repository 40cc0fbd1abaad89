"""The forms of a question mapped to one: greetings and hedges dropped, frames of asking made equal.

A rule is a pattern over the words of a sentence, joined by blanks, and what stands in its place.
`how i` is every way to ask for a way, `can i` for leave or possibility, `must i` for a duty, `exist` for
availability, `price` for what it costs, `¿` opens a question that yes or no answers.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from cache.semantic.english.lexicon import listed
from cache.semantic.english.reading import Mark, Word

__all__ = ["framed"]

_MACROS: Final = {
    "{I}": r"(?:i|one|someone|somebody|anyone)",
    "{ADV}": r"(?: (?:please|just|actually|possibly|simply|ever|go ahead and))?",
    "{BEST}": r"(?:(?:best|right|correct|proper|usual|standard|recommended|normal|good|best possible) )?",
    "{FORME}": r"(?: for (?:me|someone|anyone|one))?",
    "{TO}": r"(?: in order)? to",
    "{WH}": r"(?= (?:how|what|when|where|who|whose|why|which|if|whether|about how|about what|about when|about where)(?: |$))",
    "{START}": (
        r"(?= (?:how|what|when|where|who|whose|why|which|can|could|do|does|did|is|are|am|was|were|will|would|should|may|"
        r"might|must|have|has|i|my|we|our|please|if|on|in|at|tell|write|give|explain|show|help|make|list|create|find|"
        r"need|want|quick|just|sorry|so|the|there|any|whether|please|would|translate|summarize|generate|convert|compare|"
        r"describe|remind|send|book|cancel|define|name|suggest|recommend|calculate|fix|this|it|your|you|as|for|to|hope)(?: |$))"
    ),
    "{BE}": r"(?:is|was|would be|will be|might be)",
}


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """One pattern whose last group tells which alternative fits first."""
    joined = "|".join(f"( (?:{pattern}))" for pattern in patterns)
    for name, text in _MACROS.items():
        joined = joined.replace(name, text)
    return re.compile(joined)


_OPENERS: Final = _any_of(
    (
        r"[,.](?= )",
        r"(?:hi|hello|hey|hiya|yo|howdy|greetings|dear|good (?:morning|afternoon|evening|day)|morning|evening)"
        r"(?: (?:there|all|everyone|everybody|team|support team|support|guys|folks|sir|madam|sir or madam|bot|assistant|"
        r"chatgpt|gpt|claude|siri|alexa|google|friend|friends|mate|again|customer service|customer support|again all|"
        r"people|buddy|dude|man|community|experts|everyone here)){0,2}(?: [,.])*(?:(?= [,.])|{START}|$)",
        r"(?:i )?(?:hope|trust) (?:you|this|all|everyone)(?: (?:are|is|all|have|be|had|message|email|finds|find|you|doing|"
        r"keeping|well|good|great|okay|a|day|nice|lovely|day)){1,7} [,.]",
        r"(?:i am )?(?:so |very |really )?(?:sorry|apologies|excuse me|pardon(?: me)?)"
        r"(?: (?:to|for) (?:bother|bothering|trouble|troubling|disturb|disturbing|interrupt|ask|asking|the (?:bother|trouble|"
        r"question|stupid question|silly question|dumb question))(?: (?:you|this|again|all))*)?(?: [,.])?(?: but)?(?: [,.]|{START})",
        r"(?:so|okay|well|um+|uh+|umm+|er+|erm+|hm+|hmm+|right|alright|all right|now|and|but|oh|ah|ooh|wow|look|listen|"
        r"basically|actually|honestly|anyway|anyways|by the way|also|yes|yeah|yo|great|cool|thanks|thank you|cheers|please|"
        r"kindly|first of all|firstly|out of (?:curiosity|interest)|just curious|curious|just wondering|wondering|"
        r"for your information|okay so|lol|haha|um so|hmm so)"
        r"(?: [,.])*{START}",
        r"(?:i (?:have|have got|had|got) )?(?:a |one |another |just (?:a |one )?)*(?:(?:quick|simple|small|silly|stupid|dumb|"
        r"random|basic|general|follow up|last|more|other|little|newbie|noob|further) )*(?:question|questions|query|thing)"
        r"(?: (?:for (?:you|the team|everyone)|here|please|to ask))?(?: [,.])(?= )",
        r"(?:my|the|one|another) (?:quick |main |next |first )?(?:question|query) is(?: [,.])?{WH}",
        r"(?:please )?(?:can|could|would|will|might) (?:you|someone|anyone|somebody|anybody)(?: (?:please|kindly|just|maybe|"
        r"possibly|be able to|be so kind as to|be kind enough to|quickly))*"
        r" (?:tell|inform|advise|show|explain|help|clarify|enlighten|say|let|share|confirm|check|teach|guide|clear up|"
        r"assist|walk|describe)(?: (?:me|us|to me|to us|know|understand|with|on|out|through))*{WH}",
        r"(?:i|we) (?:would (?:just )?(?:like|love|want)|want|need|wanted|needed|wish|am (?:just )?(?:trying|hoping|looking|keen|"
        r"curious|eager)|was (?:just )?(?:trying|hoping|looking)|would be interested|am interested|just (?:want|wanted|need)|"
        r"was wanting|have) to (?:know|ask(?: you)?|find out|understand|learn|check|enquire|inquire|figure out|see|work out|"
        r"clarify|confirm|hear|get an idea)(?: (?:about|more about|exactly))?{WH}",
        r"(?:i|we) (?:was|were|am|are)(?: (?:just|only|kind of|really|also|curious))* (?:wondering|curious|asking|interested)"
        r"(?: (?:about|in|to know))?{WH}",
        r"(?:i (?:just )?wonder(?:ed)?|just wondering|wondering|just checking|checking|just curious|curious|curious to know|"
        r"interested to know|need to know|want to know|wanted to know|wanna know|trying to (?:find out|understand|figure out)|"
        r"looking to (?:find out|understand)|wanted to ask|just want to know|would like to know|would love to know)"
        r"(?: about)?(?: [,.])?{WH}",
        r"(?:do|does|would|did) (?:you|anyone|anybody|someone|somebody|anyone here|you guys)(?: (?:happen to|even|perhaps|by any chance))?"
        r" (?:know|have (?:any|an) idea|have a clue|remember|recall)(?: (?:about|of|on|exactly))?{WH}",
        r"(?:you )?(?:any|an|no) (?:idea|ideas|clue|clues|chance you know|chance you could tell me|one know|advice on|tips on|"
        r"guidance on|help on|info on|information on)(?: (?:about|of|on))?{WH}",
        r"(?:anyone|anybody|someone|somebody) (?:know|knows|able to (?:tell me|explain|say))(?: (?:about))?{WH}",
        r"(?:are you|is anyone|is someone) able to (?:tell|explain|show|advise)(?: (?:me|us|to me))*{WH}",
        r"(?:would|do) you mind (?:telling|explaining|showing|letting)(?: (?:me|us|to me|know))*{WH}",
        r"i (?:would|will) (?:be grateful|appreciate it|be glad|really appreciate it) if you (?:can|could|would) (?:tell|explain|"
        r"let|show|advise)(?: (?:me|us|to me|know))*{WH}",
        r"(?:please )?(?:tell|explain|help|show|advise|teach|inform|clarify)(?: (?:me|us|to me|to us|understand))*{WH}",
        r"(?:please )?let (?:me|us) know{WH}(?! when )",
        r"(?:i|we) (?:am|are|was) (?:not (?:really |quite |entirely |too |very )?(?:sure|certain|clear)|unsure|confused|uncertain|"
        r"unclear|struggling to (?:understand|see|work out|figure out))(?: (?:about|as to|on))?{WH}",
        r"(?:i|we) (?:do|can|could|did) not (?:know|understand|figure out|work out|see|get|remember|tell|find out|seem to "
        r"(?:find out|figure out|work out))(?: (?:about|exactly))?{WH}",
        r"(?:if|whether)(?= (?:i|you|we|there|it|they|the|my|your|a|an|any|this|that|he|she|our|their|one)(?: |$))",
        r"about(?= (?:how|what|when|where|who|why)(?: |$))",
        r"(?:there is|there has been) (?:a )?(?:question|thing) (?:i have|i am)(?: [,.])?{WH}",
    )
)  # fmt: skip
_IF: Final = frozenset({"if", "whether"})

_FRAME_RULES: Final = (
        (r"how(?: (?:exactly|on earth|the hell|in the world))? (?:do|can|could|would) {I}{ADV}(?: (?:go about|get about|proceed to|"
         r"manage to))?(?= )", "how i"),
        (r"how to(?: go about)?(?= )", "how i"),
        (r"how i (?:can|could|might|would|am able to|am supposed to|do|would go about|can go about)(?= )", "how i"),
        (r"how we (?:can|could|might|would|do)(?= )", "how we"),
        (r"how (?:can|could|would|do) we{ADV}(?: go about)?(?= )", "how we"),
        (r"how (?:can|could|would|do) you{ADV}(?: go about)?(?= )", "how you"),
        (r"(?:in|by|through) (?:what|which) (?:way|ways|method|means) (?:can|do|could|would) {I}(?= )", "how i"),
        (r"(?:what|which) (?:way|ways|method|methods) (?:can|do|could) {I}(?: use to)?(?= )", "how i"),
        (r"(?:what (?:is|are|would be) )?(?:the|a|some|any) {BEST}(?:way|ways|method|methods|procedure|procedures|process|approach|steps|"
         r"step by step process|way for me|way for someone)(?: (?:i (?:can|could|should|need to|have to|must)(?: take| follow| use| go through)?"
         r"|involved|required|needed|to take|to follow|to use))? (?:to|for|of|in|in order to|in which to)(?= (?!the |a |an |this |that |my |your )\w+)", "how i"),
        (r"what (?:is|are|would be) {BEST}(?:way|ways|steps)(?: for me)? (?:to|of)(?= )", "how i"),
        (r"(?:what|which) steps (?:do|should|must|can|would) {I}(?: need to| have to)? (?:take|follow)(?: in order)? to(?= )", "how i"),
        (r"what (?:do|can|should) {I}(?: (?:need|have) to)? do(?: in order)? to(?= )", "how i"),
        # possibility and leave
        (r"(?:can|could) {I}(?: (?:possibly|please|just|actually|ever))?(?= )", "can i"),
        (r"i can(?= )", "can i"),
        (r"(?:can|could) one(?= )", "can i"),
        (r"may i(?: (?:please|just))?(?= )", "may_ i"),
        (r"(?:am i|are you able to let me know if i am) able to(?= )", "able_ i"),
        (r"am i (?:allowed|permitted|free)(?: to)(?= )", "may_ i"),
        (r"is (?:it|that) (?:at all |even |ever |still )?(?:possible|feasible){FORME} (?:to|if i|that i|if one|for me to)(?= )", "able_ i"),
        (r"is (?:it|that) (?:even |ever |still )?(?:okay|fine|alright|all right|allowed|permitted|permissible|acceptable){FORME} (?:to|if i|that i|if one|for me to)(?= )", "may_ i"),
        (r"(?:would|will) (?:it|that) be (?:possible|feasible){FORME} (?:to|if i|that i|for me to)(?= )", "able_ i"),
        (r"(?:is|are) there(?: (?:a|any|some|anyway|even))* (?:way|ways|possibility|option|means)"
         r"(?: (?:for|by which|in which|that|where|for me))?(?: (?:i (?:can|could|may|might)|to|for me to|of))(?= )", "able_ i"),
        (r"is there any ?way i (?:can|could)(?= )", "able_ i"),
        (r"do you (?:allow|let|permit) (?:me|people|customers|us|users) to(?= )", "may_ i"),
        # duty
        (r"do i(?: actually| really| still)? (?:need|have|got) to(?= )", "must i"),
        (r"(?:have i got to|must i|am i (?:required|obliged|obligated|bound) to|is it (?:necessary|required|mandatory|compulsory|"
         r"obligatory|needed|essential)(?: for me)? to|i (?:need|have) to)(?= )", "must i"),
        # availability
        (r"(?:is|are) there(?: (?:a|an|any|some))*(?= )", "exist"),
        (r"there (?:is|are)(?: (?:a|an|any|some))*(?= )", "exist"),
        # price
        (r"(?:how much|what) does (?:it|this|that) cost(?: (?:to|for))?(?= )", "price"),
        (r"(?:how much|what) (?:do|does)(?= .* cost(?: |$))", "price"),
        (r"how much (?:is|are)(?: it to| the (?:cost|price|charge|fee) (?:of|for|to))?(?= (?:a|an|the|your|this|that|my|#\S+|\w+ing|\w+s) )", "price"),
        (r"(?:how much|what) do you charge(?: me)?(?: (?:for|to))(?= )", "price"),
        (r"how much do i(?: have to| need to)? pay for(?= )", "price"),
        (r"(?:what (?:is|are) )?(?:the|your) (?:price|prices|cost|costs|pricing)(?: (?:of|for|to))+(?= )", "price"),
        # time
        (r"(?:at )?(?:what|which) time(?:s)?(?= (?!zone|is it|limit|frame|period|of |table)\w+)", "when"),
        (r"(?:in |during )?(?:what|which) year(?= (?:was|were|did|is|does|do|will) )", "when"),
        (r"when (?:is|are) (?:the |your )?(?:deadline|due date|cutoff|closing date|last date)(?= )", "what deadline"),
        (r"what (?:is|are) (?:the |your )?(?:deadline|due date|cutoff|closing date|last date)(?= )", "what deadline"),
        (r"(?:how much time|how many time)(?= )", "how long"),
        (r"(?:for )?how long(?= )", "how long"),
        # reason
        (r"(?:what (?:is|are|was|could be|might be|would be) )(?:the )?(?:reason|reasons|cause|explanation)(?: (?:that|why|for which|behind why))+(?= )", "why"),
        (r"how come(?= )", "why"),
        (r"for what reason(?:s)?(?= )", "why"),
        # place
        (r"where (?:can|could|do) (?:i|one|we|someone)(?: be able to)? (?:find|locate)(?= )", "where"),
        (r"where (?:can|could|do) i(?= )", "where i"),
        (r"where to(?= \w)", "where i"),
        (r"who (?:can|could|do|should|would|must) i(?: need to| have to)?(?= (?:contact|call|speak|talk|ask|email|ring|phone|write|complain|report|reach|message|tell|see|turn)(?: |$))", "who i"),
        (r"(?:what|which) (?:number|phone number|telephone number) (?:do|should|can|must) i (?:call|ring|dial|use|phone)(?: (?:for|to reach))?(?= )", "what phone number for"),
        # what
        (r"(?:what|which)(?: (?:exactly|actually))?(?: is| are)(?: (?:it|that))?(?= (?!to )\w+)", "what"),
        (r"(?:tell me|name|do you know)(?= the )", "what"),
        (r"(?:i am|i m) (?:trying|looking|hoping|planning|wanting|seeking|wishing) to(?= )", "i want to"),
        (r"i would (?:like|love|want|wish) to(?= )", "i want to"),
        (r"i (?:wish|wanted) to(?= )", "i want to"),
        (r"(?:can|could|would|will) you(?: please| kindly| just| maybe)?(?= (?:write|translate|summarize|generate|give|list|"
         r"describe|compare|convert|draft|rewrite|suggest|recommend|calculate|compose|tell|explain|define|solve|simplify|paraphrase|"
         r"proofread|outline) (?:me|a|an|the|this|my|some|these|what|how|why|it|#))", ""),
        (r"i (?:want|need|would like) you to(?= )", ""),
        (r"please(?= )", ""),
)  # fmt: skip
_FRAMES: Final = _any_of(pattern for pattern, _ in _FRAME_RULES)
_INSTEAD: Final = tuple(tuple(Word(text, Mark.FRAME) for text in instead.split()) for _, instead in _FRAME_RULES)

_CLOSERS: Final = re.compile(
    r"(?: (?:[,.]|(?<! to) please|thanks(?: (?:so much|very much|a lot|a bunch|a million|again|in advance|all|guys|team|mate|for (?:your|any|the) help|"
    r"for helping|everyone))*|many thanks|thank you(?: (?:so much|very much|again|in advance|all|for (?:your|any|the) (?:help|time|assistance)))*|"
    r"kind regards|best regards|much appreciated|(?:any )?help (?:is |would be |will be )?(?:much |greatly |really )?appreciated|"
    r"i would (?:really )?appreciate (?:it|your help|any help)|appreciate (?:it|the help|your help)|or not|"
    r"(?<=[,.] )(?:guys|team|folks|right|correct|yes|no|okay|anyone|everyone|do you know|can you (?:help|help me|tell me|assist|explain)|"
    r"could you (?:help|help me|tell me|assist|explain)|help|help me|let me know|need help|i need help|please advise|cheers(?: (?:mate|guys|all))?|ta|"
    r"regards|lol|haha|hehe|lmao|bye|bro|dude|buddy|sir|mate|x{1,3}|any (?:help|advice|ideas|idea|thoughts|suggestions|tips)|in advance|"
    r"is it|is that right|is that correct|is that okay|is this (?:right|correct|possible)|am i right|just wondering|just curious|asking for a friend)))+$"
)
_NO_CLOSER_AFTER: Final = listed(
    "say saying said write writes sing mean means spell of in with for to a an the is are was any as word and or about by not"
)
"""Before *please* or *thanks* these make it what is asked about."""
_WRAPPING: Final = re.compile(
    r" (?:(?:i (?:just )?(?:have|had|have got|got) )?(?:a |an |another |one |just (?:a )?)*(?:(?:quick|simple|small|silly|stupid|dumb|random|"
    r"basic|general|follow up|other|little) )*(?:question|questions|query)(?: (?:for you|here|about (?:this|that|something)))?|"
    r"(?:i )?(?:hope|trust|hoping) (?:you|someone|anyone|this|all)(?: \w+){1,8}|(?:i )?(?:just )?(?:need|want|could use|would like)(?: (?:some|your|a bit of|a little))?"
    r" (?:help|assistance|advice)(?: (?:please|with (?:this|something)))?|(?:please )?help(?: (?:me|please|needed|me please))*|"
    r"(?:can|could) (?:you|someone|anyone)(?: please)? (?:help|assist|advise)(?: (?:me|us))?(?: (?:please|with (?:this|something)))?|"
    r"(?:sorry|apologies|excuse me)(?: (?:to|for) (?:bother|bothering|the) (?:you|question))?|(?:i am )?new here|one (?:more )?(?:thing|question)|"
    r"another (?:thing|one)|help|subject|question|hi|hello|hey|any (?:help|ideas|advice|thoughts)(?: (?:is|are|would be) (?:great|welcome|appreciated))?|"
    r"(?:please )?(?:tell me|answer(?: (?:me|this))?|explain|advise|let me know)(?: please)?|let me know|thanks?(?: you)?(?: \w+){0,4}|have a (?:nice|good|great) (?:day|one|evening|weekend)|i am curious|just (?:curious|wondering)|"
    r"good (?:morning|afternoon|evening)(?: (?:all|everyone|team))?|cheers(?: (?:mate|guys|all|in advance))?|ta|regards|bye|lol|please|kind regards|"
    r"best regards|many thanks|much appreciated|i appreciate (?:it|your help|any help))"
)
"""A sentence that is only this is no part of the question."""
_SUBORDINATE: Final = listed(
    "if when in on at for with after before once while during since until as under from by within via given without because"
)
_FRONTED: Final = re.compile(
    r" (?:how|what|when|where|who|why|which|can|could|do|does|did|is|are|am|will|would|should|may|must|have|has) .*"
)
_UNMARKED: Final = re.compile(
    r" (?:(?:how|where|when|why) (?:do|does|can|could|should|will|would|did|to)|what (?:is|are|do|does|should|can|happens)|"
    r"(?:can|do|should|could|may|must|will) i|am i|is (?:it|there)|are there|do you) "
)
_VISIBLE: Final = frozenset({Mark.PLAIN, Mark.NAME, Mark.COMMA, Mark.STOP, Mark.FRAME})
_WH: Final = listed("how what when where who whose why which")
_YES_NO: Final = re.compile(
    r" (do|does|is|are|am|did|was|were|has|have|had|will|would|can|could|should|shall|may|might|must)(?= )(?! (?:a|an) look )"
)
_IMPERATIVE_HAVE: Final = frozenset({"have", "do"})


def _joined(words: Sequence[Word]) -> str:
    """Words as text, one leading blank each; what no rule may touch is masked."""
    return "".join(" " + (word.text if word.mark in _VISIBLE else f"#{word.text.replace(' ', '_')}") for word in words)


def framed(sentence: Sequence[Word], *, careful: bool = False) -> list[Word]:
    """One sentence without its wrapping, in the one form of its frame. `careful` keeps its inside and its end."""
    if _WRAPPING.fullmatch(_joined(words := _without_commas(sentence))) is not None:
        return []
    words, asks = _opened(list(sentence) if careful else _closed(list(sentence)))
    if not careful:
        words, more = _opened(_moved(words))
        asks = asks or more
    if asks and len(words) > 2 and words[0].text == "i" and words[1].text == "could":
        words = [words[1], words[0], *words[2:]]
    words = _in_frame(words)
    if [word.text for word in words[1:3]] == ["i", "like"] and len(words) > 4 and words[4].text in _DETERMINERS:
        words = [*words[:2], *words[3:]]
    return _asked(words, asks=asks)


_DETERMINERS: Final = listed("my a an the this that your our some any")
"""*how do i like reset my password*: such a *like* is no verb."""


def _without_commas(words: Sequence[Word]) -> list[Word]:
    return [word for word in words if word.mark is not Mark.COMMA]


def _opened(words: list[Word]) -> tuple[list[Word], bool]:
    """Without openings; and whether one said *if*."""
    asks = False
    for turn in range(8):
        found = _OPENERS.match(_joined(words))
        if found is None:
            break
        taken = found.group().count(" ")
        if not turn and words[0].text in _IF:
            break
        asks = asks or words[taken - 1].text in _IF
        words = words[taken:]
    return words, asks


def _closed(words: list[Word]) -> list[Word]:
    text = _joined(words)
    found = _CLOSERS.search(text)
    if found is None:
        while words and words[-1].mark in {Mark.COMMA, Mark.STOP}:
            words = words[:-1]
        return words
    left = text[: found.start()].count(" ")
    if left and (words[left - 1].text in _NO_CLOSER_AFTER or left < 2) and words[left].mark is not Mark.COMMA:
        return words
    return words[:left]


def _moved(words: list[Word]) -> list[Word]:
    """A clause in front goes to the end: *in the settings, how do I …* is *how do I … in the settings*."""
    if len(words) < 5 or words[0].text not in _SUBORDINATE or words[1].text in _WH:
        return words
    if words[0].text in {"when", "which"} and _YES_NO.match(_joined(words[1:2]) + " "):
        return words
    for at, word in enumerate(words):
        if word.mark is Mark.COMMA and at > 1 and _FRONTED.match(_joined(words[at + 1 :])):
            return words[at + 1 :] + words[:at]
    if any(word.mark is Mark.COMMA for word in words):
        return words
    text = _joined(words)
    found = _UNMARKED.search(text, len(words[0].text) + len(words[1].text) + 2)
    if found is None:
        return words
    at = text[: found.start()].count(" ")
    return words[at:] + words[:at] if at > 1 else words


def _in_frame(words: list[Word]) -> list[Word]:
    """The first frame that fits, and once more for what it leads to."""
    for _ in range(3):
        found = _FRAMES.match(_joined(words))
        if found is None:
            break
        instead = _INSTEAD[(found.lastindex or 1) - 1]
        words = [*instead, *words[found.group().count(" ") :]]
        if instead:
            break
    return words


def _asked(words: list[Word], *, asks: bool) -> list[Word]:
    """`¿` before a question that yes or no answers."""
    if not words or words[0].mark is Mark.FRAME:
        return words
    found = _YES_NO.match(_joined(words))
    if found is not None and not (words[0].text in _IMPERATIVE_HAVE and words[1].text in {"a", "not", "an", "fun"}):
        return [Word("¿", Mark.FRAME), *words]
    return [Word("¿", Mark.FRAME), *words] if asks and words[0].text not in _WH else words
