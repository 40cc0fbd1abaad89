"""Counts tokens as OpenAI's models do, with ranks that ship in the package. Sans-IO, but for reading them.

An encoding takes 0.1 to 0.25 s and 25 to 50 MiB to load, once for each process, and the last 50 to
130 ms of it hold the interpreter's lock, whichever thread loads: so it is best done before a process
serves. Until it is there, its models' texts are not counted but measured.
"""

import enum
import re
import zlib
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["Counter", "Encodings", "Family", "family_of"]

Counter = Callable[[str], int]

SLICE: Final = 16_384
"""Characters that are counted in one go. One word of a megabyte takes BPE a hundred times as long as short ones."""
MAX_COUNTED: Final = 1 << 20
"""Characters of a text that are counted; of longer ones a sample is."""

_ASCII_PART: Final = r"[^\r\n\p{L}\p{N}]?"
_CONTRACTIONS: Final = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


class Family(enum.Enum):
    """Models that share an encoding."""

    O200K = "o200k_base"
    """GPT-4o and later; also the nearest to the models of others, whose vocabularies have grown alike."""
    CL100K = "cl100k_base"
    """GPT-4, GPT-3.5 and the text embeddings."""


_TOKENS: Final = {Family.O200K: 199_998, Family.CL100K: 100_256}
_WORDS: Final = {
    Family.O200K: "|".join((
        f"{_ASCII_PART}{_UPPER}*{_LOWER}+{_CONTRACTIONS}",
        f"{_ASCII_PART}{_UPPER}+{_LOWER}*{_CONTRACTIONS}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )),
    Family.CL100K: (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
}  # fmt: skip
"""How an encoding cuts text into words (tiktoken_ext/openai_public.py)."""

_OLD: Final = re.compile(
    r"(?:^|[/:])(?:gpt-4(?![o.\d])|gpt-3\.?5|text-embedding-|davinci-002|babbage-002)", re.IGNORECASE
)


def family_of(model: str) -> Family:
    return Family.CL100K if _OLD.search(model) else Family.O200K


@final
class Encodings:
    """Those of a process."""

    def __init__(self) -> None:
        self._loaded: dict[Family, Counter] = {}

    def __repr__(self) -> str:
        return f"<Encodings {' '.join(family.value for family in self._loaded) or 'none'}>"

    def counter(self, model: str) -> Counter | None:
        """Counts a text's tokens; None until the model's encoding is loaded."""
        return self._loaded.get(family_of(model))

    def missing(self, model: str) -> Family | None:
        """The encoding that has to be loaded for this model, if any."""
        family = family_of(model)
        return None if family in self._loaded else family

    def load(self, family: Family) -> None:
        """Blocks; belongs into a thread, or before the event loop."""
        if family not in self._loaded:
            self._loaded[family] = _counter(_encoding(family))


def _encoding(family: Family) -> "Encoding":
    from tiktoken import Encoding

    ranks = _ranks(family)
    encoding = Encoding(family.value, pat_str=_WORDS[family], mergeable_ranks=ranks, special_tokens={})
    # Its copy in Rust is all that counting needs; the one in Python is as large again.
    ranks.clear()
    return encoding


def _ranks(family: Family) -> dict[bytes, int]:
    """The form is that of ranks/README.md."""
    columns = zlib.decompress(files(__package__).joinpath("ranks", f"{family.value}.ranks").read_bytes())
    ranks = {}
    start = count = _TOKENS[family]
    for rank, length in enumerate(columns[:count]):
        ranks[columns[start : start + length]] = rank
        start += length
    return ranks


def _counter(encoding: "Encoding") -> Counter:
    encode = encoding.encode_ordinary

    def count(text: str) -> int:
        length = len(text)
        if length <= SLICE:
            return len(encode(text))
        step = SLICE * max(1, length // MAX_COUNTED)
        counted = tokens = 0
        for start in range(0, length, step):
            piece = text[start : start + SLICE]
            counted += len(piece)
            tokens += len(encode(piece))
        return -(-tokens * length // counted)

    return count
