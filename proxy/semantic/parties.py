"""Who it is whose labels count together. Sans-IO.

The operator makes teams and keys, so that nobody makes himself many of them. A client's own key is whatever a client
says, and the header fields by which answers are kept apart are so too: that makes nobody a party that others heed.
"""

from cache.semantic.learning.evidence import NOBODY, Party
from proxy.keys.key import VirtualKey

__all__ = ["party_of"]


def party_of(key: VirtualKey | None, account: str, scope: str) -> Party:
    """`scope` is who shares answers, where the key does not say so; `account` that of a client's own key.

    Where all share and nobody has a virtual key, all are one: who is not told apart can't be kept apart.
    """
    if key is None:
        return NOBODY if scope == "global" else Party(account)
    alone = not key.team or (key.cache_scope or scope) == "key"
    return Party(f"key:{key.id}" if alone else f"team:{key.team}", vouched=True)
