"""X2: where requests go is the configuration's business, and nobody else's."""

import pytest

from tests.fakes.answers import Answer
from tests.fakes.frames import CHAT
from tests.fakes.gateway import StartGateway
from tests.fakes.raw import RawClient, compose
from tests.fakes.uploads import HEADERS, TRANSCRIPTIONS, upload
from tests.fakes.upstream import ScriptedUpstream


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_x2_redirects_are_relayed(
    upstream: ScriptedUpstream, client: RawClient, method: str, status: int
) -> None:
    """A redirect reaches the client as it is; the gateway follows none."""
    async with ScriptedUpstream() as elsewhere:
        upstream.script(Answer(status, [("location", elsewhere.url)], b"moved"))
        response = await client.ask(method, "/v1/models" if method == "GET" else "/v1/embeddings", CHAT)
        assert (response.status, response.header(b"location"), response.body) == (
            status,
            elsewhere.url.encode(),
            b"moved",
        )
        assert elsewhere.accepted == 0
    assert len(upstream.requests) == 1


STEERING = [
    "x-forwarded-host",
    "x-host",
    "x-original-url",
    "x-rewrite-url",
    "x-upstream",
    "x-portkey-custom-host",
    "x-base-url",
    "helicone-openai-api-base",
    "helicone-target-url",
    "cf-aig-target",
    "forwarded",
]


@pytest.mark.parametrize("name", STEERING)
async def test_x2_no_field_moves_a_request(upstream: ScriptedUpstream, client: RawClient, name: str) -> None:
    """Fields that steer other gateways steer nothing here."""
    async with ScriptedUpstream() as trap:
        value = f"host={trap.origin}" if name == "forwarded" else trap.url
        assert (await client.ask(body=CHAT, headers=[(name, value)])).status == 200
        assert trap.accepted == 0
    assert upstream.request.header(b"host") == upstream.origin.removeprefix("http://").encode()


async def test_x2_the_host_is_the_upstreams(upstream: ScriptedUpstream, client: RawClient) -> None:
    """Neither the Host field nor an absolute target of a client chooses a host."""
    async with ScriptedUpstream() as trap:
        host = trap.origin.removeprefix("http://")
        await client.send(compose(body=CHAT, host=host))
        assert (await client.response()).status == 200
        await client.send(compose("GET", f"{trap.url}/models", host=host))
        assert (await client.response()).status == 200
        assert trap.accepted == 0
    own = upstream.origin.removeprefix("http://").encode()
    assert [(request.header(b"host"), request.target) for request in upstream.requests] == [
        (own, b"/v1/chat/completions"),
        (own, b"/v1/models"),
    ]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/files/..%2f..%2fadmin",
        "/v1/./models",
        "/v1/files/.%2E/x",
        "/v1/..\\admin",
        "/v1/a/%2e%2e%5cb",
    ],
)
async def test_x2_no_path_climbs(upstream: ScriptedUpstream, client: RawClient, target: str) -> None:
    """A path that could leave the upstream's base path is 400."""
    response = await client.ask("GET", target)
    assert (response.status, response.error_code) == (400, "invalid_request")
    assert upstream.requests == []


@pytest.mark.parametrize("target", ["/v2/x", "/", "/v1", "/metrics", "/admin/v1/keys", "//v1/models", "/V1/models"])
async def test_x2_nothing_but_v1(upstream: ScriptedUpstream, client: RawClient, target: str) -> None:
    """Outside /v1/ there is nothing to forward: 404."""
    response = await client.ask("GET", target)
    assert (response.status, response.error_code) == (404, "unknown_route")
    assert upstream.requests == []


async def test_x2_the_base_path_is_the_upstreams(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """/v1 is replaced by the path of the base URL, whatever that is."""
    gateway = await start(f"{upstream.origin}/openai/deployments/x/")
    async with gateway.client() as client:
        await client.ask("GET", "/v1/models?a=1&b=%2F..%2f")
    assert upstream.request.target == b"/openai/deployments/x/models?a=1&b=%2F..%2f"


@pytest.mark.parametrize("model", ["..", ".", "../../admin", "a\\..\\b"])
async def test_x2_no_model_climbs(upstream: ScriptedUpstream, start: StartGateway, model: str) -> None:
    """Where the base URL has the model in its path, one that could leave it is 404; others are one segment."""
    gateway = await start(f"{upstream.origin}/openai/deployments/{{model}}")
    async with gateway.client() as client:
        refused = await client.ask(body={**CHAT, "model": model})
        assert (refused.status, refused.error_code, upstream.requests) == (404, "model_not_found", [])
        await client.ask(body={**CHAT, "model": "a/b?c#..d"})
    assert upstream.request.target == b"/openai/deployments/a%2Fb%3Fc%23..d/chat/completions"


async def test_x2_without_a_model_there_is_no_path(upstream: ScriptedUpstream, start: StartGateway) -> None:
    """E(400, invalid_request_error, invalid_request) where each request of its kind names one; a form's is found."""
    gateway = await start(f"{upstream.origin}/openai/deployments/{{model}}")
    async with gateway.client() as client:
        bodies: list[dict[str, object]] = [{**CHAT, "model": ""}, {"messages": []}]
        for body in bodies:
            refused = await client.ask(body=body)
            assert (refused.status, refused.error_code, upstream.requests) == (400, "invalid_request", [])
            assert refused.json()["error"]["param"] == "model"
        await client.ask("GET", "/v1/models")
        assert upstream.requests[-1].target == b"/openai/models"
        await client.ask("POST", TRANSCRIPTIONS, upload(("model", "w"), file=b"."), [*HEADERS])
    assert upstream.requests[-1].target == b"/openai/deployments/w/audio/transcriptions"
