"""Changes of keys and teams: each is in the store before it is confirmed, and written down in the audit.

The worker that makes a change follows it at once, the others within a second.
"""

import enum
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar, final

import msgspec

from proxy.keys.amounts import usd_of
from proxy.keys.audit import Audit, Detail
from proxy.keys.key import ENTROPY, SHOWN, Pepper, State, Team, VirtualKey, made_id, made_secret
from proxy.keys.store import NotPut
from proxy.keys.sync import Sync
from proxy.keys.table import Table
from proxy.telemetry.log import Log

__all__ = ["Made", "Register", "Undone"]

ATTEMPTS: Final = 5
KEPT: Final = 90 * 86_400.0
"""Seconds that a key which opens nothing any more is remembered, when room is needed."""
PRUNED: Final = 100
"""Of these, at one time."""
MAX_METADATA: Final = 16
"""Members of a key's or a team's, whatever they were given with."""
PRIVATE: Final = frozenset(["metadata"])
"""Fields of which the audit says that they changed, and not what to: people write anything there."""

R = TypeVar("R", VirtualKey, Team)


@final
class Undone(enum.Enum):
    """Why nothing was changed."""

    NOT_FOUND = "not_found"
    EXISTS = "exists"
    DECLARED = "declared"
    """The configuration has it, and must be changed itself."""
    REVOKED = "revoked"
    NO_TEAM = "no_team"
    IN_USE = "in_use"
    FULL = "full"
    METADATA = "metadata"
    """There would be too many members."""
    CONFLICT = "conflict"
    """Others change it all the time."""


class Made(NamedTuple):
    key: VirtualKey
    secret: str
    """Known to nobody else from now on."""

    def __repr__(self) -> str:
        return f"<Made {self.key!r}>"


@final
class Register:
    """Every method raises ConnectionError or TimeoutError where the store is away; who asked may then ask again.

    `who` is as in `Audit`; `wall` is in seconds since the epoch; `draw` gives so many random bytes.
    """

    def __init__(
        self,
        sync: Sync,
        table: Table,
        pepper: Pepper,
        audit: Audit,
        *,
        log: Log,
        wall: Callable[[], float],
        draw: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._sync = sync
        self._table = table
        self._pepper = pepper
        self._audit = audit
        self._log = log
        self._wall = wall
        self._draw = draw

    def secret(self) -> tuple[str, bytes, str]:
        """A new one, its digest, and its end, which may be shown."""
        secret = made_secret(self._draw(ENTROPY))
        return secret, self._pepper.digest(secret.encode()), secret[-SHOWN:]

    async def create(self, who: str, fields: Mapping[str, Any]) -> Made | Undone:
        """`fields` are those of a VirtualKey that an operator may choose; its name is one."""
        if not await self._has_team(fields):
            return Undone.NO_TEAM
        secret, digest, hint = self.secret()
        now = self._wall()
        key_id = made_id(now, self._number)
        key = _changed(VirtualKey(id=key_id, digest=digest, hint=hint, created=now, name=fields["name"]), fields)
        if isinstance(key, Undone):
            return key
        done = await self._put(key)
        if done is Undone.FULL and await self._prune(now):
            done = await self._put(key)
        if isinstance(done, Undone):
            return done
        await self._record(who, "key.create", key.subject, _told(fields))
        return Made(done, secret)

    async def change(self, who: str, key_id: str, fields: Mapping[str, Any]) -> VirtualKey | Undone:
        """Members of tables that are given as None go, those that are not given stay."""
        if not await self._has_team(fields):
            return Undone.NO_TEAM

        def edit(key: VirtualKey) -> VirtualKey | Undone:
            return Undone.REVOKED if key.revoked is not None else self._teamed(_changed(key, fields))

        done = await self._edit(self._table.key, key_id, edit)
        if isinstance(done, VirtualKey):
            await self._record(who, "key.change", done.subject, _told(fields))
        return done

    async def rotate(self, who: str, key_id: str, grace: float) -> Made | Undone:
        """The secret that it has opens for `grace` more seconds."""
        secret, digest, hint = self.secret()

        def edit(key: VirtualKey) -> VirtualKey | Undone:
            if key.revoked is not None:
                return Undone.REVOKED
            return self._teamed(key.rotated(digest, hint, self._wall(), grace))

        done = await self._edit(self._table.key, key_id, edit)
        if isinstance(done, Undone):
            return done
        await self._record(who, "key.rotate", done.subject, {"grace": grace})
        return Made(done, secret)

    async def revoke(self, who: str, key_id: str) -> VirtualKey | Undone:
        """For good, the secret in its grace included. What is revoked already stays as it is."""
        now = self._wall()

        def edit(key: VirtualKey) -> VirtualKey | Undone:
            return Undone.REVOKED if key.revoked is not None else msgspec.structs.replace(key, revoked=now)

        done = await self._edit(self._table.key, key_id, edit)
        if done is Undone.REVOKED:
            return self._table.key(key_id) or Undone.NOT_FOUND
        if isinstance(done, VirtualKey):
            await self._record(who, "key.revoke", done.subject, {})
        return done

    async def create_team(self, who: str, name: str, fields: Mapping[str, Any]) -> Team | Undone:
        known = self._table.team(name)
        if known is not None and known.source == "config":
            return Undone.DECLARED
        team = _changed(Team(name=name, created=self._wall()), fields)
        if isinstance(team, Undone):
            return team
        done = await self._put(team)
        if isinstance(done, Team):
            await self._record(who, "team.create", done.subject, _told(fields))
        return done

    async def change_team(self, who: str, name: str, fields: Mapping[str, Any]) -> Team | Undone:
        done = await self._edit(self._table.team, name, lambda team: _changed(team, fields))
        if isinstance(done, Team):
            await self._record(who, "team.change", done.subject, _told(fields))
        return done

    async def remove_team(self, who: str, name: str) -> Team | Undone:
        """Of which no key is left that could open anything."""
        await self._sync.look()
        team, now = self._table.team(name), self._wall()
        if team is None:
            return Undone.NOT_FOUND
        if team.source == "config":
            return Undone.DECLARED
        if any(key.team == name and key.state(now) is State.ACTIVE for key in self._table.listed()):
            return Undone.IN_USE
        if not await self._sync.remove(team):
            return Undone.CONFLICT
        await self._record(who, "team.remove", team.subject, {})
        return team

    async def _has_team(self, fields: Mapping[str, Any]) -> bool:
        """A name that nobody knows would be a team without limits."""
        if not (team := fields.get("team")):
            return True
        await self._sync.look()
        return self._table.team(team) is not None

    def _teamed(self, key: VirtualKey | Undone) -> VirtualKey | Undone:
        """A team may have gone while a key of it had expired: without it the key would come back without limits."""
        if isinstance(key, Undone) or not key.team or key.state(self._wall()) is not State.ACTIVE:
            return key
        return Undone.NO_TEAM if self._table.team(key.team) is None else key

    async def _put(self, record: R) -> R | Undone:
        """A new one."""
        done = await self._sync.put(record, 0)
        if isinstance(done, NotPut):
            return Undone.FULL if done is NotPut.FULL else Undone.EXISTS
        return done

    async def _edit(self, find: Callable[[str], R | None], name: str, edit: Callable[[R], R | Undone]) -> R | Undone:
        """What `edit` makes of the record as it is in the store, whoever else changes it at the same time."""
        for _ in range(ATTEMPTS):
            # Others may have changed it, or its team, a moment ago.
            await self._sync.look()
            known = find(name)
            if known is None:
                return Undone.NOT_FOUND
            if known.source == "config":
                return Undone.DECLARED
            edited = edit(known)
            if isinstance(edited, Undone):
                return edited
            done = await self._sync.put(edited, known.revision)
            if not isinstance(done, NotPut):
                return done
        return Undone.CONFLICT

    async def _prune(self, now: float) -> int:
        """Forgets keys that have long been dead, the oldest first."""
        dead = [key for key in self._table.listed() if _dead_since(key) + KEPT < now and key.source == "store"]
        gone = [key for key in dead[:PRUNED] if await self._sync.remove(key)]
        return len(gone)

    async def _record(self, who: str, what: str, subject: str, details: Mapping[str, Detail]) -> None:
        self._log.info("keys_changed", who=who, what=what, subject=subject)
        try:
            await self._audit.record(who, what, subject, self._wall(), details)
        except ConnectionError:
            self._log.error("audit_lost", who=who, what=what, subject=subject)

    def _number(self, below: int) -> int:
        return int.from_bytes(self._draw(8)) % below


def _changed(record: R, fields: Mapping[str, Any]) -> R | Undone:
    tables = {name: _merged(getattr(record, name), value) for name, value in fields.items() if isinstance(value, dict)}
    if len(tables.get("metadata", ())) > max(MAX_METADATA, len(record.metadata)):
        return Undone.METADATA
    return msgspec.structs.replace(record, **{**fields, **tables})


def _merged(known: Mapping[Any, Any], given: Mapping[Any, Any]) -> dict[Any, Any]:
    return {name: value for name, value in {**known, **given}.items() if value is not None}


def _told(fields: Mapping[str, Any]) -> dict[str, Detail]:
    """As JSON has them, for the audit."""
    return {name: sorted(value) if name in PRIVATE else _plain(value) for name, value in sorted(fields.items())}


def _plain(value: object) -> Any:
    if isinstance(value, dict):
        return {kind.value: usd_of(amount) if kind.money and amount else amount for kind, amount in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _dead_since(key: VirtualKey) -> float:
    times = [at for at in (key.revoked, key.expires) if at is not None]
    return min(times, default=float("inf"))
