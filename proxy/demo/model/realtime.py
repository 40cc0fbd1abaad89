"""A realtime session: client events in, server events out; knows no socket."""

import base64
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from proxy.demo.checks import kind_of
from proxy.demo.model.answers import CREATED, Json, answer, digest, estimate, text_of

__all__ = ["Close", "Session"]

MAX_ITEMS = 1_000
MAX_AUDIO = 16 << 20


@dataclass(frozen=True, slots=True)
class Close:
    """The server ends the session."""

    code: int
    reason: str


class Session:
    """One conversation. Ids follow from the order of events, so that equal sessions look equal."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._numbers = 0
        self._items: list[Json] = []
        self._audio = 0
        self._session: Json = {
            "type": "realtime",
            "object": "realtime.session",
            "id": f"sess_{digest(model)[:20]}",
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "Answer as the demo does.",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "expires_at": CREATED + 3_600,
        }

    def __repr__(self) -> str:
        return f"<Session {self._model} {len(self._items)} items>"

    def opened(self) -> Iterator[Json | Close]:
        """What the server says first."""
        if kind_of(self._model) not in ("realtime", "demo"):
            yield self._error(f"The model `{self._model[:100]}` does not exist.", "model_not_found", "model")
            yield Close(4000, "invalid_request_error.model_not_found")
            return
        yield self._event("session.created", session=self._session)
        if self._model.startswith("demo-close-") and self._model[11:].isdigit():
            yield Close(int(self._model[11:][:4]), "closed on request")

    def receive(self, raw: str | bytes) -> Iterator[Json | Close]:
        """What the server says to one message."""
        try:
            event = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = None
        if not isinstance(event, dict):
            yield self._error("The event is not a JSON object.", "invalid_json", None)
            return
        handler = self._handlers.get(str(event.get("type")))
        if handler is None:
            given = str(event.get("event_id")) if event.get("event_id") else None
            yield self._error(f"Invalid value: '{str(event.get('type'))[:100]}'.", "invalid_value", "type", given)
            return
        yield from handler(self, event)

    def _event(self, type_: str, **fields: object) -> Json:
        self._numbers += 1
        return {"type": type_, "event_id": f"event_{self._numbers:08}", **fields}

    def _error(self, message: str, code: str, param: str | None, event_id: str | None = None) -> Json:
        error: Json = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
        return self._event("error", error={**error, "event_id": event_id})

    def _update(self, event: Json) -> Iterator[Json]:
        changes = event.get("session")
        if not isinstance(changes, dict):
            yield self._error("Missing required parameter: 'session'.", "missing_required_parameter", "session")
            return
        self._session |= {key: value for key, value in changes.items() if key not in ("id", "object", "model")}
        yield self._event("session.updated", session=self._session)

    def _create_item(self, event: Json) -> Iterator[Json]:
        item = event.get("item")
        if not isinstance(item, dict):
            yield self._error("Missing required parameter: 'item'.", "missing_required_parameter", "item")
            return
        yield from self._add(item)

    def _add(self, item: Json) -> Iterator[Json]:
        if len(self._items) >= MAX_ITEMS:
            yield self._error("The conversation is full.", "conversation_full", "item")
            return
        before = self._items[-1]["id"] if self._items else None
        kept = {"id": f"item_{len(self._items):08}", "object": "realtime.item", "status": "completed", **item}
        self._items.append(kept)
        yield self._event("conversation.item.added", previous_item_id=before, item=kept)
        yield self._event("conversation.item.done", previous_item_id=before, item=kept)

    def _delete_item(self, event: Json) -> Iterator[Json]:
        id_ = event.get("item_id")
        if not any(item["id"] == id_ for item in self._items):
            yield self._error("There is no such item.", "item_delete_invalid_item_id", "item_id")
            return
        self._items = [item for item in self._items if item["id"] != id_]
        yield self._event("conversation.item.deleted", item_id=id_)

    def _append(self, event: Json) -> Iterator[Json]:
        self._audio = min(self._audio + len(str(event.get("audio", ""))) * 3 // 4, MAX_AUDIO)
        yield from ()

    def _commit(self, event: Json) -> Iterator[Json]:
        if not self._audio:
            yield self._error("The input audio buffer is empty.", "input_audio_buffer_commit_empty", None)
            return
        heard = f"{self._audio} bytes of sound"
        self._audio = 0
        content = [{"type": "input_audio", "transcript": heard}]
        added = list(self._add({"type": "message", "role": "user", "content": content}))
        yield self._event("input_audio_buffer.committed", item_id=self._items[-1]["id"], previous_item_id=None)
        yield from added

    def _clear(self, event: Json) -> Iterator[Json]:
        self._audio = 0
        yield self._event("input_audio_buffer.cleared")

    def _cancel(self, event: Json) -> Iterator[Json]:
        yield self._error("No response is active.", "response_cancel_not_active", None)

    def _respond(self, event: Json) -> Iterator[Json]:
        asked = event.get("response")
        settings = {**self._session, **(asked if isinstance(asked, dict) else {})}
        said = [_said(item) for item in self._items]
        draft = answer(said[-1] if said else "", digest([self._model, said]))
        speaks = "audio" in (settings.get("output_modalities") or ["audio"])
        response: Json = {
            "object": "realtime.response",
            "id": f"resp_{len(self._items):08}",
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "conversation_id": f"conv_{digest(self._model)[:20]}",
            "output_modalities": ["audio"] if speaks else ["text"],
            "max_output_tokens": settings.get("max_output_tokens"),
            "usage": None,
            "metadata": settings.get("metadata"),
        }
        yield self._event("response.created", response=response)
        item = yield from self._speak(draft.pieces, response["id"], speaks=speaks)
        usage = _usage(said, len(draft.pieces), speaks=speaks)
        done = {**response, "status": "completed", "output": [item], "usage": usage}
        yield self._event("response.done", response=done)
        limits = [
            {"name": name, "limit": 10_000, "remaining": 9_999, "reset_seconds": 0.006}
            for name in ("requests", "tokens")
        ]
        yield self._event("rate_limits.updated", rate_limits=limits)

    def _speak(self, pieces: list[str], response_id: str, *, speaks: bool) -> Generator[Json, None, Json]:
        """The events of one spoken or written message; returns the message."""
        text = "".join(pieces)
        id_ = f"item_{len(self._items):08}"
        words = "transcript" if speaks else "text"
        item: Json = {
            "id": id_,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "assistant",
        }
        item["content"] = [{"type": "output_audio" if speaks else "output_text", words: text}]
        at: Json = {"response_id": response_id, "output_index": 0}
        inside = {**at, "item_id": id_, "content_index": 0}
        name = "output_audio_transcript" if speaks else "output_text"
        part = {"type": "audio" if speaks else "text", words: ""}
        open_item = {**item, "status": "in_progress", "content": []}
        yield self._event("response.output_item.added", **at, item=open_item)
        yield self._event("response.content_part.added", **inside, part=part)
        for piece in pieces:
            yield self._event(f"response.{name}.delta", **inside, delta=piece)
            if speaks:
                sound = base64.b64encode(bytes.fromhex(digest(piece)) * 4).decode()
                yield self._event("response.output_audio.delta", **inside, delta=sound)
        if speaks:
            yield self._event("response.output_audio.done", **inside)
        yield self._event(f"response.{name}.done", **inside, **{words: text})
        yield self._event("response.content_part.done", **inside, part={**part, words: text})
        yield self._event("response.output_item.done", **at, item=item)
        yield from self._add(item)
        return item

    _handlers: ClassVar[dict[str, Callable[["Session", Json], Iterator[Json]]]] = {
        "session.update": _update,
        "conversation.item.create": _create_item,
        "conversation.item.delete": _delete_item,
        "input_audio_buffer.append": _append,
        "input_audio_buffer.commit": _commit,
        "input_audio_buffer.clear": _clear,
        "response.create": _respond,
        "response.cancel": _cancel,
    }


def _said(item: Json) -> str:
    content = item.get("content")
    if isinstance(content, list):
        heard = [str(part.get("transcript")) for part in content if isinstance(part, dict) and part.get("transcript")]
        return "\n".join([text_of(content), *heard]).strip()
    return str(item.get("output") or "")


def _usage(said: list[str], written: int, *, speaks: bool) -> Json:
    asked = 3 + sum(estimate(text) for text in said)
    spoken = 4 * written if speaks else 0
    return {
        "total_tokens": asked + written + spoken,
        "input_tokens": asked,
        "output_tokens": written + spoken,
        "input_token_details": {"text_tokens": asked, "audio_tokens": 0, "cached_tokens": 0},
        "output_token_details": {"text_tokens": written, "audio_tokens": spoken},
    }
