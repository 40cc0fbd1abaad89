"""A3: clients that differ in any field that tells who asks share nothing, through the gateway."""

import pytest

from tests.fakes.asking import completion_answer, status_of
from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartGateway
from tests.fakes.upstream import ScriptedUpstream


@pytest.mark.parametrize("field", ["x-portkey-api-key", "cf-aig-authorization", "x-portkey-config"])
async def test_a3_each_tenant_has_answers_of_its_own(
    start: StartGateway, upstream: ScriptedUpstream, field: str
) -> None:
    """Without `authorization`, and where a gateway behind chooses by another field."""
    gateway = await start(cache__enabled=True)
    upstream.script(completion_answer("for A"), completion_answer("for B"))
    async with gateway.client() as client:
        told = [await client.ask(body=CHAT, headers=[(field, tenant)]) for tenant in ("A", "B", "A", "B")]
    assert [status_of(each) for each in told] == ["MISS", "MISS", "HIT", "HIT"]
    assert told[0].body == told[2].body != told[1].body == told[3].body
