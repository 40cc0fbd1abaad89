"""h11's reading of the same bytes: what another server behind, or in front of, the gateway would see."""

from dataclasses import dataclass, field

import h11

__all__ = ["Reading", "as_h11_reads"]


@dataclass
class Reading:
    """Whole requests as (method, target, headers, body), and how it ended: "open", "closed" or "bad"."""

    requests: list[tuple[str, bytes, list[tuple[bytes, bytes]], bytes]] = field(default_factory=list)
    end: str = "open"
    why: str = ""


def as_h11_reads(data: bytes) -> Reading:
    reading = Reading()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    request: h11.Request | None = None
    body = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            reading.end, reading.why = "bad", str(error)
            return reading
        if isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            headers = [(bytes(name), bytes(value)) for name, value in request.headers]
            reading.requests.append((request.method.decode(), bytes(request.target), headers, body))
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                reading.end = "closed"
                return reading
            connection.start_next_cycle()
        else:
            return reading
