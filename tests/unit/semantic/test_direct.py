"""A question inside another is the question that it would be by itself."""

import pytest

from cache.semantic.guard import Finding, Guard

GUARD = Guard()
SAME = [
    ("Could you tell me when my bin is collected?", "When is my bin collected?"),
    ("Do you know where the nearest pharmacy is?", "Where is the nearest pharmacy?"),
    ("I was wondering how I check my credit report", "How do I check my credit report?"),
    ("I'd like to know how much the ticket costs.", "How much does the ticket cost?"),
    ("Does anyone know what time the gym opens?", "What time does the gym open?"),
    ("Can you tell me how long I have to return an item?", "How long do I have to return an item?"),
    ("Do you know when the holidays start?", "When do the holidays start?"),
    ("I wonder why my parcel has been delayed", "Why has my parcel been delayed?"),
    ("Can you tell me if I can bring my dog on the plane?", "Can I bring my dog on the plane?"),
    ("I need to know whether there is a shuttle to the hotel", "Is there a shuttle to the hotel?"),
    ("Please tell me which documents I need", "Which documents do I need?"),
    ("How to share a calendar?", "How do I share a calendar?"),
    ("Am I able to take my bike on the train?", "Can I take my bike on the train?"),
    ("Is it possible to pay by direct debit?", "Can I pay by direct debit?"),
    ("Is there a way to get rid of a headache?", "How do I treat a headache?"),
    ("On the free plan how many users can I have?", "How many users can I have on the free plan?"),
    ("In the south is the pool open?", "Is the pool open in the south?"),
    ("What could I do about it if my boiler leaks?", "What can I do about it if my boiler leaks?"),
]
OTHER = [
    ("Do you know when my bin is collected?", "Do you know when my bin was stolen?"),
    ("I was wondering how I cancel my order", "I was wondering how you cancel my order"),
    ("Tell me how long my contract lasts", "Tell me how much my contract costs"),
    ("I wonder whether you ship to Spain", "I wonder whether they ship to Spain"),
    ("Can you tell me if I can bring a dog?", "Can you tell me if I have to bring a dog?"),
    ("Do you know what time it was?", "Do you know what time it is?"),
    ("Is there a way to export my data?", "Is there a way to import my data?"),
    ("When I travel abroad can I use my card?", "When do I travel abroad?"),
    ("What could I have done about the leak?", "What can I do about the leak?"),
    ("On the free plan how many users can I have?", "On the paid plan how many users can I have?"),
]


def found(first: str, second: str) -> Finding:
    return GUARD.compare(GUARD.prepare(first), GUARD.prepare(second)).finding


@pytest.mark.parametrize(("inside", "alone"), SAME)
def test_a_question_inside_another_is_that_question(inside: str, alone: str) -> None:
    """Its order, and what opens it, say nothing of what is asked."""
    assert found(inside, alone) in {Finding.SAME, Finding.LICENSED}


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_what_is_asked_inside_still_counts(first: str, second: str) -> None:
    """Person, tense, direction and object are looked at as they would be outside."""
    assert found(first, second) in {Finding.OPEN, Finding.VETO}
