"""The first frames of a stream, held until one of them says something.

Until then nothing has gone to the client, so that a stream that fails may still be asked for elsewhere.
"""

import asyncio
from typing import Final, assert_never, final

from proxy.errors import Failure, Kind
from proxy.exchange import Reply
from proxy.held import Held
from proxy.openai.openings import Opening, opening
from proxy.openai.sse import EventReader
from proxy.upstream.whole_events import is_event_stream

__all__ = ["held_back"]

MOST: Final = 1 << 20
"""Bytes that are held, whatever the limit."""


async def held_back(reply: Reply, limit: int, deadline: float) -> Reply:
    """The reply once something is in it, or `limit` bytes are, or the loop's clock says the deadline. Raises Failure.

    A stream that fails before it says anything raises its failure, and is aborted; so is one whose taker is cancelled.
    What is no stream of events under a 200 is passed on as it is. A reply is attached to twice.
    """
    if limit <= 0 or reply.status != 200 or not is_event_stream(reply):
        return reply
    beginning = _Beginning(reply)
    held = Held(reply, min(limit, MOST) - 1, beginning.says)
    try:
        if await held.arrive(deadline):
            beginning.over()
    except Failure as failure:
        held.abort()
        failure.held_back = True
        raise
    except asyncio.CancelledError:
        held.abort()
        raise
    return held


@final
class _Beginning:
    """What a stream has said."""

    __slots__ = ("_events", "_reply", "_said")

    def __init__(self, reply: Reply) -> None:
        self._events = EventReader()
        self._reply = reply
        self._said = False

    def says(self, chunk: bytes) -> bool:
        """Something, by now. Raises Failure."""
        for event in self._events.feed(chunk):
            said = opening(event)
            match said.opening:
                case Opening.NOTHING:
                    continue
                case Opening.CONTENT:
                    self._said = True
                    return True
                case Opening.ERROR:
                    if said.fault:
                        self._reply.blame(None)
                    raise Failure(Kind.UPSTREAM_ERROR, detail=f"the stream began with an error: {said.error}")
                case never:
                    assert_never(never)
        return False

    def over(self) -> None:
        """All of it is here. Raises Failure where that is nothing."""
        if not self._said and self._events.at_boundary:
            failure = Failure(Kind.UPSTREAM_DISCONNECTED, detail="the stream ended before it said anything")
            self._reply.blame(failure)
            raise failure
