"""Canonical bytes: one for every spelling of a value, and never one for two values."""

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from cache import fingerprint
from cache.fingerprint import Unkeyable, canonical, canonical_value, key_of, scope_of

# Half a pair of surrogates, and never both: next to each other, written as escapes, they are one character.
CHARACTERS = st.characters(codec="utf-8") | st.sampled_from(':"\\/\n\u00e9\u2028\uffff\U0001f600\ud83d')
TEXT = st.text(CHARACTERS, max_size=6)
EXPONENTS = st.integers(-25, 25)
NUMBERS = st.builds(
    lambda digits, exponent: digits * Fraction(10) ** exponent, st.integers(-(10**21), 10**21), EXPONENTS
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
Draw = Callable[[st.SearchStrategy[Any]], Any]


def spell_number(number: Fraction, draw: Draw) -> str:
    """Any of the ways to write it: shifted by an exponent, padded with zeros, as an integer where it is one."""
    exponent = draw(EXPONENTS)
    shifted = number / Fraction(10) ** exponent
    places = 0
    while shifted.denominator != 1:
        shifted, places = shifted * 10, places + 1
    digits = str(abs(shifted.numerator)).rjust(places + 1, "0")
    whole, fraction = (digits[:-places], digits[-places:]) if places else (digits, "")
    fraction += "0" * draw(st.integers(0, 2))
    sign = "-" if number < 0 or (number == 0 and draw(st.booleans())) else ""
    power = f"{draw(st.sampled_from('eE'))}{exponent:{draw(st.sampled_from(['', '+', '04']))}}"
    return f"{sign}{whole}{'.' if fraction else ''}{fraction}{power if exponent or draw(st.booleans()) else ''}"


def spell_text(text: str, draw: Draw) -> str:
    def escape(character: str) -> str:
        units = character.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))

    escaped = draw(st.sets(st.sampled_from(sorted(set(text))))) if text else set()
    quoted = (escape(c) if c in escaped else json.dumps(c, ensure_ascii=draw(st.booleans()))[1:-1] for c in text)
    return f'"{"".join(quoted)}"'


def spell(value: object, draw: Draw) -> str:
    """A JSON text that says this."""
    gap = draw(st.sampled_from(["", " ", "\r\n\t"]))
    match value:
        case dict():
            names = draw(st.permutations(list(value)))
            members = (f"{gap}{spell_text(name, draw)}{gap}:{spell(value[name], draw)}" for name in names)
            text = f"{{{','.join(members)}{gap}}}"
        case list():
            text = f"[{','.join(spell(item, draw) for item in value)}{gap}]"
        case str():
            text = spell_text(value, draw)
        case Fraction():
            text = spell_number(value, draw)
        case _:
            text = json.dumps(value)
    return f"{gap}{text}{gap}"


def kinds(value: object) -> object:
    """Python takes True for 1; JSON does not."""
    match value:
        case dict():
            return {name: kinds(member) for name, member in value.items()}
        case list():
            return [kinds(item) for item in value]
        case _:
            return type(value).__name__, value


def number_of(text: str) -> Fraction:
    return Fraction(text)


def read(text: bytes) -> object:
    scanned = json.loads(text.decode("utf-8", "surrogatepass"), parse_int=number_of, parse_float=number_of)
    return kinds(scanned)


@given(VALUES, st.data())
@example(Fraction(10) ** 20, None)
def test_every_spelling_of_a_value_has_one_form(value: object, data: st.DataObject | None) -> None:
    """White space, order of members, escapes and the way of writing numbers do not count; the form is the value."""
    spellings = [spell(value, data.draw) for _ in range(2)] if data else ["1e20", "1" + "0" * 20]
    forms = {canonical_value(spelling.encode("utf-8", "surrogatepass")) for spelling in spellings}
    assert len(forms) == 1
    assert read(forms.pop()) == kinds(value)


@given(VALUES, VALUES, st.data())
def test_two_values_never_have_one_form(one: object, other: object, data: st.DataObject) -> None:
    """Equal forms, equal values; and the other way round."""
    forms = [canonical_value(spell(value, data.draw).encode("utf-8", "surrogatepass")) for value in (one, other)]
    assert (forms[0] == forms[1]) is (kinds(one) == kinds(other))


@given(OBJECTS, TEXT, VALUES, st.data())
def test_an_added_member_counts_unless_it_is_denied(
    members: dict[str, object], name: str, value: object, data: st.DataObject
) -> None:
    """At the top; below it every member counts."""
    members = {key: member for key, member in members.items() if key != name}
    body = spell(members, data.draw).encode("utf-8", "surrogatepass")
    longer = spell({**members, name: value}, data.draw).encode("utf-8", "surrogatepass")
    assert canonical(body, ()) == canonical(longer, {name})
    assert canonical(body, ()) != canonical(longer, ())
    assert canonical(b'{"in":%b}' % body, {name} - {"in"}) != canonical(b'{"in":%b}' % longer, {name} - {"in"})


@given(OBJECTS, st.data())
def test_the_quick_reader_agrees_with_the_exact_one(members: dict[str, object], data: st.DataObject) -> None:
    """Wherever it dares to answer."""
    body = spell(members, data.draw).encode("utf-8", "surrogatepass")
    exact = fingerprint._exact(body, ("a", ""))
    assert fingerprint._quick(body, ("a", "")) in {exact, b""}


PIECES = [
    b'"a"',
    b'"\\u0061"',
    b":",
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"\\u003a:"',
    b"1",
    b"1e0",
    b" ",
    b'"b"',
    b"\xff",
    b"nul",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join) | st.binary(max_size=40))
@example(b'{"a":1,"a":1}')
@example(rb'{"a":"\u003a","a":1}')
@example(b"[" * 10_000)
@example(b'\xef\xbb\xbf{"a":1}')
def test_any_bytes_have_a_form_or_a_reason(body: bytes) -> None:
    """Never another exception; and what has a form is JSON in which every name is given once."""
    try:
        form = canonical_value(body)
    except Unkeyable:
        return

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    text = body.decode("utf-8", "surrogatepass")
    value = json.loads(text, object_pairs_hook=once, parse_int=number_of, parse_float=number_of)
    assert kinds(value) == read(form)


PARTS = st.lists(st.tuples(st.sampled_from(["?", "a", "ab"]), st.binary(max_size=3)), max_size=3)
KEYS = st.tuples(st.binary(max_size=3), st.sampled_from(["a", "ab"]), PARTS, st.binary(max_size=3))


@given(KEYS, KEYS)
def test_keys_are_equal_only_for_equal_parts(
    one: tuple[bytes, str, list[tuple[str, bytes]], bytes], other: tuple[bytes, str, list[tuple[str, bytes]], bytes]
) -> None:
    """However the bytes are spread over scope, endpoint, qualifiers and content."""

    def name(qualifier: tuple[str, bytes]) -> str:
        return qualifier[0]

    same = (*one[:2], sorted(one[2], key=name), one[3]) == (*other[:2], sorted(other[2], key=name), other[3])
    assert (key_of(*one) == key_of(*other)) is same


@given(st.lists(st.binary(max_size=3), max_size=3), st.lists(st.binary(max_size=3), max_size=3))
def test_scopes_are_equal_only_for_equal_parts(one: list[bytes], other: list[bytes]) -> None:
    """Whatever kind and parts would be when glued together."""
    assert (scope_of("team", *one) == scope_of("team", *other)) is (one == other)
    assert scope_of("team", *one) != scope_of("key", *one)
    assert scope_of("a", b"b", *one) != scope_of("ab", *one)
