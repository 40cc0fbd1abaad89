"""A6: to an upstream all virtual keys are one user: what others have made is for who knows its id."""

import pytest

from tests.fakes.gateway import StartGateway
from tests.fakes.raw import Response
from tests.fakes.team import Member, StartTeam, Team
from tests.fakes.upstream import ScriptedUpstream

OTHERS = [
    "/v1/files",
    "/v1/files?limit=9",
    "/v1/vector_store%73/",
    "/v1/chat/completions",
    "/v1/fine_tuning/jobs",
    "/v1/evals",
]
BY_ID = ["/v1/files/file-1", "/v1/files/file-1/content", "/v1/chat/completions/chatcmpl-1", "/v1/models"]


async def got(team: Team, member: Member, target: str, method: str = "GET") -> Response:  # type: ignore[type-arg]
    return await team.ask(member, b"", method=method, target=target)


@pytest.mark.parametrize("store", ["alone"])
async def test_a6_a_list_of_what_others_made(start_team: StartTeam, upstream: ScriptedUpstream) -> None:
    """Is refused before anything is sent; what a key has made itself it reads and removes by its id."""
    team = await start_team()
    alice = await team.key()
    for target in OTHERS:
        for headers in ([], [("connection", "upgrade"), ("upgrade", "websocket")]):
            response = await team.ask(alice, b"", headers, method="GET", target=target)
            assert (response.status, response.json()["error"]["code"]) == (403, "endpoint_not_allowed"), target
    assert (await got(team, alice, "/v1/organization/users", "POST")).status == 403
    assert upstream.requests == []
    assert await team.gateway.sample("askonce_key_refusals_total", reason="endpoint") == 2 * len(OTHERS) + 1
    for target in BY_ID:
        assert (await got(team, alice, target)).status != 403
    assert (await got(team, alice, "/v1/files/file-1", "DELETE")).status == 200
    assert (await got(team, alice, "/v1/files", "POST")).status == 200
    assert len(upstream.requests) == len(BY_ID) + 2


@pytest.mark.parametrize("store", ["alone"])
async def test_a6_who_is_expressly_for_it(start_team: StartTeam) -> None:
    """A key whose endpoints name a list has that one, and who may ask for chats not those that are stored."""
    team = await start_team()
    clerk = await team.key("clerk", endpoints=["files"])
    writer = await team.key("writer", endpoints=["chat/completions"])
    assert [(await got(team, clerk, target)).status for target in ("/v1/files", "/v1/evals")] == [200, 403]
    assert (await got(team, writer, "/v1/chat/completions")).status == 403
    assert (await team.ask(writer)).status == 200
    team.reload(keys__listing="all")
    assert (await got(team, writer, "/v1/chat/completions")).status == 200


async def test_a6_clients_of_their_own(start: StartGateway) -> None:
    """In pass-through mode the upstream knows whose key it is."""
    gateway = await start()
    async with gateway.client() as client:
        assert (await client.ask("GET", "/v1/files", b"", [("authorization", "Bearer sk-one")])).status == 200
