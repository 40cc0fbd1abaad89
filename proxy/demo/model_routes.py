"""The paths that ask a model something."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from proxy.demo import checks, wire
from proxy.demo.checks import Refusal, check_model, choose, convert
from proxy.demo.model import chat, embeddings, media, responses
from proxy.demo.model.answers import Json, digest
from proxy.demo.model.realtime import Close, Session
from proxy.demo.store import page
from proxy.demo.wire import ORDERS, STORE

__all__ = ["ROUTES"]

EVENTS = "text/event-stream; charset=utf-8"
ROUTES = web.RouteTableDef()


async def _paced(request: web.Request, answer: Json, usage_key: str) -> web.StreamResponse:
    """An answer in one piece, after the time that its tokens take."""
    orders = request[ORDERS]
    written = (answer.get("usage") or {}).get(usage_key, 0)
    await asyncio.sleep(min(orders.pace * written, 600.0))
    if orders.fault:
        return await wire.stream(request, _thirds(answer), "application/json")
    return wire.json(answer)


def _thirds(answer: Json) -> Iterator[bytes]:
    """A body in pieces, for a fault to come between them."""
    raw = msgspec.json.encode(answer)
    step = max(1, len(raw) // 3)
    for start in range(0, len(raw), step):
        yield raw[start : start + step]


@ROUTES.post("/v1/chat/completions")
async def chat_completions(request: web.Request) -> web.StreamResponse:
    body = wire.body(request)
    asked = convert(body, checks.Chat)
    check_model(asked.model, "chat")
    seed, length = digest(body), request[ORDERS].length
    if asked.stream:
        return await wire.stream(request, chat.frames(asked, seed, length), EVENTS)
    answer = chat.whole(asked, seed, length)
    if asked.store:
        request[STORE].completions.put({**answer, "metadata": asked.metadata or {}})
    return await _paced(request, answer, "completion_tokens")


@ROUTES.get("/v1/chat/completions")
async def stored_completions(request: web.Request) -> web.StreamResponse:
    return wire.json(page(request[STORE].completions.all(), request.query))


@ROUTES.get("/v1/chat/completions/{id}")
async def stored_completion(request: web.Request) -> web.StreamResponse:
    return wire.json(request[STORE].completions.get(request.match_info["id"]))


@ROUTES.delete("/v1/chat/completions/{id}")
async def delete_completion(request: web.Request) -> web.StreamResponse:
    gone = request[STORE].completions.pop(request.match_info["id"])
    return wire.json({"id": gone["id"], "object": "chat.completion.deleted", "deleted": True})


@ROUTES.post("/v1/completions")
async def completions(request: web.Request) -> web.StreamResponse:
    body = wire.body(request)
    asked = convert(body, checks.Completion)
    check_model(asked.model, "completion")
    seed, length = digest(body), request[ORDERS].length
    if asked.stream:
        return await wire.stream(request, chat.completion_frames(asked, seed, length), EVENTS)
    return await _paced(request, chat.completion(asked, seed, length), "completion_tokens")


@ROUTES.post("/v1/responses")
async def create_response(request: web.Request) -> web.StreamResponse:
    body = wire.body(request)
    asked = convert(body, checks.Responses)
    check_model(asked.model, "chat")
    store = request[STORE]
    if asked.previous_response_id:
        store.responses.get(asked.previous_response_id)
    seed, length = digest(body), request[ORDERS].length
    answer = responses.whole(asked, seed, length)
    if asked.store is not False:
        store.responses.put({**answer, "input_items": responses.input_items(asked, seed)})
    if asked.stream:
        return await wire.stream(request, responses.events(asked, seed, length), EVENTS)
    return await _paced(request, answer, "output_tokens")


@ROUTES.post("/v1/responses/input_tokens")
async def count_input(request: web.Request) -> web.StreamResponse:
    asked = convert({"model": "gpt-5", **wire.body(request)}, checks.Responses)
    return wire.json({"object": "response.input_tokens", "input_tokens": responses.input_size(asked)})


@ROUTES.get("/v1/responses/{id}")
async def retrieve_response(request: web.Request) -> web.StreamResponse:
    return wire.json(_shown(request[STORE].responses.get(request.match_info["id"])))


def _shown(kept: Json) -> Json:
    return {key: value for key, value in kept.items() if key != "input_items"}


@ROUTES.delete("/v1/responses/{id}")
async def delete_response(request: web.Request) -> web.StreamResponse:
    gone = request[STORE].responses.pop(request.match_info["id"])
    return wire.json({"id": gone["id"], "object": "response", "deleted": True})


@ROUTES.post("/v1/responses/{id}/cancel")
async def cancel_response(request: web.Request) -> web.StreamResponse:
    store = request[STORE]
    kept = store.responses.get(request.match_info["id"])
    if not kept["background"]:
        raise Refusal(400, "Cannot cancel a synchronous response.")
    return wire.json(_shown(store.responses.put({**kept, "status": "cancelled"})))


@ROUTES.get("/v1/responses/{id}/input_items")
async def response_input(request: web.Request) -> web.StreamResponse:
    kept = request[STORE].responses.get(request.match_info["id"])
    return wire.json(page(kept["input_items"], request.query))


@ROUTES.post("/v1/embeddings")
async def create_embeddings(request: web.Request) -> web.StreamResponse:
    asked = convert(wire.body(request), checks.Embeddings)
    check_model(asked.model, "embedding")
    return await _paced(request, embeddings.embed(asked), "")


@ROUTES.post("/v1/moderations")
async def moderations(request: web.Request) -> web.StreamResponse:
    body = wire.body(request)
    asked = convert(body, checks.Moderations)
    check_model(asked.model or "omni-moderation-latest", "moderation")
    return wire.json(embeddings.moderate(asked, digest(body)))


@ROUTES.post("/v1/images/generations")
async def generate_images(request: web.Request) -> web.StreamResponse:
    body = wire.body(request)
    if "prompt" not in body:
        raise Refusal(400, "Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter")
    return await _pictures(request, convert(body, checks.Image), digest(body), "image_generation")


@ROUTES.post("/v1/images/edits")
@ROUTES.post("/v1/images/variations")
async def edit_images(request: web.Request) -> web.StreamResponse:
    form = await wire.form(request)
    if "image" not in form.files and "image[]" not in form.files:
        form.file("image")
    fields: dict[str, Any] = dict(form.fields)
    for name in ("n", "partial_images"):
        if fields.get(name, "").isdigit():
            fields[name] = int(fields[name][:6])
    if "stream" in fields:
        fields["stream"] = fields["stream"] == "true"
    return await _pictures(request, convert(fields, checks.Image), digest(form.digestible()), "image_edit")


async def _pictures(request: web.Request, asked: checks.Image, seed: str, verb: str) -> web.StreamResponse:
    check_model(asked.model or "dall-e-2", "image")
    if asked.stream:
        return await wire.stream(request, media.image_events(asked, seed, verb), EVENTS)
    origin = f"http://{request.host}"
    return await _paced(request, media.images(asked, seed, origin), "")


@ROUTES.get("/demo/images/{seed:[0-9a-f]{64}}.png")
async def picture(request: web.Request) -> web.StreamResponse:
    return web.Response(body=media.png(request.match_info["seed"]), content_type="image/png")


@ROUTES.post("/v1/audio/speech")
async def speech(request: web.Request) -> web.StreamResponse:
    asked = convert(wire.body(request), checks.Speech)
    check_model(asked.model, "speech")
    if asked.stream_format == "sse":
        return await wire.stream(request, media.speech_events(asked), EVENTS)
    content_type, sound = media.speech(asked)
    pieces = (sound[start : start + 8_192] for start in range(0, len(sound), 8_192))
    return await wire.stream(request, pieces, content_type)


@ROUTES.post("/v1/audio/transcriptions")
async def transcriptions(request: web.Request) -> web.StreamResponse:
    form = await wire.form(request)
    return await _heard(request, form, task="transcribe", language=form.fields.get("language") or "english")


@ROUTES.post("/v1/audio/translations")
async def translations(request: web.Request) -> web.StreamResponse:
    return await _heard(request, await wire.form(request), task="translate", language="english")


async def _heard(request: web.Request, form: wire.Form, *, task: str, language: str) -> web.StreamResponse:
    upload = form.file("file")
    model = form.fields.get("model", "")
    if not model:
        raise Refusal(400, "Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
    check_model(model, "transcription")
    shape = choose(
        form.fields.get("response_format"), ("json", "text", "srt", "vtt", "verbose_json"), "response_format"
    )
    heard = media.Recording(upload.filename, upload.size, upload.sha256)
    if form.fields.get("stream") == "true" and model != "whisper-1":
        return await wire.stream(request, media.transcript_events(heard), EVENTS)
    words = "word" in form.lists.get("timestamp_granularities", ())
    tokenised = model != "whisper-1"
    answer = media.transcript(heard, shape, language=language, task=task, words=words, tokenised=tokenised)
    if isinstance(answer, str):
        return web.Response(text=answer, content_type="text/plain")
    return await _paced(request, answer, "")


@ROUTES.get("/v1/models")
async def list_models(_request: web.Request) -> web.StreamResponse:
    return wire.json({"object": "list", "data": [checks.model_object(name) for name in checks.models()]})


@ROUTES.get("/v1/models/{model}")
async def retrieve_model(request: web.Request) -> web.StreamResponse:
    name = request.match_info["model"]
    check_model(name, checks.kind_of(name))
    return wire.json(checks.model_object(name))


@ROUTES.delete("/v1/models/{model}")
async def delete_model(request: web.Request) -> web.StreamResponse:
    name = request.match_info["model"]
    check_model(name, checks.kind_of(name))
    if not name.startswith("ft:"):
        raise Refusal(403, "You have insufficient permissions for this operation.", code="insufficient_permissions")
    return wire.json({"id": name, "object": "model", "deleted": True})


@ROUTES.get("/v1/realtime")
async def realtime(request: web.Request) -> web.StreamResponse:
    if "model" not in request.query:
        raise Refusal(400, "You must provide a model parameter.", param="model", code="missing_model")
    session = Session(request.query["model"])
    return await _converse(request, session.opened(), session.receive)


@ROUTES.get("/v1/responses")
async def responses_socket(request: web.Request) -> web.StreamResponse:
    return await _converse(request, (), lambda raw: _respond(request, raw))


def _respond(request: web.Request, raw: str | bytes) -> Iterable[Json]:
    """The events of the response that one message asks for."""
    try:
        body = checks.decode(raw.encode() if isinstance(raw, str) else raw)
        checks.choose(body.pop("type", ""), ("response.create",), "type")
        asked = convert(body, checks.Responses)
        check_model(asked.model, "chat")
    except Refusal as refusal:
        return [{"type": "error", "status": refusal.status, **refusal.body(), "sequence_number": 0}]
    return responses.typed(asked, digest(body), request[ORDERS].length)


Events = Iterable[Json | Close]


async def _converse(
    request: web.Request, opening: Events, receive: Callable[[str | bytes], Events | Iterable[Json]]
) -> web.StreamResponse:
    """A WebSocket: the opening, then the answer to each message."""
    if request.headers.get("upgrade", "").lower() != "websocket":
        raise Refusal(400, "You must use the websocket protocol to reach this endpoint.", code="upgrade_required")
    socket = web.WebSocketResponse(protocols=("realtime",), max_msg_size=16 << 20, timeout=2.0)
    await socket.prepare(request)
    await _say(request, socket, opening)
    async for message in socket:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            await _say(request, socket, receive(message.data))
    return socket


async def _say(request: web.Request, socket: web.WebSocketResponse, events: Events | Iterable[Json]) -> None:
    orders = request[ORDERS]
    for number, event in enumerate(events):
        if isinstance(event, Close):
            await socket.close(code=event.code, message=event.reason.encode())
            return
        if orders.pace and number:
            await asyncio.sleep(orders.pace)
        await socket.send_str(msgspec.json.encode(event).decode())
