"""What a request asks for, as far as a gateway must know: its model, and whether it wants a stream.

A body that is JSON is read whole and checked, and so is a form whose answer may be kept; every other body
streams through.
"""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Final, final
from urllib.parse import unquote_plus

from proxy.errors import Failure, Kind
from proxy.exchange import Body, Exchange, header
from proxy.keys.key import Permission, VirtualKey
from proxy.openai.forms import MalformedForm, read_form
from proxy.openai.requests import Ambiguous, Inflated, InvalidJson, form_model, inflate, models_beside, read_json
from proxy.routes import Route

__all__ = ["Understand"]

FORM_HEAD: Final = 65_536
"""Bytes of a form in which its model is looked for."""
INFLATE_INLINE: Final = 16_384
DIGEST_INLINE: Final = 131_072
MEMBERS_INLINE: Final = 65_536
MAX_NAME: Final = 16
"""Bytes of a parameter's name: each letter of `model` may be three."""
_CODINGS: Final = (b"gzip", b"x-gzip", b"deflate")


@final
class Understand:
    """`models_matter` if the model decides on the upstream. To a virtual key it does, for what it may use and pays.

    `held` names the routes whose forms are read whole, if they are at most `held_limit` bytes. Limits are in bytes.
    """

    def __init__(
        self,
        json_limit: int,
        upload_limit: int,
        *,
        models_matter: bool,
        held: Collection[str] = (),
        held_limit: int = 0,
    ) -> None:
        self._json_limit = json_limit
        self._upload_limit = upload_limit
        self._models_matter = models_matter
        self._held = held
        self._held_limit = held_limit

    def body(self, exchange: Exchange, route: Route) -> Coroutine[None, None, bytes | Body]:
        """The body to send. Raises Failure."""
        if exchange.method == "POST" and (route.json_body or (route.form_body and _is_json(exchange))):
            return self._json(exchange, route)
        return self._other(exchange, route)

    def at_once(self, exchange: Exchange, route: Route) -> bytes | None:
        """The body to send, if it is JSON that is here and may be looked at as it stands. Raises Failure."""
        if exchange.method != "POST" or not route.json_body or (exchange.key is not None and exchange.key.models):
            return None
        body = exchange.body.whole()
        if body is None or len(body) > self._json_limit or exchange.body.coding:
            return None
        _read(exchange, route, body)
        return body

    async def _other(self, exchange: Exchange, route: Route) -> bytes | Body:
        if exchange.upgrade or route.name == "realtime":
            exchange.model = _query_model(exchange.query)
        elif exchange.method == "POST" and route.form_body:
            await self._form(exchange)
            if exchange.key is not None and exchange.key.models:
                return await self._held_form(exchange)
            # What a key pays depends on the model and the number, which may stand behind the file, and for sound on its
            # length.
            seen = exchange.model and exchange.body.length is not None and not route.name.startswith("images/")
            unseen = exchange.key is not None and not seen
            if (unseen or route.name in self._held) and (form := await self._read_form(exchange)) is not None:
                return form
        body = exchange.body
        if body.length is not None and body.length > self._upload_limit:
            raise Failure(Kind.REQUEST_TOO_LARGE)
        return body if body.length != 0 else b""

    async def _json(self, exchange: Exchange, route: Route) -> bytes:
        whole = exchange.body.whole()
        body = await exchange.body.read(self._json_limit) if whole is None or len(whole) > self._json_limit else whole
        coding = exchange.body.coding.strip().lower()
        if coding and coding != b"identity":
            body = await self._inflate(coding, body)
            exchange.headers = [line for line in exchange.headers if line[0] != b"content-encoding"]
        _read(exchange, route, body)
        if exchange.key is not None and exchange.key.models:
            await self._check_models(exchange, exchange.key, route, body)
        return body

    async def _check_models(self, exchange: Exchange, key: VirtualKey, route: Route, body: bytes) -> None:
        """Of a key that may not use every model. What it may not is what is asked, wherever in the body it stands."""
        try:
            if len(body) <= MEMBERS_INLINE:
                models = models_beside(body)
            else:
                models = await asyncio.to_thread(models_beside, body)
        except Ambiguous:
            message = "This API key needs a body that names no member twice, and models by strings."
            raise Failure(Kind.INVALID_REQUEST, message, param="model") from None
        for model in models:
            if key.may(model, route.name) is Permission.MODEL:
                exchange.model = model
                return

    async def _inflate(self, coding: bytes, body: bytes) -> bytes:
        if coding not in _CODINGS:
            raise Failure(Kind.UNSUPPORTED_ENCODING)
        try:
            if len(body) <= INFLATE_INLINE:
                return inflate(body, self._json_limit)
            return await asyncio.to_thread(inflate, body, self._json_limit)
        except Inflated:
            raise Failure(Kind.REQUEST_TOO_LARGE) from None
        except ValueError:
            raise Failure(Kind.INVALID_REQUEST, "The body does not match its content-encoding.") from None

    async def _form(self, exchange: Exchange) -> None:
        exchange.model = form_model(await exchange.body.peek(1, self._upload_limit))
        if not exchange.model and (self._models_matter or exchange.key is not None):
            exchange.model = form_model(await exchange.body.peek(FORM_HEAD, self._upload_limit))
            if not exchange.model and self._models_matter and exchange.body.received >= FORM_HEAD:
                # The wrong upstream must not get the upload, nor the key that comes with it.
                raise Failure(Kind.INVALID_REQUEST, "The model must stand before the file in the form.", param="model")

    async def _held_form(self, exchange: Exchange) -> bytes:
        """Of a key that may not use every model: a form that names two means either, by upstream."""
        body = await self._read_form(exchange)
        if body is None:
            raise Failure(Kind.REQUEST_TOO_LARGE, "This upload is larger than this API key may send.")
        if exchange.form is None:
            raise Failure(Kind.INVALID_REQUEST, "The form can't be read, or names more than one model.", param="model")
        return body

    async def _read_form(self, exchange: Exchange) -> bytes | None:
        """The body and what it asks; None if it is too large."""
        body = await exchange.body.gather(self._held_limit, self._upload_limit)
        if body is None or exchange.body.coding:
            return body
        kind = header(exchange.headers, b"content-type")
        try:
            if len(body) <= DIGEST_INLINE:
                exchange.form = read_form(body, kind)
            else:
                exchange.form = await asyncio.to_thread(read_form, body, kind)
        except MalformedForm:
            return body
        exchange.model = exchange.form.model
        return body


def _read(exchange: Exchange, route: Route, body: bytes) -> None:
    """Raises Failure."""
    try:
        exchange.model, stream = read_json(body)
    except InvalidJson:
        raise Failure(Kind.INVALID_JSON) from None
    exchange.stream = stream and route.streams


def _is_json(exchange: Exchange) -> bool:
    """As pictures may be named by their addresses."""
    return header(exchange.headers, b"content-type")[:16].lower() == b"application/json"


def _query_model(query: bytes) -> str:
    """Raises Failure where it names two: upstreams differ in which of them they take."""
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    models = [value for name, _, value in pairs if unquote_plus(name[:MAX_NAME].decode("latin-1")) == "model"]
    if len(models) > 1:
        raise Failure(Kind.INVALID_REQUEST, "The query names more than one model.", param="model")
    return unquote_plus(models[0][:256].decode("latin-1")) if models else ""
