"""Whose a question is: what a purge looks at, kept beside the text wherever it goes. Sans-IO."""

from sys import getsizeof
from typing import Final, Self, final

import msgspec

from cache.select import Meant, Selector

__all__ = ["Origin", "is_meant"]

MAX_TAGS: Final = 32


@final
class Origin(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Of the answer that was made for the question, or would have been. `created` is in seconds since the epoch."""

    key: str
    team: str
    tags: tuple[str, ...]
    scope: str
    endpoint: str
    model: str
    served_model: str
    created: float

    @classmethod
    def of(cls, meta: Meant) -> Self:
        return cls(
            key=meta.key,
            team=meta.team,
            tags=meta.tags[:MAX_TAGS],
            scope=meta.scope,
            endpoint=meta.endpoint,
            model=meta.model,
            served_model=meta.served_model,
            created=meta.created,
        )

    @property
    def size(self) -> int:
        """Bytes of memory that it holds, as if it shared none of them."""
        texts = self.key, self.team, self.scope, self.endpoint, self.model, self.served_model
        return COST + sum(map(getsizeof, (*texts, self.tags, *self.tags)))

    def __repr__(self) -> str:
        return f"<Origin {self.key[:12]}>"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("key", self.key)]


COST: Final = 16 + 8 * len(Origin.__struct_fields__) + getsizeof(0.0)


def is_meant(selector: Selector, origin: Origin | None, made: float, now: float) -> bool:
    """`made` is when its text was written down. Of one without an origin, which older versions wrote, nobody knows
    whose it is: it goes with all that might mean it.
    """
    return selector.may_mean(made, now) if origin is None else selector.matches(origin, now)
