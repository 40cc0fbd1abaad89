"""The admin API's part about virtual keys and their teams."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeVar, final

from aiohttp import web

from proxy.admin.bodies import answered, decoded, page_of, refused
from proxy.admin.key_forms import KeyForm, Rotation, TeamForm, key_document, team_document
from proxy.admin.problems import Problem
from proxy.keys.key import State, Team, VirtualKey
from proxy.keys.register import Made, Register, Undone
from proxy.keys.sync import Sync
from proxy.keys.table import Table

__all__ = ["KeyRoutes"]

T = TypeVar("T")

_UNDONE: Final = {
    Undone.NOT_FOUND: (HTTPStatus.NOT_FOUND, "there is none of this id or name"),
    Undone.EXISTS: (HTTPStatus.CONFLICT, "there is one of this id or name already"),
    Undone.DECLARED: (HTTPStatus.CONFLICT, "the configuration declares it: change it there"),
    Undone.REVOKED: (HTTPStatus.CONFLICT, "the key is revoked, and that is for good: create another"),
    Undone.NO_TEAM: (HTTPStatus.BAD_REQUEST, "team: there is none of this name; create it first"),
    Undone.IN_USE: (HTTPStatus.CONFLICT, "the team has keys: revoke them first, or give them another team"),
    Undone.METADATA: (HTTPStatus.BAD_REQUEST, "metadata: at most sixteen members, those that were there included"),
    Undone.FULL: (HTTPStatus.INSUFFICIENT_STORAGE, "there are as many keys and teams as this gateway can hold"),
    Undone.CONFLICT: (HTTPStatus.CONFLICT, "it is being changed by others; ask again"),
}


@final
class KeyRoutes:
    """`wall` is in seconds since the epoch; `grace` is the seconds of a rotation that names none."""

    def __init__(
        self, register: Register, sync: Sync, table: Table, *, wall: Callable[[], float], grace: float
    ) -> None:
        self._register = register
        self._sync = sync
        self._table = table
        self._wall = wall
        self._grace = grace

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/keys", self._list)
        router.add_post("/keys", self._create)
        router.add_post("/keys/digest", self._digest)
        router.add_get("/keys/{id}", self._show)
        router.add_patch("/keys/{id}", self._change)
        router.add_post("/keys/{id}/rotate", self._rotate)
        router.add_delete("/keys/{id}", self._revoke)
        router.add_get("/teams", self._list_teams)
        router.add_post("/teams", self._create_team)
        router.add_get("/teams/{name}", self._show_team)
        router.add_patch("/teams/{name}", self._change_team)
        router.add_delete("/teams/{name}", self._remove_team)

    async def _list(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        limit, cursor = page_of(asked)
        team, state = asked.pop("team", None), asked.pop("state", None)
        _refuse_others(asked)
        if state is not None and state not in {each.value for each in State}:
            raise refused("state", "active, expired or revoked")
        await self._refresh()
        now = self._wall()
        found = [
            key
            for key in self._table.listed()
            if key.id > cursor and team in (None, key.team) and state in (None, key.state(now).value)
        ]
        page = found[:limit]
        used = await self._sync.last_used([key.id for key in page])
        documents = [key_document(key, now, used.get(key.id)) for key in page]
        return answered({"keys": documents, "cursor": page[-1].id if len(found) > limit else None})

    async def _create(self, request: web.Request) -> web.Response:
        fields = (await decoded(request, KeyForm)).chosen(self._wall())
        if "name" not in fields:
            raise refused("name", "must be given")
        return await self._made(await _kept(self._register.create(_who(request), fields)), HTTPStatus.CREATED)

    async def _digest(self, request: web.Request) -> web.Response:
        """A secret for a key that the configuration is to declare: nothing of it is kept."""
        secret, digest, _ = self._register.secret()
        return answered({"secret": secret, "digest": digest.hex()})

    async def _show(self, request: web.Request) -> web.Response:
        await self._refresh()
        return await self._shown(_done(self._table.key(request.match_info["id"]) or Undone.NOT_FOUND))

    async def _change(self, request: web.Request) -> web.Response:
        fields = (await decoded(request, KeyForm)).chosen(self._wall())
        if not fields:
            raise refused("", "what is to change? give a field at least")
        change = self._register.change(_who(request), request.match_info["id"], fields)
        return await self._shown(_done(await _kept(change)))

    async def _rotate(self, request: web.Request) -> web.Response:
        asked = (await decoded(request, Rotation)).grace
        grace = asked if isinstance(asked, float) else self._grace
        rotation = self._register.rotate(_who(request), request.match_info["id"], grace)
        return await self._made(await _kept(rotation), HTTPStatus.OK)

    async def _revoke(self, request: web.Request) -> web.Response:
        return await self._shown(_done(await _kept(self._register.revoke(_who(request), request.match_info["id"]))))

    async def _list_teams(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        limit, cursor = page_of(asked)
        _refuse_others(asked)
        await self._refresh()
        found = [team for team in self._table.teams() if team.name > cursor]
        page, keys = found[:limit], self._keys_by_team()
        documents = [team_document(team, keys.get(team.name, 0)) for team in page]
        return answered({"teams": documents, "cursor": page[-1].name if len(found) > limit else None})

    async def _create_team(self, request: web.Request) -> web.Response:
        fields = (await decoded(request, TeamForm)).fields()
        name = fields.pop("name", None)
        if name is None:
            raise refused("name", "must be given")
        team = _done(await _kept(self._register.create_team(_who(request), name, fields)))
        return self._shown_team(team, HTTPStatus.CREATED)

    async def _show_team(self, request: web.Request) -> web.Response:
        await self._refresh()
        return self._shown_team(_done(self._table.team(request.match_info["name"]) or Undone.NOT_FOUND))

    async def _change_team(self, request: web.Request) -> web.Response:
        fields = (await decoded(request, TeamForm)).fields()
        if "name" in fields:
            raise refused("name", "a team keeps its name: keys and the ledger know it by that")
        if not fields:
            raise refused("", "what is to change? give a field at least")
        change = self._register.change_team(_who(request), request.match_info["name"], fields)
        return self._shown_team(_done(await _kept(change)))

    async def _remove_team(self, request: web.Request) -> web.Response:
        removal = self._register.remove_team(_who(request), request.match_info["name"])
        return self._shown_team(_done(await _kept(removal)))

    async def _refresh(self) -> None:
        """What another worker confirmed a moment ago is there; without the store, what is known here has to do."""
        with suppress(ConnectionError, TimeoutError):
            await self._sync.look()

    async def _shown(self, key: VirtualKey) -> web.Response:
        used = await self._sync.last_used([key.id])
        return answered(key_document(key, self._wall(), used.get(key.id)))

    async def _made(self, made: Made | Undone, status: HTTPStatus) -> web.Response:
        key, secret = _done(made)
        used = await self._sync.last_used([key.id])
        return answered({"key": key_document(key, self._wall(), used.get(key.id)), "secret": secret}, status)

    def _shown_team(self, team: Team, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
        return answered(team_document(team, self._keys_by_team().get(team.name, 0)), status)

    def _keys_by_team(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        now = self._wall()
        for key in self._table.listed():
            if key.state(now) is State.ACTIVE:
                counts[key.team] = counts.get(key.team, 0) + 1
        return counts


async def _kept(change: Awaitable[T]) -> T:
    try:
        return await change
    except (ConnectionError, TimeoutError):
        detail = "the store of the keys did not answer, and it is not known whether the change was made; ask again"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail) from None


def _done(done: T | Undone) -> T:
    if isinstance(done, Undone):
        status, detail = _UNDONE[done]
        raise Problem(status, detail, {"reason": done.value})
    return done


def _who(request: web.Request) -> str:
    return f"admin@{request.remote or 'unknown'}"


def _refuse_others(asked: dict[str, Any]) -> None:
    """Parameters of a query that mean nothing would narrow nothing."""
    if asked:
        raise refused("", "no such parameter; there are limit, cursor, team and state")
