"""Questions of one person or of a moment, and answers that are none."""

import pytest

from proxy.semantic.modes import Never
from proxy.semantic.refusing import LONGEST, is_refusal

USUAL = Never((), usual=True)
PASSING = [
    "Is the museum open now?", "What is the gold price?", "What's the current price of copper?", "What day is it?",
    "What's the date?", "Who won the match?", "Who has won the election?",
    "Who is the current prime minister of Japan?",
    "When does my contract end?", "When will my card arrive?", "How many days of leave do I have left?",
    "Am I pregnant?", "am i a narcissist", "Who am I?", "How old am I?", "What is my name?", "What did I ask before?",
    "Have I told you about my dog?", "Do you remember what I said?", "Give me another one", "Tell me one more",
    "Another!", "go on", "Please generate a random password", "Pick a random number", "Roll a dice", "Flip a coin",
    "Could you suggest a random name?", "What is the weather like?", "Where is my parcel?", "What’s the score?",
]  # fmt: skip
LASTING = [
    "Am I allowed to keep a dog?", "Am I entitled to a refund?", "Am I covered for theft?", "How do I open an account?",
    "What do I do now if I lost my card?",
    "Who won the 2018 World Cup?", "How do I generate a random number in Python?",
    "How many days are in a leap year?", "What is the date format in Excel?", "How do I open a current account?",
    "Who won the Battle of Hastings?", "Can I get another card?", "What is the price elasticity of demand?",
    "How do I add another user?", "When is the deadline for applications?", "What time zone is Peru in?",
]  # fmt: skip
REFUSALS = [
    "I'm sorry, but I can't assist with that request.", "I’m sorry, but I can’t help with that.",
    "I cannot help with that.",
    "Sorry, I'm not able to provide that.", "I'm unable to share personal data.", "I won't do that.", "I must decline.",
    "As an AI language model, I cannot give legal advice.", "Unfortunately, I am unable to answer this.",
    "I apologize, but I can not comply with this.", "I'm really sorry, but as an AI, I can't do this.",
    "I don't have access to real-time data.", "Thank you for your question! I can't discuss this.",
]  # fmt: skip
ANSWERS = [
    "Sorry to hear that! Restart the router first.", "You can't return opened software.", "I can't wait to see it!",
    "I can't recommend it enough.", "Paris.", "It is not possible to cancel after 14 days.", "I am a model made by X.",
    "I'm sorry, but I can't do that in one line. " + "Here is how it is done in more. " * 30, "",
]  # fmt: skip


@pytest.mark.parametrize("question", PASSING)
def test_what_passes_is_never_looked_up(question: str) -> None:
    assert USUAL.holds(question)
    assert not Never(()).holds(question)


@pytest.mark.parametrize("question", LASTING)
def test_what_lasts_is(question: str) -> None:
    assert not USUAL.holds(question)


def test_the_phrase_is_told() -> None:
    """As it stands in the question, of the deployment's own before the kinds that everybody has."""
    assert USUAL.phrase("Where is\n my  parcel?") == "my parcel"
    assert USUAL.phrase("Is it open now?") == "open now"
    assert Never(["our  plan"], usual=True).phrase("What of Our plan?") == "Our plan"
    assert Never(["plan"]).phrase("What of planning?") == ""


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_is_no_answer(answer: str) -> None:
    assert is_refusal(answer)
    assert not is_refusal(answer + " " * LONGEST)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_none(answer: str) -> None:
    assert not is_refusal(answer)
