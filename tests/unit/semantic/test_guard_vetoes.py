"""Every rule that forbids, on a pair that it must forbid and on one like it that it must let be."""

import pytest

from cache.semantic.guard import Compared, Finding, Guard

GUARD = Guard()
VETOES = {
    "number": [
        ("Who married George III?", "Who married George II?"),
        ("How long do I boil 2 eggs?", "How long do I boil 3 eggs?"),
        ("What changed in Java 17?", "What changed in Java 21?"),
        ("Can I bring two bags?", "Can I bring three bags?"),
    ],
    "date": [("Are you open on Monday?", "Are you open on Tuesday?"), ("Is it hot in May?", "Is it hot in July?")],
    "time": [
        ("Can I collect it at 7am?", "Can I collect it at 7pm?"),
    ],
    "time_word": [("Is the pool open always?", "Is the pool open now?")],
    "unit": [
        ("How heavy is 5 kg of sand?", "How heavy is 5 lb of sand?"),
        ("How much is 12 fl oz of milk?", "How much is 12 oz of milk?"),
        ("Is 60 sq ft enough for a cow?", "Is 60 sq m enough for a cow?"),
    ],
    "code": [
        ("What does git reset --hard do?", "What does git reset --soft do?"),
        ("How do I call get_item in a loop?", "How do I call set_item in a loop?"),
    ],
    "url": [("Is https://a.example/x down?", "Is https://a.example/y down?")],
    "quoted": [
        ('Translate "good day" to Welsh', 'Translate "good night" to Welsh'),
        ("Summarize this text: the cat sat on the mat", "Summarize this text: the dog sat on the mat"),
    ],
    "symbol": [
        ("What is 2 + 2?", "What is 2 * 2?"),
        ("Evaluate (2 + 3) * 4", "Evaluate 2 + 3 * 4"),
        ("Who may get B- plasma?", "Who may get B plasma?"),
        ("Who may get B\N{EN DASH} plasma?", "Who may get B plasma?"),
        ("What is a D-?", "What is a D?"),
        ("What does n-- return?", "What does n return?"),
        ("What is Br\N{SUPERSCRIPT MINUS}?", "What is Br?"),
        ("How cold is - 12 kelvin?", "How cold is 12 kelvin?"),
        ("What is q - r?", "What is q r?"),
        ("May I swim here? - no", "May I swim here?"),
        ("May I swim here? -- no", "May I swim here?"),
        ("Must I pay \N{EM DASH} or not?", "Must I pay?"),
    ],
    "negation": [
        ("Why does my printer print?", "Why does my printer not print?"),
        ("Which bags are allowed on board?", "Which bags are never allowed on board?"),
        ("Why did the engine start?", "Why did the engine fail to start?"),
        ("What happens if I sign the lease?", "What happens if I refuse to sign the lease?"),
    ],
    "antonym": [
        ("How do I lock the front door?", "How do I unlock the front door?"),
        ("How do I enable dark mode?", "How do I disable dark mode?"),
        ("Can I travel with a passport?", "Can I travel without a passport?"),
        ("How do I send money to the bank?", "How do I send money from the bank?"),
    ],
    "person": [
        ("How do I store my data?", "How do you store your data?"),
        ("Can I see his report?", "Can I see my report?"),
    ],
    "question": [
        ("Who is the mayor of Lyon?", "Where is the mayor of Lyon?"),
        ("Why is the pool closed?", "When is the pool closed?"),
    ],
    "modal": [("When can I see the doctor?", "When must I see the doctor?")],
    "tense": [("Who is the mayor of Lyon?", "Who was the mayor of Lyon?")],
    "comparative": [("Which phone is cheap and good?", "Which phone is cheaper and better?")],
    "must_match": [
        ("Can I eat only fruit?", "Can I eat fruit?"),
        ("How do I delete all messages?", "How do I delete messages?"),
        ("What happens if I pay late?", "What happens unless I pay late?"),
    ],
    "preposition": [("How do I write to my bank?", "How do I write for my bank?")],
    "contrast": [
        ("Do you have red shoes?", "Do you have blue shoes?"),
        ("How do I clean a radiator?", "How do I clean a boiler?"),
    ],
    "entity": [
        ("How do I fly to Reykjavik?", "How do I fly to Ljubljana?"),
        ("How big is Western Australia?", "How big is Australia?"),
    ],
    "order": [
        ("How do I get from Oxford to Bath by train?", "How do I get from Bath to Oxford by train?"),
        ("Can a dog chase a cat?", "Can a cat chase a dog?"),
    ],
}
LET_BE = {
    "number": ("Can I bring two bags?", "Can I bring 2 bags?"),
    "date": ("Are you open on Mondays?", "Are you open on Monday?"),
    "time": ("Can I collect it at 7 pm?", "Can I collect it at 19:00?"),
    "time_word": ("Is the pool open now?", "Is the pool open now please?"),
    "unit": ("How heavy is 5 kg of sand?", "How heavy is 5 kilos of sand?"),
    "code": ("what does git reset --hard do", "What does git reset --hard do?"),
    "url": ("Is https://a.example/x down?", "is https://a.example/x down"),
    "quoted": ('Please translate "good day" to Welsh', 'Translate "good day" to Welsh'),
    "symbol": ("What is 2+2?", "What is 2 + 2?"),
    "negation": ("Why doesn't my printer print?", "Why won't my printer print?"),
    "antonym": ("How do I turn the lights on?", "How do I turn on the lights?"),
    "person": ("How can I store my data?", "How do I store my data?"),
    "question": ("Which trains stop here?", "What trains stop here?"),
    "modal": ("How can I see the doctor?", "How do I see the doctor?"),
    "tense": ("Who was the mayor of Lyon?", "who was the mayor of Lyon please"),
    "comparative": ("Which phone is cheaper?", "Please tell me which phone is cheaper."),
    "must_match": ("What happens if I pay late?", "If I pay late, what happens?"),
    "preposition": ("Is my photo within the archive?", "Is my photo in the archive?"),
    "contrast": ("Do you have red shoes?", "Have you got red shoes"),
    "entity": ("How do I fly to Reykjavik?", "how do i fly to reykjavik"),
    "order": ("By train, how do I get to Bath?", "How do I get to Bath by train?"),
}


def compared(first: str, second: str) -> Compared:
    return GUARD.compare(GUARD.prepare(first), GUARD.prepare(second))


@pytest.mark.parametrize(("rule", "pair"), [(rule, pair) for rule, pairs in VETOES.items() for pair in pairs])
def test_what_makes_it_another_question_is_named(rule: str, pair: tuple[str, str]) -> None:
    """The rule vetoes the pair, whatever their similarity, and says its name."""
    assert compared(*pair) == (Finding.VETO, rule)


@pytest.mark.parametrize("rule", LET_BE)
def test_what_only_looks_like_it_is_let_be(rule: str) -> None:
    """The same thing in another form is no reason for a veto."""
    assert compared(*LET_BE[rule]).finding in {Finding.SAME, Finding.LICENSED}


@pytest.mark.parametrize("dash", ["-", "\N{EN DASH}", "\N{EM DASH}"])
def test_a_dash_in_prose_says_nothing(dash: str) -> None:
    """Between two words, before thanks, or as a bullet it is no sign."""
    assert compared(f"My key is lost {dash} what do I do?", "My key is lost, what do I do?").finding is Finding.SAME
    assert compared(f"How do I dye wool? {dash} thanks", "How do I dye wool?").finding is Finding.SAME
    assert compared(f"{dash} How do I dye wool?", "How do I dye wool?").finding is Finding.SAME


def test_each_veto_has_both_examples() -> None:
    """A rule that forbids is shown to forbid, and shown to know its bounds."""
    assert VETOES.keys() == LET_BE.keys()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("How do I open an account?", "How do I open a joint account?"),
        ("How do I order a card?", "How do I order a business card?"),
        ("What are the opening hours?", "What are the opening hours for kids?"),
        ("Is roaming free?", "Is roaming free in the EU?"),
        ("Write a poem about autumn", "Write a poem about winter"),
        ("What is my credit score?", "What is a credit score?"),
        ("How do I use Rust?", "How do I use rust?"),
        ("Translate please to French", "Translate thanks to French"),
        ("How do you spell receive?", "How do you spell recieve?"),
        ("What does melanin do?", "What is melanin?"),
        ("What is methanol?", "What is ethanol?"),
        ("What should I do about mice?", "What should I have done about mice?"),
        ("Fix this code:\n  if a:\n    b()", "Fix this code:\n  if a:\n  b()"),
        ("Fix the capitals: anna went home", "Fix the capitals: Anna went home"),
        ("thanks", "hello"),
    ],
)
def test_what_cannot_be_told_is_never_served(first: str, second: str) -> None:
    """A free modifier, another payload, a name in small letters: open at best."""
    assert compared(first, second).finding in {Finding.OPEN, Finding.VETO}
