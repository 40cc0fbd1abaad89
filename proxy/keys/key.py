"""What a virtual key is and may do, and how its secret is made, known and shown. Sans-IO.

A secret is 256 random bits, shown once. What is kept is its HMAC-SHA256 under a pepper that lies elsewhere: whoever
reads the store can neither use a key nor try secrets out.
"""

import enum
import hmac
import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache
from typing import Annotated, Final, Literal, final

import msgspec
from msgspec import Meta

from limits.policy import Kind

__all__ = [
    "BUDGETS",
    "LIMITS",
    "NAMING",
    "PREFIX",
    "Pepper",
    "Permission",
    "Refusal",
    "State",
    "Team",
    "VirtualKey",
    "made_id",
    "made_secret",
    "masked",
]

PREFIX: Final = "sk-ask-"
ENTROPY: Final = 32
"""Bytes of a secret."""
LENGTH: Final = 43
"""Digits that 256 bits take in base 62."""
SHOWN: Final = 4
"""Characters at a secret's end by which its owner knows it again."""
LIMITS: Final = (Kind.REQUESTS, Kind.TOKENS, Kind.DAILY, Kind.CONCURRENT)
BUDGETS: Final = (Kind.SPEND_DAY, Kind.SPEND_MONTH, Kind.SPEND)
NAMING: Final = frozenset(
    [
        *("chat/completions", "completions", "embeddings", "responses", "responses/compact", "moderations"),
        "realtime",
        *("images/generations", "images/edits", "images/variations"),
        *("audio/speech", "audio/transcriptions", "audio/translations"),
    ]
)
"""Routes whose requests name a model, or get one that the upstream picks."""
CHATS: Final = "chat/completions"
STORED_CHATS: Final = "chat/*"
SECRETS: Final = "realtime/*"
SESSIONS: Final = ("realtime", SECRETS)

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"

Amount = Annotated[int, Meta(ge=0, le=1 << 53)]


class State(enum.Enum):
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Refusal(enum.Enum):
    """Why a credential opens nothing. The client is told of no difference; the values are those of a metric's label."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ROTATED = "rotated"
    """It was the secret of a key that has a newer one, and its grace is over."""
    NOT_LOADED = "not_loaded"
    """No keys are known yet, because the store has not answered since the start: it may be a good one."""


class Permission(enum.Enum):
    GRANTED = "granted"
    MODEL = "model"
    ENDPOINT = "endpoint"


class VirtualKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Times are in seconds since the epoch, budgets in nano-dollars. Empty `models` and `endpoints` allow all.

    What a later version has written and this one does not know makes a record unreadable: it may be a restriction.
    """

    id: str
    name: str
    digest: bytes
    created: float
    hint: str = ""
    """The end of the secret; empty where nobody here has seen it."""
    team: str = ""
    previous: bytes = b""
    """Digest of the secret before the last rotation, which opens until `previous_until`."""
    previous_until: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    limits: dict[Kind, Amount] = {}
    max_tokens: Amount | None = None
    """That one request may be answered with and ask with, together."""
    budgets: dict[Kind, Amount] = {}
    cache_scope: Literal["key", "team", "global"] | None = None
    semantic: Literal["off", "shadow", "on"] | None = None
    priority: Literal["interactive", "batch"] | None = None
    """Who waits longer where upstreams are busy; None is interactive."""
    metadata: dict[str, str] = {}
    source: Literal["store", "config"] = "store"
    revision: int = 0
    """Of the store, when it last changed."""

    def __repr__(self) -> str:
        return f"<VirtualKey {self.id}{' revoked' if self.revoked is not None else ''}>"

    @property
    def subject(self) -> str:
        return f"key:{self.id}"

    def state(self, now: float) -> State:
        if self.revoked is not None:
            return State.REVOKED
        return State.EXPIRED if self.expires is not None and now >= self.expires else State.ACTIVE

    def refusal(self, digest: bytes, now: float) -> Refusal | None:
        """None: the secret of this digest opens. A clock that is set back brings no revoked secret back."""
        if self.revoked is not None:
            return Refusal.REVOKED
        if self.expires is not None and now >= self.expires:
            return Refusal.EXPIRED
        if hmac.compare_digest(digest, self.digest):
            return None
        if not self.previous or not hmac.compare_digest(digest, self.previous):
            return Refusal.UNKNOWN
        return None if now < self.previous_until else Refusal.ROTATED

    def rotated(self, digest: bytes, hint: str, now: float, grace: float) -> "VirtualKey":
        """With a new secret; the one that it had opens for `grace` more seconds, the one before that no more."""
        return msgspec.structs.replace(
            self, digest=digest, hint=hint, previous=self.digest if grace > 0 else b"", previous_until=now + grace
        )

    def may(self, model: str, endpoint: str) -> Permission:
        """`endpoint` is the name of a route, `model` what the request names, or "".

        Where models are restricted, a request that names none is refused, for it may mean any (a batch's file does):
        unless the endpoint is one of those that the key is expressly for, and not one that has a default model.
        """
        if self.endpoints and not _endpoints(self.endpoints)(endpoint):
            return Permission.ENDPOINT
        if not self.models or (not model and endpoint == "models"):
            return Permission.GRANTED
        if model:
            return Permission.GRANTED if _matcher(self.models)(model) else Permission.MODEL
        if endpoint in NAMING:
            return Permission.MODEL
        return Permission.GRANTED if self.endpoints else Permission.ENDPOINT

    def may_list(self, endpoint: str) -> bool:
        """What belongs to all at the upstream: where it is expressly for that endpoint. Chats that are stored are
        another one than those that are asked for, and secrets for sessions another than sessions.
        """
        if endpoint in SESSIONS:
            return not {"*", SECRETS}.isdisjoint(self.endpoints)
        name = STORED_CHATS if endpoint == CHATS else endpoint
        return bool(self.endpoints) and bool(_endpoints(self.endpoints)(name))


class Team(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """What the keys of a team share. Units as those of a key."""

    name: str
    created: float
    limits: dict[Kind, Amount] = {}
    budgets: dict[Kind, Amount] = {}
    metadata: dict[str, str] = {}
    source: Literal["store", "config"] = "store"
    revision: int = 0

    @property
    def subject(self) -> str:
        return f"team:{self.name}"


@final
class Pepper:
    """What digests are made under. Who knows it and the store can try secrets out; who lacks either can't."""

    __slots__ = ("_begun",)

    def __init__(self, value: bytes) -> None:
        self._begun = hmac.new(value, digestmod="sha256")

    def __repr__(self) -> str:
        return "<Pepper>"

    def digest(self, secret: bytes) -> bytes:
        # Not `hmac.digest`: that lets go of the interpreter's lock, and waits for it, once a request.
        begun = self._begun.copy()
        begun.update(secret)
        return begun.digest()

    @property
    def mark(self) -> str:
        """By which two peppers can be told apart, and nothing else be told of them."""
        return self.digest(b"which pepper is this?").hex()[:16]


def made_secret(entropy: bytes) -> str:
    """From `ENTROPY` random bytes."""
    number, digits = int.from_bytes(entropy), []
    for _ in range(LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return PREFIX + "".join(reversed(digits))


def made_id(now: float, draw: Callable[[int], int]) -> str:
    """Ids sort as they were made. `draw` gives a random number below its argument."""
    number = (int(now) & 0xFFFFFFFF) << 28 | draw(1 << 28)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(55, -1, -5))


def masked(hint: str) -> str:
    """A secret as it may be shown."""
    return f"{PREFIX}…{hint}"


@lru_cache(maxsize=4_096)
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], object]:
    return re.compile("|".join(map(translate, patterns))).match


@lru_cache(maxsize=4_096)
def _endpoints(names: tuple[str, ...]) -> Callable[[str], object]:
    """A name without a slash stands for what is below it as well: who may list files may read one."""
    return _matcher(names + tuple(f"{name}/*" for name in names if "/" not in name and "*" not in name))
