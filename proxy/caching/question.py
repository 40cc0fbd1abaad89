"""What is asked of the cache, and what it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from cache.directives import Directives
from cache.entry import Entry
from cache.policy import Plan
from proxy.caching.meaning import Meaning
from proxy.exchange import Exchange
from proxy.openai.embeddings import Format

__all__ = ["Alike", "Found", "Inquiries", "Inquiry", "Question"]


@dataclass(slots=True)
class Question:
    """One request that may have been answered before."""

    key: str
    plan: Plan
    asked: Directives
    meaning: Meaning
    scope: str
    shared: bool
    """Others may share its answer while it is in flight."""
    keys: Sequence[str] = ()
    """Of each input, where the request is for embeddings."""
    qualifiers: Sequence[tuple[str, bytes]] = ()
    """What counts beside the body."""

    @property
    def vectors(self) -> Format | None:
        """The form of the one embedding that is asked for."""
        return self.meaning.pieces.batch.format if self.meaning.pieces is not None and len(self.keys) == 1 else None

    @property
    def counted(self) -> bool:
        """A stream is asked for its usage though the client did not ask."""
        return self.meaning.counted is not self.meaning.body


class Alike(NamedTuple):
    """An answer to a question that means the same."""

    entry: Entry
    similarity: float
    rule: str
    """What let it through: the tier, and what of it."""


class Found(NamedTuple):
    """An answer that is here."""

    entry: Entry
    usage: bool
    """The client wants to be told what a stream used."""
    vectors: Format | None = None
    """The form of an embedding that is kept in whichever it came in."""


class Inquiry(Protocol):
    """One question, looked for among those that mean the same."""

    async def look(self) -> Alike | None:
        """An answer that will do; None, within the deadline, where there is none or none may be served."""

    def answered(self, entry: Entry) -> None:
        """What the upstream said to it has been kept."""


class Inquiries(Protocol):
    """What finds questions that mean the same."""

    def inquire(self, exchange: Exchange, question: Question) -> Inquiry | None:
        """None where there is nothing to look for, or nobody who wants it."""

    def serves(self, exchange: Exchange, question: Question) -> bool:
        """It may be given an answer to another question, which others who ask the same may not."""
