"""C4: one request in another spelling is a hit; J4: also with numbers that no machine holds."""

import json

import pytest

from cache.fingerprint import canonical, digest

BODY = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "system", "content": 'Réponds: {"a": 1}'}, {"role": "user", "content": "\U0001f600\n"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "temperature": 0.7,
    "max_tokens": 100,
    "logit_bias": {"50256": -100, "2": 1},
}  # fmt: skip


def turned(value: object) -> object:
    """With the members of every object in the reverse order."""
    if isinstance(value, dict):
        return {name: turned(member) for name, member in reversed(value.items())}
    return [turned(item) for item in value] if isinstance(value, list) else value


SPELLINGS = {
    "compact": json.dumps(BODY, separators=(",", ":")).encode(),
    "indented": json.dumps(BODY, indent=4).encode(),
    "unescaped": json.dumps(BODY, ensure_ascii=False).encode(),
    "other order": json.dumps(turned(BODY)).encode(),
    "CRLF": json.dumps(BODY, indent="\t").replace("\n", "\r\n").encode(),
    "numbers": json.dumps(BODY).replace("0.7", "7.00E-1").replace("100}", "1e2}").replace("100,", "100.0,").encode(),
    "all escaped": json.dumps(BODY).replace(":{", ":{").replace("a", "\\u0061").encode(),
    "more": json.dumps({**BODY, "stream": True, "user": "u", "metadata": {"a": "b"}}).encode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_c4_another_spelling_is_the_same_request(spelling: bytes) -> None:
    """Key order, white space, escapes, ways to write a number, and fields that do not count."""
    assert json.loads(spelling)
    assert digest(spelling) == digest(SPELLINGS["compact"])


@pytest.mark.parametrize("order", ["messages", "inner"])
def test_c4_the_order_of_items_counts(order: str) -> None:
    """Of messages, tools and stop words: an array is a sequence."""
    one, other = b'{"%b":[{"a":1},{"b":2}]}', b'{"%b":[{"b":2},{"a":1}]}'
    assert digest(one % order.encode()) != digest(other % order.encode())


EXTREME = [
    b"1e999",
    b"-1E+999",
    b"9" * 5_000,
    b"1.0000000000000000000001",
    b"-0",
    b"1e-5",
    b"1e999999999",
    b"0." + b"3" * 5_000,
]


@pytest.mark.parametrize("number", EXTREME, ids=lambda number: number[:20].decode())
def test_j4_any_number_has_a_stable_and_small_form(number: bytes) -> None:
    """The same each time, another than its neighbour's, and never expanded."""
    body = b'{"model":"m","seed":%b}'
    form = canonical(body % number)
    assert form == canonical(b' { "seed" : %b , "model" : "m" } ' % number) == canonical(form)
    assert form not in {canonical(body % other) for other in EXTREME if other is not number}
    assert len(form) <= len(body % number) + 8
