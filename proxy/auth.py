"""Whose request it is. In pass-through mode the client's own key goes upstream."""

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final, Generic, Literal, Protocol, TypeAlias, TypeVar, assert_never, final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec.structs import replace

from cache.fingerprint import QUALIFYING, scope_of
from proxy.errors import Failure, Kind
from proxy.exchange import Exchange, Headers, header
from proxy.keys.key import Permission, Refusal, VirtualKey
from proxy.keys.listing import is_everybodys
from proxy.keys.table import Table
from proxy.ledger.row import OWN_KEY
from proxy.openai.models import model_in
from proxy.openai.sessions import models_asked
from proxy.routes import Route
from proxy.talk import Screen, Told, Verdict

__all__ = ["CREDENTIAL_FIELDS", "Auth", "PassThrough", "VirtualKeys", "tells_who", "without_credentials"]

K = TypeVar("K")
V = TypeVar("V")
Scope = Literal["team", "key", "global"]
Lines: TypeAlias = tuple[tuple[bytes, bytes], ...]

CREDENTIAL_FIELDS: Final = frozenset([b"authorization", b"api-key", b"x-api-key"])

_WHO: Final = re.compile(
    rb"(?<!port)key|token|auth|secret|credential|cookie|signature|session|tenant|account|passw|jwt|assertion|cert|identity"
    rb"|principal|subscription|customer|impersonat|on-behalf|client-?id|user(?![-_]?agent)"
    rb"|(?:^|[-_])(?:org(?:ani[sz]ation)?|project|workspace|team|group|role|e-?mail)(?:[-_]|$)"
).search
_NOBODY: Final = re.compile(rb"^(?:sec|x-stainless|helicone-session)-|idempotency").search
"""Of browsers, SDKs and logs: names that would be taken for credentials, and whose values differ by request."""
MAX_NAME: Final = 64
MAX_NAMES: Final = 1_024
MAX_HEADS: Final = 256
MAX_STRANGERS: Final = 1_024
MAX_SCOPES: Final = 1_024
MAX_GIVEN: Final = 1_024
"""Bytes of the fields by which a scope is remembered."""
ACCOUNT: Final = 16
"""Digits of the digest by which a client's own key is counted, and told in the ledger."""
MIN_TELLING: Final = 16
"""Bytes of a credential that no other text is likely to hold by chance. A virtual key has three times as many."""
BILLED_FIELDS: Final = frozenset([b"openai-organization", b"openai-project"])
"""Whom the client's own key bills. With another's key, upstreams refuse them."""
BROWSER_KEY: Final = b"openai-insecure-api-key."
"""The WebSocket subprotocol in which browsers, which can't set headers, send a key."""
BROWSER_FIELDS: Final = (BROWSER_KEY, b"openai-organization.", b"openai-project.")


@final
class Heads(Generic[V]):
    """What follows from the fields of a request whose head came before byte for byte: then they are the same list."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Headers, V]] = {}

    def __repr__(self) -> str:
        return f"<Heads {len(self._found)}>"

    def get(self, headers: Headers) -> V | None:
        found = self._found.get(id(headers))
        return found[1] if found is not None and found[0] is headers else None

    def put(self, headers: Headers, value: V) -> V:
        # The list is held, so that no other has its id.
        self._found[id(headers)] = headers, value
        if len(self._found) > MAX_HEADS:
            del self._found[next(iter(self._found))]
        return value


class Auth(Protocol):
    """Who asks, and what for."""

    def identify(self, exchange: Exchange) -> None:
        """Sets credential, scope, account and key.

        Raises Failure: INVALID_API_KEY, KEYS_UNAVAILABLE, and INVALID_REQUEST where what is asked for holds a key.
        """

    def permit(self, exchange: Exchange, route: Route) -> None:
        """Once it is known what is asked. Raises Failure: MODEL_NOT_FOUND, ENDPOINT_NOT_ALLOWED."""

    def newcomer(self, exchange: Exchange) -> Awaitable[None] | None:
        """What to wait for before who was not identified is looked for once more; None: there is nothing."""

    def screen(self, exchange: Exchange) -> Screen | None:
        """Of what the client of a WebSocket session says; None: it may say everything."""

    def still(self, exchange: Exchange) -> bool:
        """Whether a request that is the same as one before is still one's that may ask it, and whose scope it is."""


@final
class PassThrough:
    """The client's own key goes upstream. `required` refuses requests that bring none; `scope` says who shares."""

    def __init__(self, *, required: bool, scope: Scope = "key") -> None:
        self._required = required
        self._everybody = scope_of("global") if scope == "global" else b""
        self._known: OrderedDict[Lines, tuple[bytes, str]] = OrderedDict()
        self._heads: Heads[tuple[bytes, bytes, str]] = Heads()

    def identify(self, exchange: Exchange) -> None:
        headers = exchange.headers
        who = self._heads.get(headers)
        if who is None:
            who = self._heads.put(headers, (_credential(headers), *self._whose(headers)))
        exchange.credential, exchange.scope, exchange.account = who
        if self._required and not exchange.credential:
            raise Failure(Kind.INVALID_API_KEY)

    def permit(self, exchange: Exchange, route: Route) -> None:
        """The upstream decides."""

    def newcomer(self, exchange: Exchange) -> Awaitable[None] | None:
        """Nobody is refused who might be."""

    def screen(self, exchange: Exchange) -> Screen | None:
        """The upstream decides."""

    def still(self, exchange: Exchange) -> bool:
        return True

    def _whose(self, headers: Headers) -> tuple[bytes, str]:
        """Of everything that may tell one client from another, the absence of a key included."""
        given = _given(headers)
        known = self._known.get(given)
        if known is None:
            credential = _credential(headers)
            account = OWN_KEY + scope_of("account", credential).hex()[:ACCOUNT] if credential else ""
            scope = self._everybody or scope_of("key", *(part for line in sorted(given) for part in line))
            known = scope, account
            _remember(self._known, given, known, given)
        return known


class _Holder(msgspec.Struct, frozen=True):
    """Who has sent a head, as far as that follows from it."""

    credential: bytes
    digest: bytes
    others: Lines
    """What else may tell an upstream one client from another."""
    key: VirtualKey
    scope: bytes
    """While it is this key that the digest opens."""


@final
class VirtualKeys:
    """Only those whose keys are in the table. `wall` is in seconds since the epoch; `refused` is told why not.

    `listing`: every key may list what others have made. `catch_up`: until the table knows what other workers have done.
    """

    def __init__(
        self,
        table: Table,
        *,
        scope: Scope,
        listing: bool,
        wall: Callable[[], float],
        refused: Callable[[str], object],
        catch_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._table = table
        self._catch_up = catch_up
        self._strangers: OrderedDict[bytes, None] = OrderedDict()
        """Digests for which nobody need catch up again."""
        self._listing = listing
        self._scope = scope
        self._wall = wall
        self._refused = refused
        self._known: OrderedDict[tuple[bytes, Lines], bytes] = OrderedDict()
        self._heads: Heads[_Holder] = Heads()

    def identify(self, exchange: Exchange) -> None:
        headers = exchange.headers
        holder = self._heads.get(headers)
        if holder is None:
            holder = self._heads.put(headers, self._holder(headers))
        else:
            wall = self._wall
            found = self._table.opened(holder.digest, wall())
            if found is not holder.key:
                key = self._admitted(found)
                scope = self._scope_of(key, holder.others)
                holder = self._heads.put(headers, replace(holder, key=key, scope=scope))
        exchange.credential, exchange.key, exchange.scope = holder.credential, holder.key, holder.scope
        exchange.account = holder.key.id
        asked = len(exchange.path) + len(exchange.query)
        if asked >= len(holder.credential) and self._asks_for(exchange, holder.credential):
            # There is no cutting it out of what is asked for, and it would stand in the logs of whoever is asked.
            raise Failure(Kind.INVALID_REQUEST, "An API key belongs in a header, not in the path or the query.")

    @staticmethod
    def _asks_for(exchange: Exchange, credential: bytes) -> bool:
        return _repeats(exchange.path.encode("latin-1"), credential) or _repeats(exchange.query, credential)

    def _holder(self, headers: Headers) -> _Holder:
        """Raises Failure."""
        credential = _credential(headers)
        digest = self._table.digest(credential)
        if isinstance(digest, Refusal):
            self._admitted(digest)
            raise Failure(Kind.INVALID_API_KEY)
        found = self._table.opened(digest, self._wall())
        if found is Refusal.UNKNOWN and self._catch_up is not None and digest not in self._strangers:
            # Not counted: it may be known in a moment.
            raise Failure(Kind.INVALID_API_KEY)
        key = self._admitted(found)
        others = tuple([line for line in _given(headers) if line[0] not in CREDENTIAL_FIELDS])
        return _Holder(credential, digest, others, key, self._scope_of(key, others))

    def newcomer(self, exchange: Exchange) -> Awaitable[None] | None:
        digest = self._table.digest(_credential(exchange.headers))
        if self._catch_up is None or isinstance(digest, Refusal) or digest in self._strangers:
            return None
        if self._table.opened(digest, self._wall()) is not Refusal.UNKNOWN:
            return None
        return self._meet(digest, self._catch_up)

    async def _meet(self, digest: bytes, catch_up: Callable[[], Awaitable[None]]) -> None:
        await catch_up()
        self._strangers[digest] = None
        if len(self._strangers) > MAX_STRANGERS:
            self._strangers.popitem(last=False)

    def _admitted(self, found: VirtualKey | Refusal) -> VirtualKey:
        """Raises Failure."""
        if isinstance(found, VirtualKey):
            return found
        self._refused(found.value)
        if found is Refusal.NOT_LOADED:
            raise Failure(Kind.KEYS_UNAVAILABLE, retry_after=1)
        raise Failure(Kind.INVALID_API_KEY)

    def permit(self, exchange: Exchange, route: Route) -> None:
        key = exchange.key
        if key is None:
            return
        makes = exchange.method == "POST" and route.json_body
        looks = self._listing and exchange.method in ("GET", "HEAD")
        if not (makes or looks or key.may_list(route.name)) and is_everybodys(exchange.method, exchange.path):
            self._refused(Permission.ENDPOINT.value)
            raise Failure(
                Kind.ENDPOINT_NOT_ALLOWED, "This API key may not have what belongs to all who use this gateway."
            )
        if not (key.models or key.endpoints):
            return
        if exchange.upgrade and route.name == "responses" and not exchange.model and not key.endpoints:
            # Its events name the model, each of which is looked at.
            return
        # A path may name another model than the query of an upgrade does.
        for model in {exchange.model or model_in(exchange.path), model_in(exchange.path) or exchange.model}:
            self._permit(key, model, route)

    def _permit(self, key: VirtualKey, model: str, route: Route) -> None:
        match key.may(model, route.name):
            case Permission.GRANTED:
                return
            case Permission.MODEL:
                self._refused(Permission.MODEL.value)
                raise Failure(Kind.MODEL_NOT_FOUND, "This API key may not use this model.", param="model")
            case Permission.ENDPOINT:
                self._refused(Permission.ENDPOINT.value)
                raise Failure(Kind.ENDPOINT_NOT_ALLOWED)
            case _ as never:
                assert_never(never)

    def screen(self, exchange: Exchange) -> Screen | None:
        key, route = exchange.key, exchange.route
        if key is None or route is None or not key.models:
            return None
        # What an alias stands for was permitted by another name.
        begun_with = {exchange.model, exchange.sent_model}
        might = key.models, key.endpoints

        def look(event: bytes, _told: Told) -> Verdict | Failure:
            key = exchange.key
            assert key is not None  # noqa: S101  (it may be another version of it)
            try:
                if (key.models, key.endpoints) != might:
                    # What it may was changed since.
                    self._permit(key, exchange.model, route)
                for model in models_asked(event) - begun_with:
                    self._permit(key, model, route)
            except Failure as failure:
                return failure
            except ValueError:
                return Failure(Kind.INVALID_REQUEST, detail="an event of which can't be told what model it asks for")
            return Verdict.PASS

        return look

    def still(self, exchange: Exchange) -> bool:
        holder = self._heads.get(exchange.headers)
        return (
            holder is not None
            and holder.key is exchange.key
            and self._table.opened(holder.digest, self._wall()) is exchange.key
        )

    def _scope_of(self, key: VirtualKey, others: Lines) -> bytes:
        """Of whoever shares, and of what else may tell an upstream one client from another."""
        kind: str = key.cache_scope or self._scope
        whose = b""
        if kind != "global":
            kind, whose = (
                ("team", key.team.encode()) if kind == "team" and key.team else ("virtual-key", key.id.encode())
            )
        name = (kind.encode() + b" " + whose, others)
        scope = self._known.get(name)
        if scope is None:
            scope = scope_of(kind, whose, *(part for line in sorted(others) for part in line))
            _remember(self._known, name, scope, others)
        return scope


def _given(headers: Headers) -> Lines:
    return tuple([line for line in headers if (_known if len(line[0]) <= MAX_NAME else tells_who)(line[0])])


def _remember(memo: OrderedDict[K, V], name: K, value: V, given: Lines) -> None:
    if sum([len(name) + len(value) for name, value in given]) <= MAX_GIVEN:
        memo[name] = value
    if len(memo) > MAX_SCOPES:
        memo.popitem(last=False)


def tells_who(name: bytes) -> bool:
    """Whether some upstream may tell by this field, its name in lower case, who asks.

    By the words in it: there are more gateways than anybody has listed, and a field that counts in vain costs hits
    alone. Those in QUALIFYING are part of a request's key, whoever shares answers.
    """
    return name not in QUALIFYING and _WHO(name) is not None and _NOBODY(name) is None


_known = lru_cache(maxsize=MAX_NAMES)(tells_who)


def _credential(headers: Headers) -> bytes:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer " and value[7:].strip():
            return value[7:].strip()
    key = header(headers, b"api-key") or header(headers, b"x-api-key")
    if key:
        return key
    for protocol in header(headers, b"sec-websocket-protocol").split(b","):
        if protocol.strip().startswith(BROWSER_KEY):
            return protocol.strip()[len(BROWSER_KEY) :]
    return b""


def without_credentials(headers: Headers, credential: bytes = b"") -> Headers:
    """What may go to an upstream that has a key of its own: nor does any other field repeat the client's."""
    kept = [line for line in headers if line[0] not in CREDENTIAL_FIELDS and line[0] not in BILLED_FIELDS]
    if any(name == b"sec-websocket-protocol" for name, _ in kept):
        kept = [
            (name, _without_browser_fields(value) if name == b"sec-websocket-protocol" else value)
            for name, value in kept
        ]
        kept = [line for line in kept if line != (b"sec-websocket-protocol", b"")]
    if len(credential) < MIN_TELLING:
        return kept
    return [line for line in kept if not _repeats(line[1], credential)]


def _repeats(text: bytes, credential: bytes) -> bool:
    """As it is, or with some of it percent-encoded."""
    return credential in text or (b"%" in text and credential in unquote_to_bytes(text))


def _without_browser_fields(value: bytes) -> bytes:
    protocols = (protocol.strip() for protocol in value.split(b","))
    return b", ".join(protocol for protocol in protocols if not protocol.startswith(BROWSER_FIELDS))
