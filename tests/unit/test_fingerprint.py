"""Which bodies are one request, which get no key, and what a key is made of."""

import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cache import fingerprint
from cache.fingerprint import (
    DENIED,
    MAX_STRUCTURE,
    QUICK_BYTES,
    QUICK_STRUCTURE,
    SMALL,
    Unkeyable,
    UnkeyableReason,
    canonical,
    canonical_value,
    digest,
    key_of,
    quick_to_read,
    scope_of,
)

ROOT = Path(__file__).parents[2]
SCOPE = scope_of("key", b"sk-1")
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"n":1}'


def reason_of(body: bytes) -> UnkeyableReason:
    with pytest.raises(Unkeyable) as caught:
        canonical(body)
    return caught.value.reason


NUMBERS = {
    b"1": [b"1.0", b"1e0", b"10e-1", b"0.1e1", b"1E+0", b"1.000", b"100E-02", b"1e-0000000000000000000000"],
    b"0": [b"-0", b"0.0", b"-0.0e5", b"0e999999999999999999999999"],
    b"-15": [b"-1.5e1", b"-15.00", b"-150e-1"],
    b"7e-1": [b"0.7", b"0.70", b"70e-2", b"0.0007e3"],
    b"-25e-3": [b"-0.025", b"-2.5E-2"],
    b"9999999999999999999": [b"9999999999999999999.0", b"99999999999999999990e-1"],
    b"-9999999999999999999": [b"-0.9999999999999999999e19"],
    b"1e19": [b"10000000000000000000", b"1.0e19"],
    b"-12345678901234567891e0": [b"-12345678901234567891", b"-1234567890123456789.1e1"],
    b"1e20": [b"100000000000000000000", b"100000000000000000000.0", b"10E19", b"0.1e21"],
    b"1e999": [b"1E+999", b"10e998", b"0.01e1001", b"1" + b"0" * 999],
    b"1e5000": [b"1" + b"0" * 5_000],
    b"1e999999999": [b"10e999999998"],
    b"1e-999999999999999999": [b"0.1e-999999999999999998"],
}


@pytest.mark.parametrize(("form", "spellings"), NUMBERS.items(), ids=[form.decode() for form in NUMBERS])
def test_numbers_are_what_they_mean(form: bytes, spellings: list[bytes]) -> None:
    """However they are written, and exactly: nothing goes through a float, nothing is expanded."""
    assert {canonical_value(number) for number in (form, *spellings)} == {form}


def test_numbers_next_to_each_other_differ() -> None:
    """Where a double holds both as one value, too."""
    numbers = [b"9007199254740993", b"9007199254740992", b"9007199254740993.5", b"0.1", b"0.10000000000000000001"]
    numbers += [b"1e308", b"1e309", b"1e310", b"-1e309", b"1" * 5_000, b"1" * 4_999 + b"2"]
    assert len({canonical_value(number) for number in numbers}) == len(numbers)


TEXTS = {
    "escapes": [rb'"a\/\u0041\n"', b'"a/A\\u000a"'],
    "astral": [rb'"\ud83d\ude00"', '"\U0001f600"'.encode()],
    "colon": [rb'"\u003a"', rb'"\u003A"', b'":"'],
    "half a pair": [rb'"\ud83d"', b'"\xed\xa0\xbd"'],
}


@pytest.mark.parametrize("spellings", TEXTS.values(), ids=TEXTS.keys())
def test_text_is_its_code_points(spellings: list[bytes]) -> None:
    """Escaped or not."""
    assert len({canonical_value(text) for text in spellings}) == 1


DIFFERENT = [
    b"null", b"true", b"false", b"0", b"1", b'"1"', b'"true"', b'"null"', b'""', b"[]", b"{}", b"[1]", b"[[1]]",
    b"[1,1]", b"[1,2]", b"[2,1]", b'[["a"],"b"]', b'["a",["b"]]', b'["a,b"]', b'["a","b"]', b'{"a":1}', b'{"a":null}',
    b'{"a":{"b":1}}', b'{"a":{},"b":1}', b'{"A":1}', '"é"'.encode(), '"e\u0301"'.encode(), b'"a"', b'"a "',
    rb'"\ud83d"', rb'"\ude00"', '"\U0001f600"'.encode(), b'"\xed\xa0\xbd\xed\xb8\x80"', b'"\\\\ud83d"',
    b'"7e-1"', b"0.7",
]  # fmt: skip


def test_what_differs_stays_different() -> None:
    """Types, nesting, order in arrays, absence, case, normalisation and halves of characters."""
    assert len({canonical_value(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_a_form_is_its_own_form() -> None:
    """Canonical bytes are JSON, and the canonical form of themselves."""
    for value in DIFFERENT:
        assert canonical_value(canonical_value(value)) == canonical_value(value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        rb'{"a":1,"\u0061":2}',
        b'{"x":[{"b":{},"b":{}}]}',
        rb'{"a":":","a":"\u003a\u003a"}',
        b'{"stream":true,"stream":false}',
        b'{"1":"11111111111111111111","1":2}',
    ],
)
def test_two_members_of_one_name_are_refused(body: bytes) -> None:
    """At any depth, however the name is written, also where it would not count."""
    assert reason_of(body) is UnkeyableReason.DUPLICATE_NAME


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":"\xff"}', b'{"a":"\x01"}', b"{}x"]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Also what some parsers take for it."""
    assert reason_of(body) is UnkeyableReason.NOT_JSON


@pytest.mark.parametrize("body", [b"[]", b"1", b'"{}"', b"null", rb'"\ud83d"'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """A body is an object."""
    assert reason_of(body) is UnkeyableReason.NOT_OBJECT


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("prefix", [b'{"a":', rb'{"\u003a":'], ids=["plain", "escaped"])
def test_deep_nesting_is_refused(opening: bytes, prefix: bytes) -> None:
    """By its reason, never by a RecursionError."""
    assert reason_of(prefix + opening * 100_000) is UnkeyableReason.TOO_DEEP


def test_a_body_of_too_many_values_is_refused() -> None:
    """Before anything is read."""
    assert canonical(b'{"a":[%b]}' % b",".join([b"1"] * (MAX_STRUCTURE - 1)))
    assert reason_of(b'{"a":[%b]}' % b",".join([b"1"] * MAX_STRUCTURE)) is UnkeyableReason.TOO_COMPLEX


@pytest.mark.parametrize("exponent", [b"1" + b"0" * 18, b"-" + b"9" * 5_000])
def test_an_exponent_beyond_all_reason_is_refused(exponent: bytes) -> None:
    """Instead of being computed with."""
    assert reason_of(b'{"a":1e%b}' % exponent) is UnkeyableReason.NUMBER


def test_few_values_and_few_bytes_are_quick_to_read() -> None:
    """Others belong into a thread; a long text is no obstacle, many values are."""
    assert quick_to_read(b"x" * SMALL)
    assert quick_to_read(b"x" * QUICK_BYTES)
    assert not quick_to_read(b"x" * (QUICK_BYTES + 1))
    assert not quick_to_read(b"1," * (QUICK_STRUCTURE + SMALL))


def test_a_refusal_tells_nothing_of_the_body() -> None:
    """Its text is the reason alone, and no other exception hangs on it."""
    with pytest.raises(Unkeyable) as caught:
        canonical(b'{"secret":"prompt","secret":"prompt"')
    assert (str(caught.value), caught.value.__cause__) == ("not-json", None)


def test_every_denied_member_says_why() -> None:
    """The list is closed: what is to be left out stands here, with its reason."""
    assert all(len(why) > 20 for why in DENIED.values())
    assert digest(BODY) == hashlib.sha256(canonical(BODY)).digest()
    assert canonical(BODY, ("n",)) == canonical(BODY.replace(b',"n":1', b""), ())
    assert canonical(b'{"stream":true,"a":{"stream":1}}') == b'{"a":{"stream":1}}'


def test_both_readers_write_the_same() -> None:
    """The quick one and the exact one, for every character that msgspec can write."""
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    body = msgspec.json.encode({"a": text, "b": [1, True, None, {"z": 1, "\u00e9": 2, "\U0001f600": 3, "\uffff": 4}]})
    assert fingerprint._exact(body, ()) == canonical(body) == fingerprint._exact(canonical(body), ())


def test_ordinary_requests_are_read_quickly() -> None:
    """Colons in text and in what is left out, token arrays and long text need no exact reader, which is slower."""
    body = {"metadata": {"a": "b:c"}, "stream_options": {"include_usage": True}, "input": list(range(100_000, 100_100))}
    body |= {"messages": [{"content": "at 10:30: \u00e9\n" * 100}], "temperature": 0.7, "user": "u"}
    assert fingerprint._quick(msgspec.json.encode(body), DENIED) == canonical(msgspec.json.encode(body))


def test_a_key_is_made_of_every_part_with_its_length() -> None:
    """Moving a byte from one part to the next, or changing any, is another key."""
    content = digest(BODY)
    keys = {
        key_of(SCOPE, "completions", [], content),
        key_of(SCOPE, "chat/completions", [], content),
        key_of(SCOPE[:-1], "completions", [], content),
        key_of(SCOPE, "completion", [], b"s" + content),
        key_of(SCOPE, "completions", [("a", b"bc")], content),
        key_of(SCOPE, "completions", [("ab", b"c")], content),
        key_of(SCOPE, "completions", [("a", b"b"), ("c", b"")], content),
        key_of(SCOPE, "completions", [], digest(b"{}")),
    }
    assert len(keys) == 8
    assert all(len(key) == 64 and set(key) <= set("0123456789abcdef") for key in keys)


def test_the_order_of_qualifiers_does_not_count() -> None:
    """Unless they have one name: then a proxy behind may take the first or the last."""
    one, two, other = ("a", b"1"), ("b", b"2"), ("a", b"3")
    assert key_of(SCOPE, "x", [one, two], b"") == key_of(SCOPE, "x", [two, one], b"")
    assert key_of(SCOPE, "x", [one, other], b"") != key_of(SCOPE, "x", [other, one], b"")


def test_a_key_is_the_same_in_every_process() -> None:
    """And after a restart, whatever the seed of Python's hashes."""
    program = f"from cache.fingerprint import *\nprint(key_of(scope_of('key', b'sk-1'), 'x', [], digest({BODY!r})))"
    run = [sys.executable, "-c", program]
    keys = {
        subprocess.run(run, cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True).stdout
        for seed in ("1", "2")
    }
    assert keys == {key_of(SCOPE, "x", [], digest(BODY)) + "\n"}


def test_a_key_does_not_change_with_a_release_by_accident() -> None:
    """Stored answers stay reachable; whoever changes the form on purpose changes VERSION too."""
    assert key_of(SCOPE, "chat/completions", [("?", b"a=1")], digest(BODY)) == (
        "fd7b0fa738c38bfa2e6b5577a364ab05577c7591e15871ecf369ec2f79aaf991"
    )
