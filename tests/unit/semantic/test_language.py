"""The language of a question, by its script or its function words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic.language import language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I renew my passport?", "en"),
        ("renew passport online", "en"),
        ("Wie kann ich meinen Pass verlängern?", "de"),
        ("Wie erneuere ich den Pass?", "de"),
        ("Comment renouveler mon passeport ?", "fr"),
        ("¿Cómo puedo renovar mi pasaporte?", "es"),
        ("Come posso rinnovare il mio passaporto?", "it"),
        ("Como posso renovar o meu passaporte?", "pt"),
        ("Hoe kan ik mijn paspoort verlengen?", "nl"),
        ("Как продлить паспорт?", "Cyrl"),
        ("如何更新护照", "Hani"),
        ("パスポートの更新方法", "ja"),
        ("여권 갱신 방법", "ko"),
        ("كيف أجدد جواز سفري", "Arab"),
        ("12345 ?", "und"),
        ("", "und"),
        ("xqzv wrtk", "und"),
    ],
)
def test_the_language_is_told(text: str, expected: str) -> None:
    """English is told from its neighbours; another script is named; what cannot be told says so."""
    assert language(text) == expected


@pytest.mark.parametrize(
    "text",
    ["What does 'Weltschmerz' mean?", "How do I say thank you in French?", "Where is São Paulo?", "What is 日本?"],
)
def test_a_foreign_word_makes_no_foreign_question(text: str) -> None:
    """What is asked about may be of another language than the question."""
    assert language(text) == "en"


@given(st.text(max_size=300))
def test_any_text_has_an_answer(text: str) -> None:
    """It never raises, and is never empty."""
    assert language(text)
