"""What nobody sees is no part of a question that others ask."""

import pytest

from proxy.semantic.hidden import is_hidden

ASKED = "How do I reset my password?"
HIDDEN = {
    "tags": "\U000e0041\U000e0042",
    "a space without a width": "\u200b",
    "a joiner": "\u200d",
    "a direction": "\u202e",
    "a soft hyphen": "\u00ad",
    "private use": "\ue000",
    "private use of plane 16": "\U0010fffd",
    "not assigned": "\U000e0fff",
    "half a pair": "\ud800",
    "a grapheme joiner": "\u034f",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "a variant of a letter": "\ufe0f",
    "many variants": "🙂" + "\ufe0f" * 3,
    "a supplementary variant": "\U000e0101",
    "Braille without dots": "\u2800",
    "a control": "\x08",
    "a control beside what is not ASCII": "é\x1b",
}
PLAIN = [
    "",
    ASKED,
    "a\tb\r\nc",
    "Wie heißt das? 日本語",
    "naïve e\u0301",
    "I ❤️ it ☎︎",
    "ﷺ ½",
    "हिन्दी",
    "a\u00a0b\u2003c",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_what_nobody_sees_is_found(name: str) -> None:
    """Wherever it stands."""
    hidden = HIDDEN[name]
    assert is_hidden(ASKED + hidden)
    assert is_hidden("How" + hidden + "do I?")


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_seen_is_not_hidden(text: str) -> None:
    """Letters of any script, accents, lines, emoji as they are typed."""
    assert not is_hidden(text)
