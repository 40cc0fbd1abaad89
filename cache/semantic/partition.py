"""What a question is asked in: everything of its request that is not the question. Sans-IO.

Entries of one partition are answers to questions that differ in nothing else, so that a search never leaves it. As
with the key of an answer, everything counts that nobody has named as not counting: a field that did not exist when
this was written makes another partition, not a wrong answer.
"""

from collections.abc import Sequence
from typing import Final

from cache.fingerprint import key_of

__all__ = ["partition_of"]

SUFFIX: Final = " alike"
"""No endpoint ends so: a partition is never the key of an answer."""


def partition_of(
    scope: bytes,
    endpoint: str,
    qualifiers: Sequence[tuple[str, bytes]],
    apart: bytes,
    *,
    language: str,
    embedder: str,
    version: str,
) -> str:
    """64 hex digits of SHA-256. `apart` is the digest of the body without the question (`digest_apart`).

    `embedder` is the fingerprint of what vectors are made by, `version` whatever the operator says, to begin anew.
    """
    # No header field and no other qualifier has a name with a space.
    own = (
        ("alike embedder", embedder.encode()),
        ("alike language", language.encode()),
        ("alike version", version.encode()),
    )
    return key_of(scope, endpoint + SUFFIX, [*qualifiers, *own], apart)
