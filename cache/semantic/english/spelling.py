"""One spelling for each word: contractions written out, American for British, words for text-speak."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from cache.semantic.english.lexicon import KNOWN, NAMES, listed
from cache.semantic.english.reading import Mark, Word

__all__ = ["is_rewritten", "is_spelt", "one_spelling", "spelt_out"]

POSSESSIVE: Final = "'s"

_CONTRACTIONS: Final[Mapping[str, str]] = {
    "won't": "will not", "can't": "can not", "cannot": "can not", "shan't": "shall not", "ain't": "is not",
    "let's": "let us", "i'm": "i am", "y'all": "you", "ma'am": "madam", "o'clock": "oclock", "'em": "them",
    "dont": "do not", "doesnt": "does not", "didnt": "did not", "cant": "can not", "wont": "will not",
    "isnt": "is not", "arent": "are not", "wasnt": "was not", "werent": "were not", "havent": "have not",
    "hasnt": "has not", "hadnt": "had not", "wouldnt": "would not", "couldnt": "could not", "shouldnt": "should not",
    "mustnt": "must not", "neednt": "need not", "aint": "is not", "im": "i am", "ive": "i have", "youre": "you are",
    "youve": "you have", "theyre": "they are", "weve": "we have", "whats": "what is", "wheres": "where is",
    "whens": "when is", "hows": "how is", "whos": "who is", "whys": "why is", "thats": "that is", "theres": "there is",
    "heres": "here is", "lets": "let us", "id'd": "identified", "whatre": "what are", "howre": "how are",
    "gonna": "going to", "wanna": "want to", "gotta": "have to", "gimme": "give me", "lemme": "let me",
    "dunno": "do not know", "kinda": "kind of", "sorta": "sort of", "outta": "out of", "hafta": "have to",
    "whatcha": "what are you", "u": "you", "ur": "your", "pls": "please", "plz": "please", "plse": "please",
    "plss": "please", "thx": "thanks", "thnx": "thanks", "tnx": "thanks", "thankyou": "thanks", "tysm": "thanks",
    "b4": "before", "cuz": "because", "coz": "because", "cos": "because", "bcoz": "because", "bcz": "because",
    "tho": "though", "thru": "through", "abt": "about", "acct": "account", "acc": "account", "appt": "appointment",
    "appts": "appointments", "msg": "message", "msgs": "messages", "ppl": "people", "pic": "photo",
    "pics": "photos", "photograph": "photo", "photographs": "photos", "tmrw": "tomorrow",
    "tmr": "tomorrow", "2day": "today", "2moro": "tomorrow", "wat": "what", "wht": "what", "wats": "what is",
    "hv": "have", "shud": "should", "cud": "could", "wud": "would", "gr8": "great", "bday": "birthday",
    "info": "information", "govt": "government", "dept": "department", "mins": "minutes", "hrs": "hours",
    "btw": "by the way", "imo": "in my opinion", "fyi": "for your information", "asap": "as soon as possible",
    "ok": "okay", "k": "okay", "n": "and", "r": "are", "yea": "yes", "yeah": "yes", "yep": "yes", "yup": "yes",
    "nope": "no", "nah": "no", "tv": "television", "telly": "television", "fridge": "refrigerator", "dob": "birth date",
    "vs": "versus", "approx": "approximately", "e-mail": "email", "wi-fi": "wifi", "docs": "documents",
    "apps": "apps", "rn": "now", "innit": "right", "mum": "mom", "mums": "moms", "mummy": "mom",
}  # fmt: skip
_ENDINGS: Final[Mapping[str, str]] = {"'re": "are", "'ve": "have", "'ll": "will", "'d": "would", "'m": "am"}
_WITH_IS: Final = listed(
    "what where when who how why which that this it there here he she everything something nothing"
    " everyone someone anyone nobody one"
)
_NEGATED: Final = listed(
    "do does did is are was were have has had would could should must need might may can dare ought"
)

_AMERICAN: Final[Mapping[str, str]] = dict(
    pair.split(":")
    for pair in [
        "cheque:check",
        "cheques:checks",
        "tyre:tire",
        "tyres:tires",
        "kerb:curb",
        "grey:gray",
        "greys:grays",
        "programme:program",
        "programmes:programs",
        "aluminium:aluminum",
        "pyjamas:pajamas",
        "moustache:mustache",
        "plough:plow",
        "sceptic:skeptic",
        "sceptical:skeptical",
        "instalment:installment",
        "instalments:installments",
        "enrol:enroll",
        "enrols:enrolls",
        "enrolment:enrollment",
        "fulfil:fulfill",
        "fulfils:fulfills",
        "fulfilment:fulfillment",
        "skilful:skillful",
        "instal:install",
        "instals:installs",
        "jewellery:jewelry",
        "jeweller:jeweler",
        "ageing:aging",
        "judgement:judgment",
        "acknowledgement:acknowledgment",
        "aeroplane:airplane",
        "aeroplanes:airplanes",
        "analyse:analyze",
        "analysed:analyzed",
        "analysing:analyzing",
        "paralyse:paralyze",
        "catalyse:catalyze",
        "oestrogen:estrogen",
        "anaemia:anemia",
        "anaemic:anemic",
        "paediatric:pediatric",
        "paediatrician:pediatrician",
        "foetus:fetus",
        "foetal:fetal",
        "diarrhoea:diarrhea",
        "gynaecologist:gynecologist",
        "gynaecology:gynecology",
        "orthopaedic:orthopedic",
        "haemorrhoids:hemorrhoids",
        "haemorrhage:hemorrhage",
        "haemoglobin:hemoglobin",
        "leukaemia:leukemia",
        "anaesthetic:anesthetic",
        "anaesthesia:anesthesia",
        "encyclopaedia:encyclopedia",
        "manoeuvre:maneuver",
        "licence:license",
        "licences:licenses",
        "defence:defense",
        "offence:offense",
        "offences:offenses",
        "pretence:pretense",
        "practise:practice",
        "practised:practiced",
        "practising:practicing",
        "centre:center",
        "centres:centers",
        "theatre:theater",
        "theatres:theaters",
        "metre:meter",
        "metres:meters",
        "litre:liter",
        "litres:liters",
        "fibre:fiber",
        "fibres:fibers",
        "kilometre:kilometer",
        "kilometres:kilometers",
        "centimetre:centimeter",
        "centimetres:centimeters",
        "calibre:caliber",
        "millimetre:millimeter",
        "millimetres:millimeters",
        "sabre:saber",
        "meagre:meager",
        "spectre:specter",
        "lustre:luster",
        "sombre:somber",
        "catalogue:catalog",
        "catalogues:catalogs",
        "dialogue:dialog",
        "dialogues:dialogs",
        "analogue:analog",
        "monologue:monolog",
        "travelled:traveled",
        "travelling:traveling",
        "traveller:traveler",
        "travellers:travelers",
        "cancelled:canceled",
        "cancelling:canceling",
        "labelled:labeled",
        "labelling:labeling",
        "modelled:modeled",
        "modelling:modeling",
        "fuelled:fueled",
        "fuelling:fueling",
        "signalled:signaled",
        "signalling:signaling",
        "counselling:counseling",
        "counsellor:counselor",
        "marvellous:marvelous",
        "levelled:leveled",
        "levelling:leveling",
        "dialled:dialed",
        "dialling:dialing",
        "channelled:channeled",
        "tunnelling:tunneling",
        "quarrelled:quarreled",
        "initialled:initialed",
        "totalled:totaled",
        "totalling:totaling",
        "woollen:woolen",
        "mould:mold",
        "mouldy:moldy",
        "moult:molt",
        "smoulder:smolder",
        "cosy:cozy",
        "doughnut:donut",
        "doughnuts:donuts",
        "yoghurt:yogurt",
        "yoghurts:yogurts",
        "artefact:artifact",
        "artefacts:artifacts",
        "storey:story",
        "storeys:stories",
        "sulphur:sulfur",
        "draught:draft",
        "tonne:ton",
        "tonnes:tons",
        "gaol:jail",
        "whilst:while",
        "amongst:among",
        "amidst:amid",
        "towards:toward",
        "learnt:learned",
        "neighbour:neighbor",
        "neighbours:neighbors",
        "neighbourhood:neighborhood",
        "neighbouring:neighboring",
    ]
)
_OUR: Final = listed(
    "colour favour behaviour honour labour harbour humour odour rumour savour vapour flavour endeavour"
    " parlour armour glamour ardour candour clamour demeanour fervour rancour rigour splendour tumour"
    " valour vigour saviour"
)
_ISE: Final = listed(
    "advise arise cruise bruise comprise compromise demise despise devise disguise excise exercise"
    " franchise improvise merchandise noise otherwise paradise poise praise precise premise promise raise"
    " reprise revise rise supervise surmise surprise televise treatise wise likewise expertise enterprise"
    " concise chemise anise appraise braise liaise mayonnaise malaise polonaise advertise chastise apprise"
    " circumcise incise bise vise guise moise sunrise moonrise highrise lowrise payrise"
)
"""Words in -ise that are no verbs in -ize."""


def spelt_out(words: Iterable[Word]) -> Iterator[Word]:
    """Contractions and text-speak written out; possessives parted from their noun; one spelling."""
    previous = ""
    for word in words:
        if word.mark not in {Mark.PLAIN, Mark.NAME}:
            previous = ""
            yield word
            continue
        for text in _expanded(word.text, previous):
            yield word._replace(text=text) if text != POSSESSIVE else Word(POSSESSIVE)
            previous = text


def _expanded(text: str, previous: str) -> tuple[str, ...]:
    if text == "its" and previous in {"if", "that", "because", "think", "when", "what", "where"}:
        return ("it", "is")
    if text in {"lets", "cos", "acc", "k", "r", "n"} and previous in {"it", "that", "which", "of", "the", "vitamin"}:
        return (text,)
    return _spelt(text)


@lru_cache(maxsize=1 << 14)
def _spelt(text: str) -> tuple[str, ...]:
    if (whole := _CONTRACTIONS.get(text)) is not None:
        return tuple(whole.split())
    if "'" not in text:
        return (one_spelling(text),)
    stem, _, end = text.rpartition("'")
    if end == "t" and stem.endswith("n") and stem[:-1] in _NEGATED:
        return (stem[:-1], "not")
    if end == "s":
        return (stem, "is") if stem in _WITH_IS else (*_spelt(stem), POSSESSIVE)
    if (rest := _ENDINGS.get("'" + end)) is not None and stem:
        return (*_spelt(stem), rest)
    return (text.replace("'", ""),)


def one_spelling(text: str) -> str:
    """American English for British, by table and by three rules; other words as they are."""
    if (found := _AMERICAN.get(text)) is not None:
        return found
    if "our" in text:
        for stem in _OUR:
            if text.startswith(stem):
                return stem[:-3] + "or" + text[len(stem) :]
    if "is" in text[3:]:
        return _ized(text)
    return text


def _ized(text: str) -> str:
    for end in ("ise", "ised", "ises", "ising", "iser", "isers", "isation", "isations"):
        if text.endswith(end) and len(text) > len(end) + 2:
            stem = text[: -len(end)]
            whole = stem + "ise"
            if whole in _ISE or whole.endswith(("wise", "vise")):
                return text
            is_verb = stem + "ize" in KNOWN or not (text in KNOWN or text in NAMES or whole in KNOWN)
            return stem + "iz" + end[2:] if is_verb else text
    return text


def is_spelt(text: str) -> bool:
    """A contraction, text-speak or another word that the tables know."""
    return text in _CONTRACTIONS or one_spelling(text) in KNOWN or ("'" in text and _known_parts(text))


def _known_parts(text: str) -> bool:
    stem, _, end = text.rpartition("'")
    return (end == "t" and stem.removesuffix("n") in _NEGATED) or (
        "'" + end in _ENDINGS and (stem in KNOWN or not stem)
    )


def is_rewritten(text: str) -> bool:
    """A contraction or text-speak, for which other words stand."""
    return text in _CONTRACTIONS
