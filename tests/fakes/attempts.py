"""What becomes of attempts at upstreams, one after another, without a socket."""

from proxy import routes
from proxy.errors import Failure, Kind
from proxy.exchange import Ask, Exchange, Headers
from tests.fakes.clock import Clock
from tests.fakes.seams import FakeBody, FakeClient, FakeReply, FakeTransport

__all__ = ["BODY", "exchange_of", "lost", "named", "refused", "scripted", "status"]

BODY = b'{"model":"m"}'


def refused() -> Failure:
    """Nothing was sent."""
    return Failure(Kind.UPSTREAM_UNREACHABLE, unprocessed=True)


def lost(kind: Kind = Kind.UPSTREAM_DISCONNECTED) -> Failure:
    """It may have been acted on."""
    return Failure(kind)


def status(code: int, **fields: str) -> FakeReply:
    """A whole answer."""
    headers: Headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return FakeReply(code, body=b"{}", headers=headers)


def named(what: object) -> str | None:
    """As the id of a parameter, which is the same in every process."""
    if isinstance(what, Failure):
        return f"{what.kind.value}{' unprocessed' if what.unprocessed else ''}"
    if isinstance(what, FakeReply):
        return " ".join([str(what.status), *(value.decode() for name, value in what.headers if name == b"retry-after")])
    return None


def scripted(*replies: FakeReply | Failure | None) -> FakeTransport:
    """Answers in turn, the last for all that follow; None never does."""
    transport, left = FakeTransport(), list(replies)

    async def answer(_: Ask) -> None:
        transport.reply = left.pop(0) if len(left) > 1 else left[0]

    transport.hook = answer
    return transport


def exchange_of(clock: Clock, *headers: tuple[bytes, bytes], stream: bool = False) -> Exchange:
    """As the pipeline has understood it."""
    exchange = Exchange(
        method="POST", path="/v1/chat/completions", query=b"", headers=[*headers], body=FakeBody(BODY),
        client=FakeClient(), peer="192.0.2.1", call_id="ask-1", started_at=clock(),
    )  # fmt: skip
    exchange.route = routes.find("POST", "/v1/chat/completions", upgrading=False)
    exchange.model, exchange.stream = "m", stream
    return exchange
