"""One row of the ledger: what a request was, what it used and what it cost. Sans-IO."""

from typing import Final

import msgspec

from proxy.openai.tokens import TOKENS, UNITS

__all__ = [
    "KINDS",
    "MAX_TAGS",
    "MAX_TEXT",
    "MAX_WEIGHT",
    "MICROSECONDS",
    "OWN_KEY",
    "PART",
    "Row",
    "bounded",
    "cleaned",
    "fitted",
    "part_of",
    "weight",
]

KINDS: Final = (*TOKENS, *UNITS)
"""What is used, as answers tell it: a column each, in any store."""
MICROSECONDS: Final = 1_000_000
OWN_KEY: Final = "~"
"""What the name of a client's own key begins with."""
MAX_TEXT: Final = 128
MAX_TAGS: Final = 16
MAX_WEIGHT: Final = 4_096
MAX_AMOUNT: Final = 1 << 50
"""Of one row, which is a million dollars: thousands of them add up to what a store can still count."""
BARE: Final = 768
"""Bytes of a row without its longer texts: the struct, its numbers, its id, its usage."""


PART: Final = "."
"""Stands in the call id of an answer of a session, between the session's and its number: no other id has one."""


def part_of(call_id: str, number: int) -> str:
    return f"{call_id}{PART}{number}"


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """New fields come last and have a default: other versions may read and write the same store.

    `call_id` is unique in the fleet: a row with the same one is the same row, and counts once.
    """

    call_id: str
    time: float
    """When it ended, in seconds since the epoch."""
    key: str = ""
    """The id of the virtual key. In pass-through mode `~` and a digest of the client's own; "" where there is none."""
    team: str = ""
    endpoint: str = ""
    """The route's name."""
    model: str = ""
    """As asked for."""
    served: str = ""
    """The model that the answer names."""
    upstream: str = ""
    cache: str = ""
    """As `x-cache-status` says it."""
    used: dict[str, int] = {}
    """Tokens and what else is paid for, by kind (KINDS); what is not there is 0."""
    cost: int | None = 0
    """Nano-dollars; None where no price is known."""
    saved: int | None = 0
    """Nano-dollars that the answer would have cost."""
    estimated: bool = False
    """The usage was counted here: the upstream did not tell."""
    status: int = 0
    error: str = ""
    attempts: int = 0
    duration: int = 0
    """Microseconds."""
    first_token: int | None = None
    """Microseconds to the first byte of a stream."""
    bytes_in: int = 0
    bytes_out: int = 0
    tags: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Row {self.call_id} {self.status} {self.cost}>"


def weight(row: Row) -> int:
    """Around as many bytes as it takes in memory."""
    size = BARE + len(row.model) + len(row.served) + len(row.key) + len(row.team)
    return size + sum(map(len, row.tags)) if row.tags else size


def fitted(row: Row) -> Row:
    """Within MAX_WEIGHT: texts that somebody else chose are cut, and tags beyond the last are left out."""
    return msgspec.structs.replace(
        row,
        **{name: getattr(row, name)[:MAX_TEXT] for name in _TEXTS},
        tags=tuple(tag[:MAX_TEXT] for tag in row.tags[:MAX_TAGS]),
    )


def bounded(row: Row) -> Row:
    """Itself, unless an amount is beyond any use: sums of it might be beyond what a store counts."""
    # Together they have a bit above the bound if one of them has, and the sign of one that is negative.
    bits = (row.cost or 0) | (row.saved or 0) | row.duration | row.bytes_in | row.bytes_out
    for amount in row.used.values():
        bits |= amount
    return row if 0 <= bits < MAX_AMOUNT else cleaned(row)


def cleaned(row: Row) -> Row:
    """With nothing in it that a store can't take: half characters, and numbers beyond any use."""
    texts = {name: _text(getattr(row, name)) for name in ("call_id", *_TEXTS)}
    amounts = {name: _amount(getattr(row, name)) for name in _AMOUNTS}
    used = {kind: _whole(amount) for kind, amount in row.used.items() if kind in KINDS}
    return msgspec.structs.replace(row, **texts, **amounts, used=used, tags=tuple(map(_text, row.tags)))


_TEXTS: Final = ("key", "team", "endpoint", "model", "served", "upstream", "cache", "error")
_AMOUNTS: Final = ("cost", "saved", "status", "attempts", "duration", "first_token", "bytes_in", "bytes_out")


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _amount(amount: int | None) -> int | None:
    return None if amount is None else _whole(amount)


def _whole(amount: int) -> int:
    return max(0, min(MAX_AMOUNT, amount))
