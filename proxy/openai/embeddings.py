"""Embeddings, one input at a time: a batch taken apart, asked for in part, and put together again. Sans-IO.

Theory. What is kept of an input is a whole answer: the one that the upstream gave, or would have given,
for this input alone, in the upstream's own order of members and white space. So a request of one input
is answered with the very bytes of the first answer, and a batch of known inputs with the bytes that
the upstream sent for this batch, whatever its style, as long as that style is uniform.

An upstream counts tokens by batch. The share of an input is what it used if it was asked alone;
otherwise the total is divided by length, in tokens where inputs are tokens and in bytes where they are
text. Such a share is an estimate and says so, but shares always sum to the total. A batch that is known
in part reports the usage of what was asked now. Tokens saved are the shares of all its inputs, a
repeated one as often as it stands there, less that usage.
"""

import enum
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, final

import msgspec

from proxy.openai.float32 import NotFloat32, is_packed, length, to_base64, to_decimals, unpack
from proxy.openai.members import NotPlain, Span, elements, members, replace

__all__ = ["Batch", "Format", "NotVectors", "Single", "add", "length_of", "merge", "missing", "read", "split"]

MAX_INPUTS: Final = 2_048
"""In one batch, as OpenAI has it."""

_KNOWN: Final = frozenset({"model", "input", "encoding_format", "dimensions", "user", "input_type", "truncate"})
_BETWEEN: Final = re.compile(rb'[ \t\n\r]*,([ \t\n\r]*)"')
_EMBEDDING: Final = re.compile(rb'"embedding"[ \t\n\r]*:[ \t\n\r]*(["\[])')
ESTIMATED: Final = b'"estimated":true'
UNHEEDED: Final = b'"unheeded":true'
_TOKENS: Final = b"0123456789, \t\n\r"


class Format(enum.Enum):
    """`encoding_format`."""

    FLOAT = "float"
    BASE64 = "base64"


@final
class NotVectors(ValueError):
    """An answer that is not one vector for each input."""


class Single(NamedTuple):
    """What is kept of one input."""

    answer: bytes
    """JSON: as if this input had been asked alone."""
    usage: bytes
    """JSON of its share; b"" where the upstream told none. Beside its numbers it may say `"estimated":true`,
    and `"unheeded":true` if the upstream answered in the other form than it was asked for.
    """


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """A request for embeddings."""

    inputs: tuple[bytes, ...] = field(repr=False)
    """JSON of each, as it stands in the body: a string, or an array of tokens."""
    format: Format
    apart: frozenset[str]
    """Members of the body that do not count in the key of one input, beside those that never do."""
    _body: bytes = field(repr=False)
    _input: Span = field(repr=False)

    def ask(self, wanted: Sequence[int]) -> bytes:
        """The body with these inputs alone, all else as it was."""
        if len(wanted) == len(self.inputs):
            return self._body
        return replace(self._body, {self._input: b"[%b]" % b",".join([self.inputs[place] for place in wanted])})


def split(body: bytes) -> Batch | None:
    """None for a request that is of no known shape, of more inputs than may be, or refused by every upstream."""
    try:
        spans = members(body)
        where = spans["input"]
        inputs = _inputs(body, where)
        format_ = _format(body, spans.get("encoding_format"))
    except (NotPlain, KeyError, ValueError):
        return None
    if not 0 < len(inputs) <= MAX_INPUTS:
        return None
    # A member that is not known could make the numbers other than 32-bit floats: then one form says nothing
    # of the other.
    apart = {"input", "encoding_format"} if spans.keys() <= _KNOWN else {"input"}
    return Batch(tuple(inputs), format_, frozenset(apart), body, where)


def missing(keys: Sequence[str], known: Container[str]) -> list[int]:
    """The inputs to ask for: of each key that is not known, the first. `keys` has one for each input."""
    first: dict[str, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    return [place for key, place in first.items() if key not in known]


def read(answer: bytes, inputs: Sequence[bytes], format_: Format) -> list[Single]:
    """What the upstream answered to each of the inputs that it was asked for, in that form. Raises NotVectors."""
    found = _Answer.of(answer, len(inputs))
    found.check()
    usage = found.text[slice(*found.usage)] if found.usage else b""
    if len(inputs) == 1:
        answers, shares = [answer], [usage]
    else:
        shares = _shares(usage, [_length(each) for each in inputs])
        answers = [found.with_items([item.at(0)], share) for item, share in zip(found.items, shares, strict=True)]
        shares = [_noted(share, ESTIMATED) if _numbers(share) else share for share in shares]
    return [
        Single(each, share if item.format is format_ else _noted(share, UNHEEDED))
        for each, share, item in zip(answers, shares, found.items, strict=True)
    ]


def add(usages: Iterable[bytes]) -> bytes:
    """JSON of the sum of several usages."""
    total: dict[str, int] = {}
    for usage in usages:
        for name, (_, number) in _numbers(usage).items():
            total[name] = total.get(name, 0) + number
    return msgspec.json.encode(total)


def merge(kept: Sequence[Single], format_: Format, usage: bytes) -> bytes:
    """The answer to a batch. Raises NotVectors.

    `kept` has one for each input, and `usage` is what the batch shall say that it used: that of the
    upstream's answer now, or the sum of distinct inputs if nothing was asked. An embedding in the other
    form is converted; from base64 to decimals that takes some 2 ms for 1,536 dimensions.
    """
    parts = [_parts(single.answer).in_form(format_, heeded=UNHEEDED not in single.usage) for single in kept]
    if len(kept) == 1 and parts[0].is_original:
        return kept[0].answer
    if len({length(part.embedding) for part in parts}) > 1:
        raise NotVectors("vectors of different lengths")
    frames: dict[tuple[bytes, bytes], _Answer] = {}
    items = []
    for place, (before, embedding, after, _) in enumerate(parts):
        frame = frames.get((before, after))
        if frame is None:
            # Without its embedding an answer is short, and mostly that of the inputs around it.
            frame = frames[before, after] = _Answer.of(before + b"[]" + after, 1)
        items.append(frame.items[0].at(place, embedding))
    return frames[parts[0].before, parts[0].after].with_items(items, usage)


def length_of(answer: bytes) -> int:
    """How many numbers the embedding has in what is kept of one input. Raises NotVectors."""
    return length(_parts(answer).embedding)


class _Parts(NamedTuple):
    """An answer of one embedding, and what stands around that."""

    before: bytes
    embedding: bytes
    after: bytes
    is_original: bool = True

    def in_form(self, format_: Format, *, heeded: bool) -> "_Parts":
        """Converted, unless the upstream gives but one form, whatever it is asked for. Raises NotVectors."""
        if not heeded or _form_of(self.embedding) is format_:
            return self
        convert = to_base64 if format_ is Format.BASE64 else to_decimals
        try:
            return self._replace(embedding=convert(self.embedding), is_original=False)
        except NotFloat32:
            raise NotVectors("an embedding has no other form") from None


class _Item(NamedTuple):
    """An object of `data`."""

    text: bytes
    number: Span
    """Of its `index`."""
    embedding: Span

    @property
    def format(self) -> Format:
        return _form_of(self.text[slice(*self.embedding)])

    def at(self, number: int, embedding: bytes = b"") -> bytes:
        values = {self.number: b"%d" % number}
        if embedding:
            values[self.embedding] = embedding
        return replace(self.text, values)


class _Answer(NamedTuple):
    text: bytes
    items: list[_Item]
    """By index."""
    place: Span
    """From the first to the last of them."""
    comma: bytes
    """What stands between them."""
    usage: Span | None

    @classmethod
    def of(cls, text: bytes, count: int) -> "_Answer":
        """Raises NotVectors."""
        try:
            spans = members(text)
            places = elements(text, spans["data"])
            found = {}
            for place in places:
                item = _item(text[slice(*place)])
                found[int(item.text[slice(*item.number)])] = item
        except (NotPlain, KeyError, ValueError):
            raise NotVectors("not a list of embeddings") from None
        if len(places) != count or sorted(found) != list(range(count)):
            raise NotVectors("not an embedding for each input")
        usage = spans.get("usage")
        if usage is not None and text[usage.start : usage.start + 1] != b"{":
            usage = None
        comma = _comma(text, spans["data"], places)
        return cls(text, [found[index] for index in range(count)], Span(places[0].start, places[-1].end), comma, usage)

    def check(self) -> None:
        """Raises NotVectors unless all are of one length, each can be told in both forms, and its form at a glance."""
        if _EMBEDDING.search(self.text, 0, self.place.start):
            raise NotVectors("an embedding beside the list")
        sizes = set()
        try:
            self.text.decode()
            for item in self.items:
                glance = _EMBEDDING.search(item.text)
                if glance is None or glance.start(1) != item.embedding.start:
                    raise NotVectors("an embedding beside the one that counts")
                sizes.add(len(unpack(item.text[slice(*item.embedding)])))
        except NotFloat32:
            raise NotVectors("not finite numbers of 32 bits") from None
        except UnicodeDecodeError:
            raise NotVectors("not UTF-8") from None
        if len(sizes) > 1:
            raise NotVectors("vectors of different lengths")

    def with_items(self, items: Sequence[bytes], usage: bytes) -> bytes:
        """This answer with other items, and the numbers of another usage."""
        values = {self.place: self.comma.join(items)}
        if self.usage is not None and usage:
            numbers = {name: number for name, (_, number) in _numbers(usage).items()}
            values[self.usage] = _renumbered(self.text[slice(*self.usage)], numbers)
        return replace(self.text, values)


def _inputs(body: bytes, where: Span) -> list[bytes]:
    """Raises NotPlain."""
    value = body[slice(*where)]
    if value[:1] == b'"' or _is_tokens(value):
        return [value]
    inputs = [body[slice(*span)] for span in elements(body, where)]
    if all(each[:1] == b'"' for each in inputs) or all(_is_tokens(each) for each in inputs):
        return inputs
    raise NotPlain("inputs of another kind")


def _is_tokens(value: bytes) -> bool:
    """A JSON array of natural numbers, at least one."""
    return value[:1] == b"[" and value.translate(None, _TOKENS) == b"[]" and value[1:-1].strip() != b""


def _format(body: bytes, where: Span | None) -> Format:
    """Raises ValueError."""
    value = body[slice(*where)] if where else b"null"
    return Format.FLOAT if value == b"null" else Format(msgspec.json.decode(value, type=str))


def _parts(answer: bytes) -> _Parts:
    """Of what `read` has checked: the first embedding is the only one, and flat. Raises NotVectors."""
    found = _EMBEDDING.search(answer)
    start = found.start(1) if found else -1
    end = answer.find(b'"' if answer[start : start + 1] == b'"' else b"]", start + 1) + 1
    if start < 0 or not end:
        raise NotVectors("no embedding")
    return _Parts(answer[:start], answer[start:end], answer[end:])


def _form_of(embedding: bytes) -> Format:
    return Format.BASE64 if is_packed(embedding) else Format.FLOAT


def _item(text: bytes) -> _Item:
    """Raises NotPlain and KeyError."""
    spans = members(text)
    item = _Item(text, spans["index"], spans["embedding"])
    if not text[slice(*item.number)].isdigit():
        raise NotPlain("an index that is no natural number")
    return item


def _comma(text: bytes, data: Span, items: Sequence[Span]) -> bytes:
    """What stands between the items, or would if there were two: a printer puts the same before the first one,
    or the same between the members of an item.
    """
    if len(items) > 1:
        return text[items[0].end : items[1].start]
    first = items[0]
    before = text[data.start + 1 : first.start]
    if before:
        return b"," + before
    spans = list(members(text[slice(*first)]).values())
    between = _BETWEEN.match(text, first.start + spans[0].end)
    return b"," + (between[1] if between else b"")


def _numbers(usage: bytes) -> dict[str, tuple[Span, int]]:
    """The members of a usage object that count something."""
    try:
        spans = members(usage)
    except NotPlain:
        return {}
    found = {name: (span, usage[slice(*span)]) for name, span in spans.items()}
    return {name: (span, int(raw)) for name, (span, raw) in found.items() if raw.isdigit() and len(raw) <= 16}


def _renumbered(usage: bytes, numbers: dict[str, int]) -> bytes:
    counted = _numbers(usage)
    return replace(usage, {span: b"%d" % numbers[name] for name, (span, _) in counted.items() if name in numbers})


def _shares(usage: bytes, lengths: Sequence[int]) -> list[bytes]:
    """The usage divided by length. Each number sums to what it was."""
    marks = [0, *accumulate(lengths)]
    counted = _numbers(usage)
    return [
        _renumbered(usage, {name: n * end // marks[-1] - n * start // marks[-1] for name, (_, n) in counted.items()})
        for start, end in pairwise(marks)
    ]


def _noted(usage: bytes, note: bytes) -> bytes:
    """A usage object with one more member, or a new one."""
    told = usage[1:-1].strip()
    return b"{%b,%b}" % (told, note) if told else b"{%b}" % note


def _length(value: bytes) -> int:
    """In tokens, or for text in bytes."""
    return value.count(b",") + 1 if value[:1] == b"[" else len(value) - 1
