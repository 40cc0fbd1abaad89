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
        r"for your information|okay so|like|lol|haha|um so|hmm so|quickly|in short|simply put|in general)"
        r"(?: [,.])*{START}",
        r"(?:i (?:have|have got|had|got) )?(?:a |one |another |just (?:a |one )?)*(?:(?:quick|simple|small|silly|stupid|dumb|"
        r"random|basic|general|follow up|last|more|other|little|newbie|noob|further) )*(?:question|questions|query|thing)"
        r"(?: (?:for (?:you|the team|everyone)|here|please|to ask))?(?: [,.])(?= )",
        r"(?:my|the|one|another) (?:quick |main |next |first )?(?:question|query) is(?: [,.])?{WH}",
        r"(?:please )?(?:can|could|would|will|might) (?:you|someone|anyone|somebody|anybody)(?: (?:please|kindly|just|maybe|"
        r"possibly|be able to|be so kind as to|be kind enough to|quickly))*"
        r" (?:tell|inform|advise|show|explain|help|clarify|remind|enlighten|say|let|share|confirm|check|teach|guide|clear up|"
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
        r"(?:please )?(?:tell|explain|let|help|show|remind|advise|teach|inform|clarify)(?: (?:me|us|to me|to us|know|understand))*{WH}",
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

_HOW: Final = r"(?:do|does|can|could|should|would|might|may|must|will|shall)"
_FRAME_RULES: Final = (
        (rf"how(?: (?:exactly|on earth|the hell|in the world))? {_HOW} {{I}}{{ADV}} (?:go about|get about|proceed to|manage to|"
         r"be able to|get around to)(?= )", "how i"),
        (rf"how(?: (?:exactly|on earth))? {_HOW} {{I}}{{ADV}}(?= )", "how i"),
        (r"how (?:am|is) {I} (?:able|supposed|meant|expected) to(?= )", "how i"),
        (r"{I} (?:can|could|should|do|would|might) (?:go about)(?= )", "i can"),
        (r"how(?: exactly)? to(?: go about)?(?= )", "how i"),
        (r"how (?:about )?i (?:can|could|should|might|may|would|am able to|am supposed to|do|need to|go about|would go about|"
         r"can go about)(?= )", "how i"),
        (r"how we (?:can|could|should|might|may|would|do)(?= )", "how we"),
        (r"how (?:can|could|should|would|do) we{ADV}(?: go about)?(?= )", "how we"),
        (r"how (?:can|could|should|would|do) you{ADV}(?: go about)?(?= )", "how you"),
        (r"(?:in|by|through) (?:what|which) (?:way|ways|method|means) (?:can|do|could|should|would) {I}(?= )", "how i"),
        (r"(?:what|which) (?:way|ways|method|methods) (?:can|do|could|should) {I}(?: use to)?(?= )", "how i"),
        (r"(?:what (?:is|are|was|would be) )?(?:the|a|some|any) {BEST}(?:way|ways|method|methods|procedure|procedures|process|"
         r"approach|steps|step by step process|way for me|way for someone)(?: (?:i (?:can|could|should|need to|have to|must|would)(?: take| "
         r"follow| use| go through)?|involved|required|needed|to take|to follow|to use))? (?:to|for|of|in|in order to|in which to)"
         r"(?= (?!the |a |an |this |that |my |your )\w+)", "how i"),
        (r"what (?:is|are|was|would be) {BEST}(?:way|ways|steps)(?: for me)? (?:to|of)(?= )", "how i"),
        (r"(?:what|which) steps (?:do|should|must|can|would) {I}(?: need to| have to)? (?:take|follow)(?: in order)? to(?= )", "how i"),
        (r"what (?:do|should|must|can|would|could) {I}(?: (?:need|have) to)? do(?: in order)? to(?= )", "how i"),
        (r"what (?:is|are) (?:needed|required|necessary) to(?= )", "what i need to"),
        # possibility and leave
        (r"(?:can|could|may|might) i (?:possibly|please|just|actually|ever)(?= )", "can i"),
        (r"(?:can|could|may|might) i(?= )", "can i"),
        (r"(?:am i|would i be|will i be|are you able to let me know if i am) (?:able|allowed|permitted|free|entitled)(?: to)(?= )", "can i"),
        (r"(?:is|would|will) (?:it|that)(?: be)? (?:at all |even |ever |still )?(?:possible|okay|fine|alright|all right|allowed|"
         r"permitted|permissible|acceptable|feasible){FORME} (?:to|if i|that i|if one|for me to)(?= )", "can i"),
        (r"(?:is|are|would) there(?: be)?(?: (?:a|any|some|anyway|even))* (?:way|ways|chance|possibility|option|means)"
         r"(?: (?:for|by which|in which|that|where|for me))?(?: (?:i (?:can|could|may|might)|to|for me to|of me|me to|of))(?= )", "can i"),
        (r"is there any ?way i (?:can|could)(?= )", "can i"),
        (r"(?:do|will|would) you (?:allow|let|permit) (?:me|people|customers|us|users) to(?= )", "can i"),
        (r"i (?:can|could|may|might|am able to|am allowed to)(?= )", "can i"),
        (r"(?:can|could) one(?= )", "can i"),
        (r"are there(?: (?:a|any|some))* ways (?:to|i can|i could)(?= )", "can i"),
        # duty
        (r"(?:do|would|will|must|shall|did) i(?: actually| really| still)? (?:need|have|got|be required|be obliged) to(?= )", "must i"),
        (r"(?:have i got to|must i|am i (?:required|obliged|obligated|bound) to|is it (?:necessary|required|mandatory|compulsory|"
         r"obligatory|needed|essential)(?: for me)? to|i (?:need|have) to)(?= )", "must i"),
        # availability
        (r"(?:is|are) there(?: (?:a|an|any|some))*(?= )", "exist"),
        (r"there (?:is|are)(?: (?:a|an|any|some))*(?= )", "exist"),
        (r"(?:do|can|will|would|did) you(?: guys| currently| still| also)? (?:have|offer|provide|supply|do|have got)(?: (?:a|an|any|some))*"
         r"(?= (?!i |it |this |that |you |to |not |in |on |at |for |with |by |so )\w+)", "exist"),
        (r"have you got(?: (?:a|an|any|some))*(?= )", "exist"),
        # price
        (r"(?:how much|what) (?:do|does|will|would|did|might|should|can) (?:it|this|that) cost(?: (?:me|us|you|one))?(?: (?:to|for))?(?= )", "price"),
        (r"(?:how much|what) (?:do|does|will|would|did|might|should)(?= .* cost(?: |$))", "price"),
        (r"how much (?:is|are|would|will)(?: it| that| the (?:cost|price|charge|fee)| be| it be)?(?: (?:of|for|to|cost))*(?= )", "price"),
        (r"how much (?:do|would|will|should|must|can) (?:i|you|they|we)(?: have to| need to| expect to)? (?:charge|pay|ask|bill)(?: me)?(?: for| to)?(?= )", "price"),
        (r"what (?:do|would|will) (?:i|you|they)(?: have to| need to)? (?:charge|pay)(?: me)?(?: for| to)?(?= )", "price"),
        (r"(?:what (?:is|are|would be|will be) )?(?:the|your) (?:total |typical |usual )?(?:price|prices|cost|costs|charge|charges|pricing)(?: (?:of|for|to|on))+(?= )", "price"),
        (r"what (?:is|are|would be|will be) the (?:cost|costs|price|prices)(?: (?:of|for|to|on))*(?= )", "price"),
        # time
        (r"(?:at )?(?:what|which) time(?:s)?(?= (?!zone|is it|limit|frame|period|of |table)\w+)", "when"),
        (r"when (?:is|are) (?:the |your )?(?:deadline|due date|cutoff|closing date|last date)(?= )", "what deadline"),
        (r"what (?:is|are) (?:the |your )?(?:deadline|due date|cutoff|closing date|last date)(?= )", "what deadline"),
        (r"by when (?:must|do|should) i(?: need to| have to)?(?= )", "what deadline"),
        (r"(?:how much time|how many time)(?= )", "how long"),
        (r"(?:for )?how long(?= )", "how long"),
        (r"how long (?:do|does|will|would|should|did|can)(?: it)? take(?: (?:me|you|for me))?(?: (?:to|for))?(?= )", "how long take"),
        # reason
        (r"(?:what (?:is|are|was|could be|might be|would be) )(?:the )?(?:reason|reasons|cause|explanation)(?: (?:that|why|for which|behind why))+(?= )", "why"),
        (r"how come(?= )", "why"),
        (r"for what reason(?:s)?(?= )", "why"),
        # place
        (r"where (?:can|could|do|should|would|might|will) (?:i|one|you|we|someone)(?: be able to)? (?:find|locate)(?= )", "where"),
        (r"where (?:can|could|do|should|would|might) i(?= )", "where i"),
        (r"where to(?= \w)", "where i"),
        (r"who (?:can|could|do|should|would|must) i(?= )", "who i"),
        (r"(?:what|which) (?:number|phone number|telephone number) (?:do|should|can|must) i (?:call|ring|dial|use|phone)(?: (?:for|to reach))?(?= )", "what phone number for"),
        # what
        (r"(?:what|which) (?:are|is) (?:some of |some |a few )?(?:the )?(?:good|best)(?= )", "what best"),
        (r"(?:what|which)(?: (?:exactly|actually))?(?: is| are)(?: (?:it|that))?(?: (?:a|an|the|some))*(?= (?!to )\w+)", "what"),
        (r"(?:tell me about|tell me|give me|show me|explain)(?= (?:the|what) )", "what"),
        (r"(?:i am|i m) (?:trying|looking|hoping|planning|wanting|seeking|wishing) to(?= )", "i want to"),
        (r"i (?:would|will) (?:like|love|want|wish|prefer) to(?= )", "i want to"),
        (r"i (?:wish|need|wanted|needed|hope) to(?= )", "i want to"),
        (r"(?:can|could|would|will) you(?: please| kindly| just| maybe)?(?= (?:write|translate|summarize|generate|create|make|give|list|"
         r"describe|compare|convert|draft|rewrite|suggest|recommend|calculate|compose|provide me|tell me|explain|show me|help me|"
         r"find me|send me|fix|name|define|solve|simplify|paraphrase|proofread|outline|remind|book|cancel|analyze|review|design|track)(?: |$))", ""),
        (r"i (?:want|need|would like) you to(?= )", ""),
        (r"please(?= )", ""),
)  # fmt: skip
_FRAMES: Final = _any_of(pattern for pattern, _ in _FRAME_RULES)
_INSTEAD: Final = tuple(tuple(Word(text, Mark.FRAME) for text in instead.split()) for _, instead in _FRAME_RULES)

_CLOSERS: Final = re.compile(
    r"(?: (?:[,.]|please|thanks(?: (?:so much|very much|a lot|a bunch|a million|again|in advance|all|guys|team|mate|for (?:your|any|the) help|"
    r"for helping|everyone))*|many thanks|thank you(?: (?:so much|very much|again|in advance|all|for (?:your|any|the) (?:help|time|assistance)))*|"
    r"cheers(?: (?:mate|guys|all))?|ta|kind regards|best regards|regards|much appreciated|(?:any )?help (?:is |would be |will be )?"
    r"(?:much |greatly |really )?appreciated|any (?:help|advice|ideas|idea|thoughts|suggestions|tips)|i would (?:really )?appreciate (?:it|your help|any help)|"
    r"appreciate (?:it|the help|your help)|in advance|lol|haha|hehe|lmao|x+|bye|bro|dude|buddy|sir|mate|"
    r"(?<=[,.] )(?:guys|team|folks|right|correct|yes|no|okay|anyone|everyone|do you know|can you (?:help|help me|tell me|assist|explain)|"
    r"could you (?:help|help me|tell me|assist|explain)|help|help me|let me know|need help|i need help|please advise|"
    r"is it|is that right|is that correct|is that okay|is this (?:right|correct|possible)|am i right|just wondering|just curious|asking for a friend)))+$"
)
_WRAPPING: Final = re.compile(
    r" (?:(?:i (?:just )?(?:have|had|have got|got) )?(?:a |an |another |one |just (?:a )?)*(?:(?:quick|simple|small|silly|stupid|dumb|random|"
    r"basic|general|follow up|other|little) )*(?:question|questions|query)(?: (?:for you|here|about (?:this|that|something)))?|"
    r"(?:i )?(?:hope|trust|hoping) (?:you|someone|anyone|this|all)(?: \w+){1,8}|(?:i )?(?:just )?(?:need|want|could use|would like)(?: (?:some|your|a bit of|a little))?"
    r" (?:help|assistance|advice)(?: (?:please|with (?:this|something)))?|(?:please )?help(?: (?:me|please|needed|me please))*|"
    r"(?:can|could) (?:you|someone|anyone)(?: please)? (?:help|assist|advise)(?: (?:me|us))?(?: (?:please|with (?:this|something)))?|"
    r"(?:sorry|apologies|excuse me)(?: (?:to|for) (?:bother|bothering|the) (?:you|question))?|(?:i am )?new here|one (?:more )?(?:thing|question)|"
    r"another (?:thing|one)|help|subject|question|hi|hello|hey|any (?:help|ideas|advice|thoughts)(?: (?:is|are|would be) (?:great|welcome|appreciated))?|"
    r"(?:please )?(?:tell me|answer(?: (?:me|this))?|explain|advise|let me know)(?: please)?|let me know|thanks?(?: you)?(?: \w+){0,4}|have a (?:nice|good|great) (?:day|one|evening|weekend)|i am curious|just (?:curious|wondering)|"
    r"good (?:morning|afternoon|evening)(?: (?:all|everyone|team))?)"
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
    words = _in_frame(words)
    return _asked(words, asks=asks)


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
    return words[: text[: found.start()].count(" ")]


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
