"""Server-sent events as a chat upstream sends them, and a reader of them that shares nothing with the gateway's."""

import re
from typing import Any

import msgspec

__all__ = ["CHAT", "COUNTED", "DONE", "STREAM", "USAGE", "chat_frame", "error_frames", "payloads"]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True}
COUNTED = STREAM | {"stream_options": {"include_usage": True}}
DONE = b"data: [DONE]\n\n"
USAGE = (
    b'data: {"id":"c","object":"chat.completion.chunk","choices":[],'
    b'"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}\n\n'
)


def chat_frame(text: str) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: %b\n\n" % msgspec.json.encode(chunk)


def payloads(body: bytes) -> list[bytes]:
    """The data of each event of a whole stream: lines joined, comments gone."""
    lines = re.split(rb"\r\n|\r|\n", body.removeprefix(b"\xef\xbb\xbf"))
    found: list[bytes] = []
    data: list[bytes] = []
    for line in lines:
        if not line and data:
            found.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    return found


def error_frames(body: bytes) -> list[dict[str, Any]]:
    """The error objects in a stream."""
    decoded = [msgspec.json.decode(data) for data in payloads(body) if data != b"[DONE]"]
    return [message["error"] for message in decoded if message.get("error")]
